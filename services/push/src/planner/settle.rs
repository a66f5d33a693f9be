//! One look at the devices of some messages: what is so, what is decided, and what follows from it.

use std::collections::HashSet;

use bus::write::write_all;
use protocol::{ConversationId, Timestamp, UserId};

use super::batch::{NotNow, Open};
use super::candidates::{Candidate, Told};
use crate::decide::Verdict;
use crate::facts::{self, Now, Place};
use crate::records::{self, Step};
use crate::service::Service;
use crate::unread::unread;

/// So old, a message is decided on without knowing who is connected.
const PATIENCE_MS: i64 = 10_000;

/// Decides on all devices that wait, and stores what follows. Those that are to wait longer stay. Returns the indexes of the
/// messages that are to be planned again.
///
/// # Errors
/// Nothing could be decided.
pub(super) async fn settle(service: &Service, open: &mut [Open], has_waited: bool) -> Result<HashSet<usize>, NotNow> {
    let looks = look(service, open, has_waited).await?;
    let mut pushes: Vec<Vec<Candidate>> = Vec::new();
    let mut fates = Vec::new();
    for (it, looks) in open.iter_mut().zip(looks) {
        let (mut push, mut fate, mut stay) = (Vec::new(), Vec::new(), Vec::new());
        for (candidate, now) in std::mem::take(&mut it.waiting).into_iter().zip(looks) {
            match candidate.decide(&it.told, now, has_waited) {
                Verdict::Wait => stay.push(candidate),
                Verdict::Suppress(reason) => {
                    candidate.count(&it.told, Some(reason));
                    fate.push(candidate.fate(Step::Suppressed { reason }));
                }
                Verdict::Push => {
                    candidate.count(&it.told, None);
                    fate.push(candidate.fate(Step::Queued));
                    push.push(candidate);
                }
            }
        }
        it.waiting = stay;
        pushes.push(push);
        fates.push(fate);
    }
    let failed = queue(service, open, pushes).await;
    // After the jobs: what is recorded as queued is. A record that is lost only says less.
    let records = open.iter().zip(fates).filter(|(it, _)| !failed.contains(&it.index));
    let records = records.flat_map(|(it, fates)| {
        let message = &it.told.message;
        records::entries(&message.conversation_id, message.seq, fates)
    });
    let written = write_all(&service.bus, records.collect()).await;
    let unwritten = written.iter().filter(|it| it.is_err()).count();
    metrics::counter!("parley_push_unrecorded_total").increment(unwritten as u64);
    Ok(failed)
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

/// Queues the pushes of all messages. Returns the indexes of those of which not all are queued.
async fn queue(service: &Service, open: &[Open], pushes: Vec<Vec<Candidate>>) -> HashSet<usize> {
    let pushed = || open.iter().zip(&pushes).filter(|(_, push)| !push.is_empty());
    let users: HashSet<UserId> = pushed()
        .flat_map(|(_, push)| push)
        .map(|it| it.user_id.clone())
        .collect();
    if users.is_empty() {
        return HashSet::new();
    }
    let conversations = pushed().map(|(it, _)| it.told.message.conversation_id.clone());
    let conversations: HashSet<ConversationId> = conversations.collect();
    let unread = unread(service, users, conversations).await;
    let (mut indexes, mut entries) = (Vec::new(), Vec::new());
    for (it, push) in pushed() {
        for candidate in push {
            let job = candidate.job(&it.told, unread.get(&candidate.user_id).copied());
            indexes.push(it.index);
            entries.push(service.lanes.entry(&job));
        }
    }
    let written = write_all(&service.bus, entries).await;
    let failed = indexes.into_iter().zip(written).filter_map(|(index, written)| {
        let error = written.err()?;
        tracing::debug!(%error, "a push could not be queued");
        Some(index)
    });
    failed.collect()
}
