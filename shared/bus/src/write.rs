//! Writing one entry of a stream and waiting until it is stored.

use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures_util::StreamExt;

use crate::Bus;
use crate::log::{Appended, LogError};

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
    let acked = match bus.jetstream.send_publish(subject, message).await {
        Ok(ack) => ack.await,
        Err(error) => Err(error),
    };
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
