//! One look at the devices of some messages: what is so, what is decided, and what follows from it.

use std::collections::HashSet;

use protocol::{ConversationId, Timestamp, UserId};

use super::batch::{NotNow, Open};
use super::candidates::{Candidate, Told};
use crate::decide::Verdict;
use crate::facts::{self, Now, Place};
use crate::jobs;
use crate::records::{self, Step};
use crate::service::Service;
use crate::unread::unread;

/// So old, a message is decided on without knowing who is connected.
const PATIENCE_MS: i64 = 10_000;

/// Decides on all devices that wait, and stores what follows. Those that are to wait longer stay.
pub(super) async fn settle(service: &Service, open: &mut [Open], has_waited: bool) -> Result<(), NotNow> {
    let looks = look(service, open, has_waited).await?;
    let mut pushes: Vec<Vec<Candidate>> = Vec::new();
    let mut fates = Vec::new();
    for (it, looks) in open.iter_mut().zip(looks) {
        let (mut push, mut fate, mut stay) = (Vec::new(), Vec::new(), Vec::new());
        for (candidate, now) in std::mem::take(&mut it.waiting).into_iter().zip(looks) {
            match candidate.decide(&it.told, now, has_waited) {
                Verdict::Wait => stay.push(candidate),
                Verdict::Suppress(reason) => {
                    candidate.count(Some(reason));
                    fate.push(candidate.fate(Step::Suppressed { reason }));
                }
                Verdict::Push => {
                    candidate.count(None);
                    fate.push(candidate.fate(Step::Queued));
                    push.push(candidate);
                }
            }
        }
        it.waiting = stay;
        pushes.push(push);
        fates.push(fate);
    }
    queue(service, open, pushes).await?;
    // After the jobs: what is recorded as queued is.
    let mut acks = Vec::new();
    for (it, fates) in open.iter().zip(fates) {
        let message = &it.told.message;
        acks.extend(records::write(&service.bus, &message.conversation_id, message.seq, fates).await?);
    }
    jobs::stored(acks).await?;
    Ok(())
}

/// What is so for each device that nothing that is set speaks against; `None` for the others.
async fn look(service: &Service, open: &[Open], has_waited: bool) -> Result<Vec<Vec<Option<Now>>>, NotNow> {
    let is_open = |told: &Told, it: &Candidate| !matches!(it.decide(told, None, has_waited), Verdict::Suppress(_));
    let wanted: Vec<Vec<bool>> = open
        .iter()
        .map(|it| {
            it.waiting
                .iter()
                .map(|candidate| is_open(&it.told, candidate))
                .collect()
        })
        .collect();
    let places: Vec<Place<'_>> = open
        .iter()
        .zip(&wanted)
        .flat_map(|(it, wanted)| places(it, wanted))
        .collect();
    let mut now = Vec::new().into_iter();
    if !places.is_empty() {
        let oldest = open.iter().map(|it| it.told.message.timestamp.as_millis()).min();
        let age = Timestamp::now().as_millis() - oldest.unwrap_or(i64::MAX);
        now = facts::gather(&service.bus, &places, age > PATIENCE_MS)
            .await?
            .into_iter();
    }
    let mut seen = |wanted: bool| if wanted { now.next() } else { None };
    Ok(wanted
        .into_iter()
        .map(|it| it.into_iter().map(&mut seen).collect())
        .collect())
}

/// The devices of a message that are looked at.
fn places<'a>(open: &'a Open, wanted: &[bool]) -> Vec<Place<'a>> {
    let looked_at = open.waiting.iter().zip(wanted).filter(|(_, wanted)| **wanted);
    let place = |candidate: &'a Candidate| Place {
        user: &candidate.user_id,
        device: candidate.device_id(),
        conversation: &open.told.message.conversation_id,
        seq: open.told.message.seq,
    };
    looked_at.map(|(candidate, _)| place(candidate)).collect()
}

/// Queues the pushes of all messages.
async fn queue(service: &Service, open: &[Open], pushes: Vec<Vec<Candidate>>) -> Result<(), NotNow> {
    if pushes.iter().all(Vec::is_empty) {
        return Ok(());
    }
    let pushed = || open.iter().zip(&pushes).filter(|(_, push)| !push.is_empty());
    let users: HashSet<UserId> = pushed()
        .flat_map(|(_, push)| push)
        .map(|it| it.user_id.clone())
        .collect();
    let conversations = pushed().map(|(it, _)| it.told.message.conversation_id.clone());
    let conversations: HashSet<ConversationId> = conversations.collect();
    let unread = unread(service, users, conversations).await;
    let mut acks = Vec::new();
    for (it, push) in pushed() {
        for candidate in push {
            let job = candidate.job(&it.told, unread.get(&candidate.user_id).copied());
            acks.push(service.lanes.queue(&service.bus, &job).await?);
        }
    }
    jobs::stored(acks).await?;
    Ok(())
}
