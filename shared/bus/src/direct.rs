//! Direct gets: reading stored entries without a consumer, one or many at a time.
//!
//! Any copy of a stream may answer, also one that is behind the others. What such an answer lacks must not be taken for
//! absent: that something is not there is asked of the leader again, and reads of many entries prove that they hold
//! everything up to a position that the caller knows of ([`lasts`], [`entries`]), or are repeated.

use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use protocol::Timestamp;
use serde::Serialize;

use crate::log::{LogError, Record};
use crate::subjects::{NODE_KEYS, PRESENCE_BUCKET};
pub use crate::whole::{Reach, entries, last_of_each, lasts};
use crate::{Bus, leader};

/// Most subjects that a server answers for in one request (nats-server's `maxAllowedResponses` is 1,024).
pub const SUBJECTS_MOST: usize = 1_000;

const REPLY_WAIT: Duration = Duration::from_millis(1_500);

/// A request of the direct get API (NATS ADR-31).
#[derive(Debug, Default, Serialize)]
pub struct Query {
    /// From this stream sequence on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The next entries with this subject, which may hold wildcards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_by_subj: Option<String>,
    /// The last entry of each of these subjects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub multi_last: Vec<String>,
    /// Not past this stream sequence (with `multi_last`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to_seq: Option<u64>,
    /// From this time on, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// At most so many entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// At most about so many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<usize>,
}

/// What came, and whether the server had more.
#[derive(Debug, Default)]
pub struct Batch {
    /// In stream order.
    pub records: Vec<Record>,
    /// Entries that match and did not fit.
    pub pending: u64,
    /// The end of the copy that answered. Of `multi_last` alone, and not where nothing matched.
    pub up_to: Option<u64>,
}

/// The last entry on a subject without wildcards; an older one where the copy that answers is behind. `None` is the
/// leader's word.
///
/// # Errors
/// NATS did not answer.
pub async fn last(bus: &Bus, stream: &str, subject: &str) -> Result<Option<Record>, LogError> {
    match single(bus, format!("$JS.API.DIRECT.GET.{stream}.{subject}"), Bytes::new()).await? {
        Some(record) => Ok(Some(record)),
        None => leader::last(bus, stream, subject).await,
    }
}

/// The entry with a stream sequence. `None` is the leader's word.
///
/// # Errors
/// NATS did not answer.
pub async fn at(bus: &Bus, stream: &str, position: u64) -> Result<Option<Record>, LogError> {
    let query = serde_json::json!({ "seq": position }).to_string();
    match single(bus, format!("$JS.API.DIRECT.GET.{stream}"), query.into()).await? {
        Some(record) => Ok(Some(record)),
        None => leader::at(bus, stream, position).await,
    }
}

async fn single(bus: &Bus, subject: String, payload: Bytes) -> Result<Option<Record>, LogError> {
    if !bus.is_up() {
        return Err(LogError::Away("not connected".into()));
    }
    let reply = bus
        .client
        .request(subject, payload)
        .await
        .map_err(|error| LogError::Away(error.to_string()))?;
    match reply.status {
        None => record(reply).map(Some),
        Some(StatusCode::NOT_FOUND) => Ok(None),
        Some(status) => Err(LogError::Refused(status.to_string())),
    }
}

/// Runs a batched query, once: the answer may be one of a copy that is behind.
///
/// # Errors
/// NATS did not answer in full, or the query matches more subjects than [`SUBJECTS_MOST`]
/// ([`LogError::TooManySubjects`]).
pub async fn batch(bus: &Bus, stream: &str, query: &Query) -> Result<Batch, LogError> {
    let mut records = Vec::new();
    let End { pending, up_to } = replies(bus, stream, query, |reply| {
        records.push(record(reply)?);
        Ok(())
    })
    .await?;
    Ok(Batch {
        records,
        pending,
        up_to,
    })
}

/// What an answer says at its end; see [`Batch`].
#[derive(Debug, Default)]
struct End {
    pending: u64,
    up_to: Option<u64>,
}

