//! One batch of messages from the log to decisions, jobs and records.
//!
//! Two looks: the first decides on most devices; those that are connected in the background are given the grace to
//! confirm, and are looked at again. A message is acked when everything that was decided of it is stored.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message as Entry;
use bus::{Lane, LogError};
use futures_util::StreamExt;
use lifecycle::Shutdown;
use protocol::rpc::Audience;
use protocol::server_frame::MessageIncoming;
use protocol::{Code, ConversationId, Refusal, Timestamp, UserId, envelope};
use telemetry::trace::{self, Origin};
use tokio::time::{Instant, sleep_until};
use tracing::Span;

use super::candidates::{Candidate, Told, candidates};
use super::in_hand::InHand;
use super::settle::settle;
use crate::facts;
use crate::records;
use crate::service::Service;

/// Messages whose devices are found together, and devices that are looked at together: a batch may be of large groups.
const TOGETHER: usize = 100;
const DEVICES_TOGETHER: usize = 5_000;
/// Who was connected when a message came is known everywhere after this: nodes report every 50 ms.
const SETTLED_MS: i64 = 120;
/// Questions of one batch for audiences under way at once.
const QUESTIONS: usize = 8;

/// A message in hand.
pub(super) struct Open {
    /// Of its entry.
    pub(super) index: usize,
    pub(super) told: Told,
    /// Not decided on.
    pub(super) waiting: Vec<Candidate>,
}

