//! Following a stream from a position, in order, without gap, for as long as the process lives.
//!
//! An ephemeral ordered push consumer, made again after every doubt: a lost link, a missing heartbeat, a hole in the
//! sequence. async-nats has one too; ours checks at each start that the stream is still the same one, since a stream
//! deleted and made anew would otherwise be waited on in silence until it had grown past the old position.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, push};
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::doubt::{Short, Stuck};
use crate::subjects::Lane;
use crate::{Bus, streams};

/// What a follower is told.
#[derive(Debug)]
pub enum TailEvent {
    /// The next entry.
    Record {
        /// Its stream sequence.
        position: u64,
        /// Its bytes.
        payload: Bytes,
        /// W3C trace context of its writing, where that was traced.
        traceparent: Option<String>,
    },
    /// The stream is another one than before, or has lost entries that were not seen yet. What follows starts at the
    /// new stream's position.
    Reset(Start),
}

/// Where a follower stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The stream's identity, see [`streams::StreamState`].
    pub identity: u64,
    /// Everything up to this sequence is behind the follower.
    pub position: u64,
}

/// Silence after which the consumer is made again. The server sends a heartbeat every third of it.
const SILENCE: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(100);
/// Between looks at the stream's identity.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// Follows a lane from `start` and hands each event to `on`, for ever; the caller ends it by dropping the future.
pub async fn follow(bus: Bus, lane: Lane, start: Start, mut on: impl FnMut(TailEvent)) {
    let mut at = start;
    let mut told = String::new();
    let mut short = Short::default();
    loop {
        let mut link = bus.link();
        match check(&bus, lane, &mut at, &mut short).await {
            Ok(None) => {
                told.clear();
                let reached = AtomicU64::new(at.position);
                let ended = tokio::select! {
                    ended = consume(&bus, lane, &reached, &mut on) => ended,
                    _ = link.changed() => "the link changed".to_owned(),
                    reason = watch(&bus, lane, at.identity, &reached) => reason.to_owned(),
                    () = short.wait() => "the stream ended before this".to_owned(),
                };
                at.position = reached.into_inner();
                tracing::info!(
                    stream = lane.stream(),
                    position = at.position,
                    reason = ended,
                    "following again"
                );
                metrics::counter!("parley_tail_restarts_total").increment(1);
            }
            Ok(Some(reset)) => on(TailEvent::Reset(reset)),
            Err(error) if error != told => {
                tracing::warn!(stream = lane.stream(), error, "cannot follow the stream yet");
                told = error;
            }
            Err(_) => {}
        }
        if !bus.is_up() {
            let _ = link.wait_for(|it| it.up).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until the stream is gone or another one, which the server does not tell the consumer's owner, so that cursors of the
/// old stream are taken until it is noticed; or until it goes on and the consumer does not: the server that held it has died,
/// of several, or is behind. What is seen of its end tells how far behind this follower is.
async fn watch(bus: &Bus, lane: Lane, identity: u64, reached: &AtomicU64) -> &'static str {
    let lag = metrics::gauge!("parley_tail_lag_messages", "stream" => lane.stream());
    let mut stuck = Stuck::default();
    loop {
        tokio::time::sleep(LOOK).await;
        match streams::state(bus, &lane.stream()).await {
            Ok(Some(state)) if state.identity == identity => {
                let reached = reached.load(Ordering::Relaxed);
                lag.set(state.last.saturating_sub(reached) as f64);
                if stuck.look(reached, state.last) {
                    return "the consumer does not go on";
                }
            }
            Ok(_) => return "the stream is another one",
            // Whoever consumes finds out what is wrong with the link.
            Err(_) => {}
        }
    }
}

/// Compares the stream with what is known of it. `Some` where the follower must start anew. A stream that is gone is made
/// anew by the message service, and waited for here.
async fn check(bus: &Bus, lane: Lane, at: &mut Start, short: &mut Short) -> Result<Option<Start>, String> {
    let state = streams::state(bus, &lane.stream()).await;
    let Some(state) = state.map_err(|error| error.to_string())? else {
        return Err("it is gone, and the message service has not made it anew yet".to_owned());
    };
    let ends_before = state.identity == at.identity && state.last < at.position;
    let same = state.identity == at.identity && !short.has_lost(ends_before, bus.is_clustered(), Instant::now());
    // The receipts keep one entry a subject, so that old sequences vanish without anything being lost.
    let whole = lane == Lane::Receipts || state.first <= at.position + 1;
    if same && whole {
        return Ok(None);
    }
    let position = if same {
        state.first - 1
    } else {
        state.first.saturating_sub(1)
    };
    *at = Start {
        identity: state.identity,
        position,
    };
    Ok(Some(*at))
}

/// Consumes until something is doubtful, and says what.
async fn consume(bus: &Bus, lane: Lane, reached: &AtomicU64, on: &mut impl FnMut(TailEvent)) -> String {
    let mut position = reached.load(Ordering::Relaxed);
    let inbox = bus.client.new_inbox();
    let mut messages = match bus.client.subscribe(inbox.clone()).await {
        Ok(messages) => messages,
        Err(error) => return error.to_string(),
    };
    let config = push::Config {
        // NATS' permissions of this service are about names: without one, the request could be about any consumer.
        name: Some(format!("tail-{}", inbox.rsplit('.').next().unwrap_or_default())),
        deliver_subject: inbox,
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: position + 1,
        },
        ack_policy: AckPolicy::None,
        replay_policy: ReplayPolicy::Instant,
        max_deliver: 1,
        flow_control: true,
        idle_heartbeat: SILENCE / 3,
        inactive_threshold: Duration::from_secs(30),
        num_replicas: 1,
        memory_storage: true,
        ..Default::default()
    };
    if let Err(error) = bus.jetstream.create_consumer_on_stream(config, lane.stream()).await {
        return error.to_string();
    }
    let mut delivered = 0;
    loop {
        let message = match tokio::time::timeout(SILENCE, messages.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => return "the subscription ended".into(),
            Err(_) => return "no heartbeat".into(),
        };
        if message.status == Some(StatusCode::IDLE_HEARTBEAT) {
            if let Some(problem) = on_heartbeat(bus, &message, delivered).await {
                return problem;
            }
            continue;
        }
        let Some((stream_sequence, consumer_sequence)) = sequences(message.reply.as_deref().unwrap_or_default()) else {
            return format!("an unexpected message, status {:?}", message.status);
        };
        if consumer_sequence != delivered + 1 {
            return format!("a gap: {consumer_sequence} after {delivered}");
        }
        delivered = consumer_sequence;
        if stream_sequence <= position {
            // A copy of the stream that is behind may begin earlier than it was asked to.
            continue;
        }
        position = stream_sequence;
        reached.store(position, Ordering::Relaxed);
        on(TailEvent::Record {
            position: stream_sequence,
            traceparent: crate::spans::traceparent(&message).map(str::to_owned),
            payload: message.payload,
        });
    }
}

/// Answers flow control, and compares what the server says it has delivered with what came.
async fn on_heartbeat(bus: &Bus, message: &Message, delivered: u64) -> Option<String> {
    let headers = message.headers.as_ref();
    let stalled = headers
        .and_then(|it| it.get("Nats-Consumer-Stalled"))
        .map(|it| it.as_str().to_owned());
    for subject in message
        .reply
        .as_ref()
        .map(ToString::to_string)
        .into_iter()
        .chain(stalled)
    {
        if let Err(error) = bus.client.publish(subject, Bytes::new()).await {
            return Some(error.to_string());
        }
    }
    let last = headers
        .and_then(|it| it.get("Nats-Last-Consumer"))?
        .as_str()
        .parse::<u64>()
        .ok()?;
    (last > delivered).then(|| format!("the server delivered {last}, {delivered} came"))
}

/// Stream and consumer sequence from the reply subject of a delivered message, in its first form (9 tokens) or the one
/// with domain and account (11 and more); see NATS ADR-15.
fn sequences(reply: &str) -> Option<(u64, u64)> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let first = match tokens.len() {
        7 => 3,
        9.. => 5,
        _ => return None,
    };
    Some((tokens[first].parse().ok()?, tokens[first + 1].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_read_from_both_forms_of_a_reply_subject() {
        assert_eq!(sequences("$JS.ACK.CHAT_0.c.1.42.7.1600000000.0"), Some((42, 7)));
        assert_eq!(
            sequences("$JS.ACK.hub.ACC.CHAT_0.c.1.42.7.1600000000.0.x"),
            Some((42, 7))
        );
        assert_eq!(sequences("$JS.ACK.hub.ACC.CHAT_0.c.1.42.7.1600000000.0"), Some((42, 7)));
        assert_eq!(sequences("_INBOX.x"), None);
    }
}
