//! Before jobs are tried: are they still to be made, and where is the device by now?
//!
//! A first attempt follows the decision by milliseconds: it looks whether the message was read, and whose the token is. A
//! later one decides anew.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message as Entry};
use protocol::client_frame::AppState;
use protocol::{Timestamp, UserId};

use super::attempt::{Attempt, again};
use super::job::{Job, Task, VERSION};
use crate::decide::{Facts, Reason, Verdict, decide};
use crate::facts::{self, Now, Place, Unknown};
use crate::registry::Known;
use crate::service::Service;
use crate::unread::unread;

/// A job of a newer version is left to newer replicas for so long.
const NEWER: Duration = Duration::from_secs(30);

/// A job in hand.
struct Held {
    entry: Entry,
    job: Job,
    /// It was delivered before, or tried: what it rests on is old.
    is_old: bool,
}

/// The attempts to be made; everything else is settled.
pub(super) async fn check(service: &Service, entries: Vec<Entry>) -> Vec<Attempt> {
    let mut held = Vec::new();
    for entry in entries {
        held.extend(take(service, entry).await);
    }
    match look(service, &mut held).await {
        Ok(looks) => {
            let mut attempts = Vec::new();
            for (held, look) in held.into_iter().zip(looks) {
                attempts.extend(judge(service, held, look).await);
            }
            attempts
        }
        Err(error) => {
            tracing::warn!(%error, jobs = held.len(), "pushes wait until it is known whether they are needed");
            for held in &held {
                again(&held.entry, Duration::from_secs(1)).await;
            }
            Vec::new()
        }
    }
}

/// Reads a job; settles what is no job, is too old, or is not due yet.
async fn take(service: &Service, entry: Entry) -> Option<Held> {
    let job: Job = match serde_json::from_slice(&entry.payload) {
        Ok(job) => job,
        Err(error) => {
            metrics::counter!("parley_unreadable_total", "what" => "job").increment(1);
            tracing::error!(%error, subject = %entry.subject, "dropped an unreadable job");
            settle(&entry, AckKind::Term).await;
            return None;
        }
    };
    if job.v > VERSION {
        metrics::counter!("parley_unreadable_total", "what" => "job").increment(1);
        again(&entry, NEWER).await;
        return None;
    }
    let now = Timestamp::now();
    let early = job.not_before.map_or(0, |it| it.as_millis() - now.as_millis());
    if early > 0 && now < job.expires_at {
        again(&entry, Duration::from_millis(u64::try_from(early).unwrap_or(0))).await;
        return None;
    }
    let is_again = entry.info().is_ok_and(|info| info.delivered > 1);
    let is_old = is_again || job.attempts > 0;
    let held = Held { entry, job, is_old };
    if now >= held.job.expires_at {
        suppress(service, &held, Reason::Expired).await;
        return None;
    }
    Some(held)
}

/// What was seen of a job.
struct Look {
    known: Option<Known>,
    against: Option<Reason>,
}

async fn look(service: &Service, held: &mut [Held]) -> Result<Vec<Look>, Unknown> {
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let devices: HashSet<(UserId, String)> = held.iter().map(|it| it.job.device()).collect();
    let devices: Vec<(UserId, String)> = devices.into_iter().collect();
    let (known, against) = tokio::join!(service.registry.find(&devices), against(service, held));
    let (known, against) = (known?, against?);
    count_again(service, held).await;
    let looks = held.iter().zip(against).map(|(held, against)| Look {
        known: known.get(&held.job.device()).cloned(),
        against,
    });
    Ok(looks.collect())
}

