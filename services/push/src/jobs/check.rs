//! Before jobs are tried: are they still to be made, and where is the device by now?
//!
//! A first attempt follows the decision by milliseconds: it looks whether the message was read, and whose the token is. A
//! later one decides anew.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message as Entry};
use futures_util::StreamExt;
use protocol::client_frame::AppState;
use protocol::rpc::Audience;
use protocol::{ConversationId, Timestamp, UserId};
use tokio::time::{Instant, sleep, timeout};

use super::attempt::{Attempt, again};
use super::job::{Job, Task, VERSION};
use super::origins;
use super::state::LaneState;
use crate::decide::{Facts, Reason, Verdict, decide};
use crate::facts::{self, Now, Place, Unknown};
use crate::records::{self, Step};
use crate::registry::Known;
use crate::service::Service;
use crate::texts::hidden;
use crate::unread::unread;
use crate::users::User;

/// A job of a newer version is left to newer replicas for so long.
const NEWER: Duration = Duration::from_secs(30);

/// Past the grace and this, a job has waited: what it rests on is looked at again.
const FRESH_MS: i64 = 5_000;

/// For learning who is a member of the conversations of old jobs.
const MEMBERS_WAIT: Duration = Duration::from_secs(2);
const CONVERSATIONS_AT_ONCE: usize = 16;

/// A job in hand.
struct Held {
    entry: Entry,
    job: Job,
    place: origins::Place,
    /// What it rests on is old.
    is_old: bool,
    /// It was tried, or may have been.
    may_be_sent: bool,
}