/// Runs a batched query, and hands each reply to `take`.
async fn replies(
    bus: &Bus,
    stream: &str,
    query: &Query,
    mut take: impl FnMut(Message) -> Result<(), LogError>,
) -> Result<End, LogError> {
    if !bus.is_up() {
        return Err(LogError::Away("not connected".into()));
    }
    let away = |error: &dyn std::fmt::Display| LogError::Away(error.to_string());
    let inbox = bus.client.new_inbox();
    let mut replies = bus
        .client
        .subscribe(inbox.clone())
        .await
        .map_err(|error| away(&error))?;
    let payload = serde_json::to_vec(query).unwrap_or_default();
    bus.client
        .publish_with_reply(format!("$JS.API.DIRECT.GET.{stream}"), inbox, payload.into())
        .await
        .map_err(|error| away(&error))?;
    let mut taken = 0;
    loop {
        let next = tokio::time::timeout(REPLY_WAIT, replies.next()).await;
        let Ok(Some(reply)) = next else {
            return Err(LogError::Away("a direct get was not answered in full".into()));
        };
        match reply.status {
            None => {
                take(reply)?;
                taken += 1;
            }
            Some(status) if status.as_u16() == 204 => {
                let number = |name| header(reply.headers.as_ref(), name).and_then(|text| text.parse().ok());
                return Ok(End {
                    pending: number("Nats-Num-Pending").unwrap_or(0),
                    up_to: number("Nats-UpTo-Sequence"),
                });
            }
            Some(StatusCode::NOT_FOUND) if taken == 0 => return Ok(End::default()),
            Some(StatusCode::NOT_FOUND) => return Err(LogError::Away("a direct get broke off".into())),
            Some(status) if status.as_u16() == 413 => return Err(LogError::TooManySubjects),
            Some(StatusCode::NO_RESPONDERS) => return Err(LogError::Away("no such stream, or no leader".into())),
            Some(status) => return Err(LogError::Refused(status.to_string())),
        }
    }
}

/// Entries with the times at which the server stored them, of at most [`SUBJECTS_MOST`] subjects.
///
/// # Errors
/// As of [`batch`].
pub async fn timed(bus: &Bus, stream: &str, query: &Query) -> Result<Vec<(Record, Timestamp)>, LogError> {
    let mut records = Vec::new();
    let take = |reply: Message| {
        let at = header(reply.headers.as_ref(), "Nats-Time-Stamp").and_then(Timestamp::parse);
        let at = at.ok_or_else(|| LogError::Refused("a direct get was answered without a time".into()))?;
        records.push((record(reply)?, at));
        Ok(())
    };
    let end = replies(bus, stream, query, take).await?;
    if end.pending > 0 && !query.multi_last.is_empty() {
        return Err(LogError::TooManySubjects);
    }
    Ok(records)
}

/// The ids of the connection nodes that the presence service takes to be alive.
///
/// # Errors
/// As of [`batch`].
pub async fn living_nodes(bus: &Bus) -> Result<Vec<String>, LogError> {
    let bucket = format!("$KV.{PRESENCE_BUCKET}.");
    let query = Query {
        multi_last: vec![format!("{bucket}{NODE_KEYS}")],
        batch: Some(SUBJECTS_MOST),
        ..Query::default()
    };
    let mut nodes = Vec::new();
    let take = |reply: Message| {
        let headers = reply.headers.as_ref();
        let gone = header(headers, "KV-Operation").is_some_and(|it| it != "PUT");
        let expired = header(headers, "Nats-Marker-Reason").is_some();
        let subject = record(reply)?.subject;
        let node = subject.rsplit('.').next().filter(|_| !gone && !expired);
        nodes.extend(node.map(str::to_owned));
        Ok(())
    };
    replies(bus, &format!("KV_{PRESENCE_BUCKET}"), &query, take).await?;
    Ok(nodes)
}

fn header<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    headers?.get(name).map(async_nats::HeaderValue::as_str)
}

fn record(message: Message) -> Result<Record, LogError> {
    let headers = message.headers.as_ref();
    let position = header(headers, "Nats-Sequence").and_then(|text| text.parse().ok());
    let subject = header(headers, "Nats-Subject").map(str::to_owned);
    let (Some(position), Some(subject)) = (position, subject) else {
        return Err(LogError::Refused("a direct get was answered without a sequence".into()));
    };
    Ok(Record {
        position,
        subject,
        payload: message.payload,
    })
}