/// Why jobs are not to be made any more.
async fn against(service: &Service, held: &[Held]) -> Result<Vec<Option<Reason>>, Unknown> {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for (index, held) in held.iter().enumerate() {
        let places = if held.is_old { &mut later } else { &mut first };
        places.extend(held.job.place().map(|place| (index, place)));
    }
    let mut against: Vec<Option<Reason>> = vec![None; held.len()];
    if !first.is_empty() {
        let places: Vec<Place<'_>> = first.iter().map(|it| it.1.clone()).collect();
        let read = facts::are_read(&service.bus, &places).await?;
        for ((index, _), is_read) in first.iter().zip(read) {
            against[*index] = is_read.then_some(Reason::Read);
        }
    }
    if !later.is_empty() {
        let places: Vec<Place<'_>> = later.iter().map(|it| it.1.clone()).collect();
        let now = facts::gather(&service.bus, &places, true).await?;
        let users: Vec<&UserId> = later.iter().map(|it| it.1.user).collect();
        let users = service.users.get(&users).await?;
        for ((index, place), now) in later.iter().zip(now) {
            let user = users.get(place.user);
            against[*index] = user.and_then(|user| decide_again(&held[*index].job, user, now));
        }
    }
    Ok(against)
}

fn decide_again(job: &Job, user: &crate::users::User, now: Now) -> Option<Reason> {
    let Task::Message(message) = &job.task else { return None };
    let at = Timestamp::now();
    let conversation = user.conversations.get(&message.conversation_id);
    let verdict = decide(&Facts {
        is_sender: false,
        is_expired: at >= job.expires_at,
        level: conversation.map(|it| it.level).unwrap_or_default(),
        is_muted: user.notifications.is_muted(at) || conversation.is_some_and(|it| it.is_muted(at)),
        is_dnd: now.is_dnd,
        is_direct: message.is_direct,
        is_mention: message.is_mention,
        mentions_override_mute: user.notifications.mentions_override_mute,
        direct_override_mute: user.notifications.direct_override_mute,
        is_read: now.is_read,
        is_confirmed: now.is_confirmed,
        // It had this message before it came to the screen, or was told of it as it came back.
        session: now.session.filter(|it| *it == AppState::Foreground),
        is_active_elsewhere: false,
        has_waited: true,
        has_provider: true,
    });
    match verdict {
        Verdict::Suppress(reason) => Some(reason),
        Verdict::Push | Verdict::Wait => None,
    }
}

/// The number on the icon is that of now, not that of a first attempt long ago.
async fn count_again(service: &Service, held: &mut [Held]) {
    let users: HashSet<UserId> = held
        .iter()
        .filter(|it| it.is_old)
        .map(|it| it.job.user_id.clone())
        .collect();
    if users.is_empty() {
        return;
    }
    let counts: HashMap<UserId, u32> = unread(service, users, HashSet::new()).await;
    for held in held.iter_mut().filter(|it| it.is_old) {
        if let Some(count) = counts.get(&held.job.user_id) {
            held.job.set_badge(*count);
        }
    }
}

async fn judge(service: &Service, held: Held, look: Look) -> Option<Attempt> {
    if let Some(reason) = look.against {
        suppress(service, &held, reason).await;
        return None;
    }
    // A device that is registered elsewhere by now is reached there, by jobs of its own.
    let known = look.known.filter(|it| held.job.is_for(&it.registration));
    let Some(known) = known else {
        suppress(service, &held, Reason::Unregistered).await;
        return None;
    };
    Some(Attempt {
        number: held.job.attempts + 1,
        entry: held.entry,
        job: held.job,
        known,
    })
}

async fn suppress(service: &Service, held: &Held, reason: Reason) {
    let platform = held.job.platform.as_str();
    metrics::counter!("parley_push_cancelled_total", "provider" => platform, "reason" => reason.as_str()).increment(1);
    held.job
        .record(service, crate::records::Step::Suppressed { reason })
        .await;
    settle(&held.entry, AckKind::Ack).await;
}

pub(super) async fn settle(entry: &Entry, kind: AckKind) {
    if let Err(error) = entry.ack_with(kind).await {
        tracing::debug!(%error, "a job may come again");
    }
}
