//! Reads that a stream's leader answers: they are as new as what was acknowledged to anybody before they were asked.
//!
//! Everything else is read from any copy of a stream (see [`crate::direct`]), which may be behind. The leader is asked where
//! an old answer would do harm and nothing in the answer gives it away. One that was deposed and does not know yet may
//! still answer, for a moment: what is written because of an answer is compared with the log in any case.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageBuilder};

use crate::Bus;
use crate::log::{LogError, Record};

/// The last entry whose subject matches, wildcards allowed.
///
/// # Errors
/// [`LogError::Away`]: nobody answered, also where no leader is known.
pub async fn last(bus: &Bus, stream: &str, subject: &str) -> Result<Option<Record>, LogError> {
    ask(bus, stream, |it| it.last_by_subject(subject)).await
}

/// The entry with a stream sequence.
///
/// # Errors
/// As of [`last`].
pub async fn at(bus: &Bus, stream: &str, position: u64) -> Result<Option<Record>, LogError> {
    ask(bus, stream, |it| it.sequence(position)).await
}

/// The first entry from `position` on whose subject matches.
///
/// # Errors
/// As of [`last`].
pub async fn next(bus: &Bus, stream: &str, subject: &str, position: u64) -> Result<Option<Record>, LogError> {
    ask(bus, stream, |it| it.sequence(position.max(1)).next_by_subject(subject)).await
}

async fn ask(
    bus: &Bus,
    stream: &str,
    question: impl FnOnce(RawMessageBuilder) -> RawMessageBuilder,
) -> Result<Option<Record>, LogError> {
    if !bus.is_up() {
        return Err(LogError::Away("not connected".into()));
    }
    metrics::counter!("parley_leader_reads_total").increment(1);
    let handle = bus.jetstream.get_stream_no_info(stream).await;
    let handle = handle.map_err(|error| LogError::Away(error.to_string()))?;
    match question(handle.raw_message_builder()).send().await {
        Ok(message) => Ok(Some(record(message))),
        Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(error) => Err(LogError::Away(error.to_string())),
    }
}

fn record(message: StreamMessage) -> Record {
    Record {
        position: message.sequence,
        subject: message.subject.to_string(),
        payload: message.payload,
    }
}
