//! Writing one entry of a stream and waiting until it is stored.

use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use futures_util::StreamExt;
use telemetry::trace::{self, Origin};

use crate::Bus;
use crate::log::{Appended, LogError};
use crate::subjects;

/// On what conditions an entry is written, and for how long it is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms<'a> {
    /// Only if the last entry on its subject is the one at this stream sequence; 0: there is none.
    pub expected: Option<u64>,
    /// Only if the stream has not seen this id within its duplicate window. Checked after `expected` (seen on 2.15.1).
    pub message_id: Option<&'a str>,
    /// Kept no longer than this, at least a second; of a stream that allows it.
    pub ttl: Option<Duration>,
}

/// Entries of [`write_all`] that are on their way at once: far fewer than the client holds for all of a process.
const AT_ONCE: usize = 256;

/// An entry to be written beside others.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its subject.
    pub subject: String,
    /// Its bytes.
    pub payload: Bytes,
    /// See [`Terms::message_id`].
    pub message_id: Option<String>,
}

/// Writes entries, some at once. What came of each is told in their order; no order among them is kept.
pub async fn write_all(bus: &Bus, entries: Vec<Entry>) -> Vec<Result<Appended, LogError>> {
    let one = |entry: Entry| {
        let bus = bus.clone();
        async move {
            let terms = Terms {
                message_id: entry.message_id.as_deref(),
                ..Terms::default()
            };
            write(&bus, entry.subject, entry.payload, terms).await
        }
    };
    futures_util::stream::iter(entries)
        .map(one)
        .buffered(AT_ONCE)
        .collect()
        .await
}

/// Writes an entry.
///
/// # Errors
/// [`LogError`]; after [`LogError::Away`] it may have been written or may yet be.
pub async fn write(bus: &Bus, subject: String, payload: Bytes, terms: Terms<'_>) -> Result<Appended, LogError> {
    if !bus.is_up() {
        return Err(LogError::Away("not connected".into()));
    }
    let mut message = PublishMessage::build().payload(payload);
    if let Some(expected) = terms.expected {
        message = message.expected_last_subject_sequence(expected);
    }
    if let Some(id) = terms.message_id {
        message = message.message_id(id);
    }
    if let Some(ttl) = terms.ttl {
        message = message.ttl(ttl);
    }
    let span = telemetry::span!(
        Origin::here(),
        "producer",
        format!("publish {}", subjects::template(&subject)),
        messaging.system = "nats",
        messaging.operation.name = "publish",
        messaging.operation.r#type = "send",
        messaging.destination.name = subject.as_str(),
        messaging.message.id = terms.message_id
    );
    if let Some(traceparent) = trace::traceparent_of(&span) {
        message = message.header(trace::HEADER, traceparent.as_str());
    }
    let acked = match bus.jetstream.send_publish(subject, message).await {
        Ok(ack) => ack.await,
        Err(error) => Err(error),
    };
    let written = outcome(acked);
    match &written {
        Ok(appended) => trace::set(&span, "parley.position", appended.position.cast_signed()),
        Err(LogError::Conflict) => trace::fail(&span, "conflict"),
        Err(LogError::Refused(_)) => trace::fail(&span, "refused"),
        Err(_) => trace::fail(&span, "away"),
    }
    written
}

fn outcome(acked: Result<PublishAck, PublishError>) -> Result<Appended, LogError> {
    match acked {
        Ok(ack) => Ok(Appended {
            position: ack.sequence,
            duplicate: ack.duplicate,
        }),
        Err(error) => Err(match error.kind() {
            PublishErrorKind::WrongLastSequence => LogError::Conflict,
            // The client knows only one of the codes with which servers say this (10164 is another, seen with replicas).
            PublishErrorKind::Other if error.to_string().contains("wrong last sequence") => LogError::Conflict,
            PublishErrorKind::Other | PublishErrorKind::MaxPayloadExceeded => LogError::Refused(error.to_string()),
            _ => LogError::Away(error.to_string()),
        }),
    }
}