/// The attempts to be made; everything else is settled.
pub(super) async fn check(service: &Service, state: &LaneState, entries: Vec<Entry>) -> Vec<Attempt> {
    let mut held = Vec::new();
    for entry in entries {
        held.extend(take(service, state, entry).await);
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

/// Reads a job; settles what is no job, is too old, or has no place yet.
async fn take(service: &Service, state: &LaneState, entry: Entry) -> Option<Held> {
    let job: Job = match serde_json::from_slice(&entry.payload) {
        Ok(job) => job,
        Err(error) => {
            metrics::counter!("parley_unreadable_total", "what" => "job").increment(1);
            tracing::error!(error = %protocol::Quiet(&error), subject = %entry.subject, "dropped an unreadable job");
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
    if now >= job.expires_at {
        suppress(service, &entry, &job, Reason::Expired).await;
        return None;
    }
    let early = job.not_before.map_or(0, |it| it.as_millis() - now.as_millis());
    if early > 0 {
        again(&entry, Duration::from_millis(u64::try_from(early).unwrap_or(0))).await;
        return None;
    }
    let place = match state.admit(&job, Instant::now()) {
        Ok(place) => place,
        Err(pause) => {
            again(&entry, pause).await;
            return None;
        }
    };
    let may_be_sent = job.attempts > 0 || entry.info().is_ok_and(|info| info.delivered > 1);
    let age = now.as_millis() - job.made_at.as_millis();
    let is_old = may_be_sent || age > i64::try_from(service.settings.grace_ms).unwrap_or(0) + FRESH_MS;
    Some(Held {
        entry,
        job,
        place,
        is_old,
        may_be_sent,
    })
}

/// What was seen of a job.
struct Look {
    known: Option<Known>,
    against: Option<Against>,
}

/// Why a job is not to be made any more.
#[derive(Debug, Clone, Copy)]
enum Against {
    /// That.
    Reason(Reason),
    /// It was, by a replica that died before it could say so.
    Sent,
}

async fn look(service: &Service, held: &mut [Held]) -> Result<Vec<Look>, Unknown> {
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let devices: HashSet<(UserId, String)> = held.iter().map(|it| it.job.device()).collect();
    let devices: Vec<(UserId, String)> = devices.into_iter().collect();
    let (known, against) = tokio::join!(service.registry.find(&devices), against(service, held));
    let (known, against) = (known?, against?);
    renew(service, held, &known).await?;
    let looks = held.iter().zip(against).map(|(held, against)| Look {
        known: known.get(&held.job.device()).cloned(),
        against,
    });
    Ok(looks.collect())
}

/// Why jobs are not to be made any more.
async fn against(service: &Service, held: &[Held]) -> Result<Vec<Option<Against>>, Unknown> {
    let (mut fresh, mut old) = (Vec::new(), Vec::new());
    for (index, held) in held.iter().enumerate() {
        let places = if held.is_old { &mut old } else { &mut fresh };
        places.extend(held.job.place().map(|place| (index, place)));
    }
    let mut against: Vec<Option<Against>> = vec![None; held.len()];
    if !fresh.is_empty() {
        let places: Vec<Place<'_>> = fresh.iter().map(|it| it.1.clone()).collect();
        let read = facts::are_read(&service.bus, &places).await?;
        for ((index, _), is_read) in fresh.iter().zip(read) {
            against[*index] = is_read.then_some(Against::Reason(Reason::Read));
        }
    }
    if old.is_empty() {
        return Ok(against);
    }
    let places: Vec<Place<'_>> = old.iter().map(|it| it.1.clone()).collect();
    let now = facts::gather(&service.bus, &places, true).await?;
    let users: Vec<&UserId> = old.iter().map(|it| it.1.user).collect();
    let users = service.users.get(&users).await?;
    let members = members(service, &places).await;
    for ((index, place), now) in old.iter().zip(now) {
        let held = &held[*index];
        if held.may_be_sent && was_sent(service, place).await? {
            against[*index] = Some(Against::Sent);
            continue;
        }
        let user = users.get(place.user);
        let is_member = members
            .get(place.conversation)
            .is_none_or(|it| it.members.contains(place.user));
        let reason = if is_member {
            user.and_then(|user| decide_again(&held.job, user, now))
        } else {
            Some(Reason::NoMember)
        };
        against[*index] = reason.map(Against::Reason);
    }
    Ok(against)
}

/// Who is in the conversations now. What cannot be had soon is left out: whoever was a member is taken for one.
async fn members(service: &Service, places: &[Place<'_>]) -> HashMap<ConversationId, Arc<Audience>> {
    let conversations: HashSet<ConversationId> = places.iter().map(|it| it.conversation.clone()).collect();
    let ask = |id: ConversationId| async move {
        let audience = timeout(MEMBERS_WAIT, service.audiences.get_now(&id)).await;
        Some((id, audience.ok()?.ok()?))
    };
    let found = futures_util::stream::iter(conversations)
        .map(ask)
        .buffer_unordered(CONVERSATIONS_AT_ONCE)
        .filter_map(std::future::ready);
    // No job is in hand for longer than NATS waits for it.
    found.take_until(sleep(MEMBERS_WAIT)).collect().await
}

async fn was_sent(service: &Service, place: &Place<'_>) -> Result<bool, Unknown> {
    let sent = records::sent(&service.bus, place.conversation, place.seq).await?;
    Ok(sent.contains(&(place.user.clone(), place.device.to_owned())))
}

fn decide_again(job: &Job, user: &User, now: Now) -> Option<Reason> {
    let Task::Message(message) = &job.task else { return None };
    let at = Timestamp::now();
    let wants = user.wants(&message.conversation_id, at);
    let verdict = decide(&Facts {
        is_sender: false,
        is_expired: at >= job.expires_at,
        level: wants.level,
        is_muted: wants.is_muted,
        is_dnd: now.is_dnd,
        is_direct: message.is_direct,
        is_mention: message.is_mention,
        mentions_override_mute: wants.mentions_override_mute,
        direct_override_mute: wants.direct_override_mute,
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

/// Makes old jobs say what is so now: the number on the icon, and no text where previews were switched off.
async fn renew(service: &Service, held: &mut [Held], known: &HashMap<(UserId, String), Known>) -> Result<(), Unknown> {
    let users: HashSet<UserId> = held
        .iter()
        .filter(|it| it.is_old)
        .map(|it| it.job.user_id.clone())
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    let asked: Vec<&UserId> = users.iter().collect();
    let settings = service.users.get(&asked).await?;
    let counts = unread(service, users, HashSet::new()).await;
    for held in held.iter_mut().filter(|it| it.is_old) {
        if let Some(count) = counts.get(&held.job.user_id) {
            held.job.set_badge(*count);
        }
        let previews = settings
            .get(&held.job.user_id)
            .is_none_or(|it| it.notifications.previews);
        if !previews {
            let device = known.get(&held.job.device());
            let locale = device.and_then(|it| it.registration.locale.as_deref());
            held.job.hide(hidden(locale));
        }
    }
    Ok(())
}

async fn judge(service: &Service, held: Held, look: Look) -> Option<Attempt> {
    match look.against {
        Some(Against::Reason(reason)) => {
            suppress(service, &held.entry, &held.job, reason).await;
            return None;
        }
        Some(Against::Sent) => {
            settle(&held.entry, AckKind::Ack).await;
            return None;
        }
        None => {}
    }
    // A device that is registered elsewhere by now is reached there, by jobs of its own.
    let app = look.known.as_ref().and_then(|it| service.app_of(&it.registration));
    let known = look
        .known
        .filter(|it| held.job.is_for(&it.registration, app.as_deref()));
    let Some(known) = known else {
        suppress(service, &held.entry, &held.job, Reason::Unregistered).await;
        return None;
    };
    Some(Attempt {
        number: held.job.attempts + 1,
        entry: held.entry,
        job: held.job,
        place: held.place,
        known,
    })
}

async fn suppress(service: &Service, entry: &Entry, job: &Job, reason: Reason) {
    let platform = job.platform.as_str();
    metrics::counter!("parley_push_cancelled_total", "provider" => platform, "reason" => reason.as_str()).increment(1);
    job.record(service, Step::Suppressed { reason }).await;
    settle(entry, AckKind::Ack).await;
}

pub(super) async fn settle(entry: &Entry, kind: AckKind) {
    if let Err(error) = entry.ack_with(kind).await {
        tracing::debug!(%error, "a job may come again");
    }
}
