//! One batch of messages from the log to decisions, jobs and records.
//!
//! Two looks: the first decides on most devices; those that are connected in the background are given the grace to
//! confirm, and are looked at again. A message is acked when everything that was decided of it is stored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message as Entry;
use bus::{Lane, LogError};
use futures_util::{StreamExt, TryStreamExt};
use lifecycle::Shutdown;
use protocol::rpc::Audience;
use protocol::server_frame::MessageIncoming;
use protocol::{Code, ConversationId, Refusal, Timestamp, UserId, envelope};
use tokio::time::{Instant, sleep_until};

use super::candidates::{Candidate, Told, candidates};
use super::in_hand::InHand;
use super::settle::settle;
use crate::facts;
use crate::records;
use crate::service::Service;

/// A message whose facts cannot be had comes again after this.
const AGAIN: Duration = Duration::from_secs(1);
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
    #[error("the audience: {0}")]
    Audience(Refusal),
    #[error("shutting down")]
    Shutdown,
}

/// Plans a batch to its end. What cannot be done is given back to NATS.
pub(super) async fn plan(service: &Service, lane: Lane, entries: Vec<Entry>, shutdown: &Shutdown) {
    let in_hand = InHand::new(entries);
    let messages: Vec<(usize, MessageIncoming, Rest)> = in_hand
        .entries()
        .into_iter()
        .filter_map(|(index, entry)| read(service, &entry).map(|(message, rest)| (index, message, rest)))
        .collect();
    in_hand.ack_all_but(&messages.iter().map(|it| it.0).collect()).await;
    if messages.is_empty() {
        return;
    }
    let outcome = tokio::select! {
        outcome = decide_all(service, messages, &in_hand) => outcome,
        () = shutdown.triggered() => Err(NotNow::Shutdown),
        never = in_hand.keep() => match never {},
    };
    let Err(error) = outcome else { return };
    let again = (!matches!(error, NotNow::Shutdown)).then_some(AGAIN);
    let count = in_hand.give_back(again).await;
    metrics::counter!("parley_push_plans_put_off_total").increment(count);
    if again.is_some() {
        tracing::warn!(stream = lane.stream(), %error, messages = count, "pushes are planned again in a moment");
    }
}

/// What an entry says beside its message.
struct Rest {
    state_at: u64,
    sender_name: Option<String>,
    traceparent: Option<String>,
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
    };
    Some((message, rest))
}

fn expiry(service: &Service, made_at: Timestamp) -> Timestamp {
    let ttl = i64::try_from(service.settings.ttl.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(made_at.as_millis().saturating_add(ttl))
}

/// Two looks, with the grace between them.
async fn decide_all(
    service: &Service,
    messages: Vec<(usize, MessageIncoming, Rest)>,
    in_hand: &InHand,
) -> Result<(), NotNow> {
    let mut open = open(service, messages, in_hand).await?;
    if open.is_empty() {
        return Ok(());
    }
    sleep_until(aged(&open, SETTLED_MS)).await;
    settle(service, &mut open, false).await?;
    finish(&mut open, in_hand).await;
    if open.is_empty() {
        return Ok(());
    }
    let grace_ms = i64::try_from(service.settings.grace_ms).unwrap_or(i64::MAX);
    sleep_until(aged(&open, grace_ms.max(SETTLED_MS))).await;
    settle(service, &mut open, true).await?;
    finish(&mut open, in_hand).await;
    Ok(())
}

/// Finds the devices of all messages.
async fn open(
    service: &Service,
    messages: Vec<(usize, MessageIncoming, Rest)>,
    in_hand: &InHand,
) -> Result<Vec<Open>, NotNow> {
    let audiences = audiences(service, &messages).await?;
    let members: HashSet<&UserId> = audiences.values().flat_map(|it| &it.members).collect();
    let members: Vec<&UserId> = members.into_iter().collect();
    let users = service.users.get(&members).await?;
    let mut open = Vec::new();
    for (index, message, rest) in messages {
        // A conversation that nobody knows has no members to notify.
        let Some(audience) = audiences.get(&message.conversation_id) else {
            continue;
        };
        let decided = if in_hand.came_again(index) {
            records::decided(&service.bus, &message.conversation_id, message.seq).await?
        } else {
            HashSet::new()
        };
        let told = Told {
            expires_at: expiry(service, message.timestamp),
            message,
            sender_name: rest.sender_name,
            traceparent: rest.traceparent,
            audience: audience.clone(),
        };
        let waiting = candidates(service, &told, &users, &decided);
        open.push(Open { index, told, waiting });
    }
    in_hand
        .ack_all_but(
            &open
                .iter()
                .filter(|it| !it.waiting.is_empty())
                .map(|it| it.index)
                .collect(),
        )
        .await;
    open.retain(|it| !it.waiting.is_empty());
    Ok(open)
}

async fn audiences(
    service: &Service,
    messages: &[(usize, MessageIncoming, Rest)],
) -> Result<HashMap<ConversationId, Arc<Audience>>, NotNow> {
    // The newest message of each conversation says how new its members must be known.
    let wanted: HashMap<ConversationId, u64> = messages
        .iter()
        .map(|(_, message, rest)| (message.conversation_id.clone(), rest.state_at))
        .collect();
    let ask = |(id, state_at)| audience(service, id, state_at);
    let found: Vec<Option<(ConversationId, Arc<Audience>)>> = futures_util::stream::iter(wanted)
        .map(ask)
        .buffer_unordered(QUESTIONS)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// `None`: there is no such conversation.
async fn audience(
    service: &Service,
    id: ConversationId,
    state_at: u64,
) -> Result<Option<(ConversationId, Arc<Audience>)>, NotNow> {
    match service.audiences.get(&id, state_at).await {
        Ok(audience) => Ok(Some((id, audience))),
        Err(refusal) if refusal.code == Code::NotFound => Ok(None),
        Err(refusal) => Err(NotNow::Audience(refusal)),
    }
}

/// Acks the messages of which nothing waits any more.
async fn finish(open: &mut Vec<Open>, in_hand: &InHand) {
    open.retain(|it| !it.waiting.is_empty());
    in_hand.ack_all_but(&open.iter().map(|it| it.index).collect()).await;
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