/// Why a batch cannot be planned now.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotNow {
    #[error(transparent)]
    Facts(#[from] facts::Unknown),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Plans a batch to its end. What cannot be done is given back to NATS.
pub(super) async fn plan(service: &Service, lane: Lane, entries: Vec<Entry>, shutdown: &Shutdown) {
    let in_hand = InHand::new(entries);
    let messages: Vec<Unopened> = in_hand
        .entries()
        .into_iter()
        .filter_map(|(index, entry)| read(service, &entry).map(|(message, rest)| (index, message, rest)))
        .collect();
    let wanted: HashSet<usize> = messages.iter().map(|it| it.0).collect();
    in_hand.ack_all_but(&wanted).await;
    if messages.is_empty() {
        return;
    }
    // Not entered: what is asked for the whole batch would be traced because one message of it is, and of batches of hundreds
    // that is nearly all there is.
    let _span = batch_span(lane, &messages);
    tokio::select! {
        () = decide_all(service, lane, messages, &in_hand) => {}
        () = shutdown.triggered() => {
            let count = in_hand.give_back().await;
            metrics::counter!("parley_push_plans_put_off_total").increment(count);
        }
        never = in_hand.keep() => match never {},
    }
}

/// The batch's own span: many have caused it, so it is a trace of its own, linked with theirs.
fn batch_span(lane: Lane, messages: &[Unopened]) -> Span {
    let traced: Vec<_> = messages.iter().filter_map(|it| trace::context_of(&it.2.span)).collect();
    let span = telemetry::span!(
        Origin::of_batch(!traced.is_empty()),
        "consumer",
        format!("decide on pushes of {}", lane.stream()),
        messaging.system = "nats",
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = lane.stream(),
        messaging.consumer.group.name = super::CONSUMER,
        messaging.batch.message_count = messages.len() as i64
    );
    for message in messages {
        trace::link(&message.2.span, trace::context_of(&span));
    }
    trace::link(&span, traced);
    span
}

/// Index of its entry, the message, and what else the entry says.
type Unopened = (usize, MessageIncoming, Rest);

/// What an entry says beside its message.
struct Rest {
    state_at: u64,
    sender_name: Option<String>,
    traceparent: Option<String>,
    /// Where the message is traced: from here until everything is decided of it.
    span: Span,
}

/// The message of an entry; `None` for what nobody is notified of.
fn read(service: &Service, entry: &Entry) -> Option<(MessageIncoming, Rest)> {
    let (envelope, head) = match envelope::decode(&entry.payload) {
        Ok(read) => read,
        Err(error) => {
            metrics::counter!("parley_unreadable_total", "what" => "push").increment(1);
            tracing::warn!(subject = %entry.subject, %error, "skipped an entry");
            return None;
        }
    };
    if head.event_type != "message:incoming" {
        return None;
    }
    let message: MessageIncoming = serde_json::from_str(envelope.frame.get()).ok()?;
    if Timestamp::now() >= expiry(service, message.timestamp) {
        metrics::counter!("parley_push_expired_messages_total").increment(1);
        return None;
    }
    let rest = Rest {
        state_at: envelope.state_at,
        sender_name: envelope.sender_name.map(std::borrow::Cow::into_owned),
        traceparent: envelope.traceparent.map(std::borrow::Cow::into_owned),
        span: telemetry::span!(
            Origin::inside(bus::spans::traceparent(entry)),
            "consumer",
            "decide on pushes",
            messaging.system = "nats",
            messaging.operation.name = "process",
            messaging.operation.r#type = "process",
            messaging.destination.name = entry.subject.as_str(),
            messaging.consumer.group.name = super::CONSUMER,
            parley.conversation_id = message.conversation_id.as_str(),
            parley.seq = message.seq.cast_signed()
        ),
    };
    Some((message, rest))
}

fn expiry(service: &Service, made_at: Timestamp) -> Timestamp {
    let ttl = i64::try_from(service.settings.ttl.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(made_at.as_millis().saturating_add(ttl))
}

/// Two looks, with the grace between them, a part of the devices at a time. What cannot be decided now is put off, and
/// nothing else with it.
async fn decide_all(service: &Service, lane: Lane, messages: Vec<Unopened>, in_hand: &InHand) {
    let mut messages = VecDeque::from(messages);
    let mut waiting = Vec::new();
    while !messages.is_empty() {
        let part: Vec<Unopened> = messages.drain(..messages.len().min(TOGETHER)).collect();
        let indexes: Vec<usize> = part.iter().map(|it| it.0).collect();
        let opened = match open(service, part, in_hand).await {
            Ok(opened) => opened,
            Err(error) => {
                put_off(lane, in_hand, indexes, &error).await;
                continue;
            }
        };
        for mut part in parts(opened) {
            sleep_until(aged(&part, SETTLED_MS)).await;
            look_at(service, lane, &mut part, false, in_hand).await;
            waiting.extend(part);
            tokio::task::yield_now().await;
        }
    }
    let grace_ms = i64::try_from(service.settings.grace_ms).unwrap_or(i64::MAX);
    for mut part in parts(waiting) {
        sleep_until(aged(&part, grace_ms.max(SETTLED_MS))).await;
        renew(service, &mut part).await;
        look_at(service, lane, &mut part, true, in_hand).await;
        tokio::task::yield_now().await;
    }
}

/// Messages with a bounded number of devices together; one message alone may have more.
fn parts(open: Vec<Open>) -> Vec<Vec<Open>> {
    let (mut parts, mut devices) = (Vec::<Vec<Open>>::new(), 0);
    for it in open {
        let more = it.waiting.len();
        match parts.last_mut() {
            Some(part) if devices + more <= DEVICES_TOGETHER => {
                devices += more;
                part.push(it);
            }
            _ => {
                devices = more;
                parts.push(vec![it]);
            }
        }
    }
    parts
}

/// One look; what is settled is acked, what could not be is put off, what is left waits.
async fn look_at(service: &Service, lane: Lane, part: &mut Vec<Open>, has_waited: bool, in_hand: &InHand) {
    let indexes: Vec<usize> = part.iter().map(|it| it.index).collect();
    match settle(service, part, has_waited).await {
        Ok(failed) => {
            let put_off = in_hand.put_off(failed.iter().copied()).await;
            metrics::counter!("parley_push_plans_put_off_total").increment(put_off);
            part.retain(|it| !failed.contains(&it.index) && !it.waiting.is_empty());
            let done = indexes
                .into_iter()
                .filter(|index| !part.iter().any(|it| it.index == *index));
            in_hand.ack(done).await;
        }
        Err(error) => {
            put_off(lane, in_hand, indexes, &error).await;
            part.clear();
        }
    }
}

async fn put_off(lane: Lane, in_hand: &InHand, indexes: Vec<usize>, error: &NotNow) {
    let count = in_hand.put_off(indexes).await;
    metrics::counter!("parley_push_plans_put_off_total").increment(count);
    tracing::warn!(stream = lane.stream(), %error, messages = count, "pushes are planned again in a moment");
}

/// Finds the devices of messages. Those whose members are not known now are put off.
async fn open(service: &Service, messages: Vec<Unopened>, in_hand: &InHand) -> Result<Vec<Open>, NotNow> {
    let audiences = audiences(service, &messages).await;
    let known = audiences.values().filter_map(|it| it.as_ref().ok()?.as_ref());
    let members: HashSet<&UserId> = known.flat_map(|it| &it.members).collect();
    let members: Vec<&UserId> = members.into_iter().collect();
    let users = service.users.get(&members).await?;
    let (mut open, mut done, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (index, message, rest) in messages {
        let audience = match audiences.get(&message.conversation_id) {
            Some(Ok(Some(audience))) => audience.clone(),
            Some(Err(refusal)) => {
                tracing::debug!(%refusal, "a conversation's members are not known now");
                unknown.push(index);
                continue;
            }
            // A conversation that nobody knows has no members to notify.
            Some(Ok(None)) | None => {
                done.push(index);
                continue;
            }
        };
        let decided = if in_hand.may_be_planned(index) {
            records::decided(&service.bus, &message.conversation_id, message.seq).await?
        } else {
            HashSet::new()
        };
        let told = Told {
            expires_at: expiry(service, message.timestamp),
            message,
            sender_name: rest.sender_name,
            // The pushes belong to the decision.
            traceparent: trace::traceparent_of(&rest.span).or(rest.traceparent),
            span: rest.span,
            audience,
        };
        let waiting = candidates(service, &told, &users, &decided);
        if waiting.is_empty() {
            done.push(index);
        } else {
            open.push(Open { index, told, waiting });
        }
    }
    in_hand.ack(done).await;
    let count = in_hand.put_off(unknown).await;
    metrics::counter!("parley_push_plans_put_off_total").increment(count);
    Ok(open)
}

/// What was set for the users, and who is a member, as it is after the grace. Where that cannot be had, as it was before it.
async fn renew(service: &Service, part: &mut [Open]) {
    let users: HashSet<UserId> = part
        .iter()
        .flat_map(|it| it.waiting.iter().map(|candidate| candidate.user_id.clone()))
        .collect();
    let asked: Vec<&UserId> = users.iter().collect();
    let users = service.users.get(&asked).await.unwrap_or_default();
    let conversations: HashSet<ConversationId> =
        part.iter().map(|it| it.told.message.conversation_id.clone()).collect();
    let ask = |id| async move { (service.audiences.get_now(&id).await, id) };
    let audiences: HashMap<ConversationId, Arc<Audience>> = futures_util::stream::iter(conversations)
        .map(ask)
        .buffer_unordered(QUESTIONS)
        .filter_map(|(audience, id)| async move { Some((id, audience.ok()?)) })
        .collect()
        .await;
    for it in part {
        let audience = audiences.get(&it.told.message.conversation_id);
        for candidate in &mut it.waiting {
            let is_member = audience.is_none_or(|it| it.members.contains(&candidate.user_id));
            candidate.renew(users.get(&candidate.user_id), is_member);
        }
    }
}

type Known = Result<Option<Arc<Audience>>, Refusal>;

/// By conversation; `None`: there is no such conversation.
async fn audiences(service: &Service, messages: &[Unopened]) -> HashMap<ConversationId, Known> {
    // The newest message of each conversation says how new its members must be known.
    let wanted: HashMap<ConversationId, u64> = messages
        .iter()
        .map(|(_, message, rest)| (message.conversation_id.clone(), rest.state_at))
        .collect();
    let ask = |(id, state_at)| audience(service, id, state_at);
    futures_util::stream::iter(wanted)
        .map(ask)
        .buffer_unordered(QUESTIONS)
        .collect()
        .await
}

async fn audience(service: &Service, id: ConversationId, state_at: u64) -> (ConversationId, Known) {
    let known = match service.audiences.get(&id, state_at).await {
        Ok(audience) => Ok(Some(audience)),
        Err(refusal) if refusal.code == Code::NotFound => Ok(None),
        Err(refusal) => Err(refusal),
    };
    (id, known)
}

/// When the youngest message is so old.
fn aged(open: &[Open], age_ms: i64) -> Instant {
    let now = Timestamp::now().as_millis();
    let left = open
        .iter()
        .map(|it| it.told.message.timestamp.as_millis() + age_ms - now);
    // A clock that is wrong makes nobody wait for longer.
    let left = left.max().unwrap_or(0).clamp(0, age_ms);
    Instant::now() + Duration::from_millis(u64::try_from(left).unwrap_or(0))
}
