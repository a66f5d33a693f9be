//! Dead letters: pushes that were given up, kept for people to look at and to try again.

use std::time::Duration;

use async_nats::jetstream::{AckKind, Message as Entry};
use bus::direct::{self, Query};
use bus::subjects::{PUSH_DEAD_STREAM, PUSH_DEAD_WILDCARD};
use bus::write::{Terms, write};
use bus::{Bus, LogError};
use protocol::{Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::attempt::again;
use super::check::settle;
use super::job::{Job, Lane, Task};
use crate::records::Step;
use crate::service::Service;

const PAGE: usize = 500;

#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    v: u32,
    at: Timestamp,
    reason: String,
    attempts: u32,
    job: Job,
}

/// A push that was given up, as people see it: without its texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Names it: its place in the stream.
    pub number: u64,
    /// When it was given up.
    pub at: Timestamp,
    /// The provider's words, or ours.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// `apns`, `fcm`, `webpush`.
    pub provider: &'static str,
    /// Whom it was for.
    pub user_id: UserId,
    /// Which of his devices.
    pub device_id: String,
    /// The message, or `badge`.
    pub what: String,
    /// When it would not have been sent any more.
    pub expires_at: Timestamp,
}

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// It is queued again.
    Queued,
    /// It is too old to be sent, and stays where it is.
    Expired,
    /// There is no such dead letter, or not any more.
    Missing,
}

/// Gives a job up. Where that cannot be stored, it comes again.
pub(super) async fn bury(service: &Service, lane: &Lane, entry: &Entry, job: &Job, attempts: u32, reason: String) {
    let letter = Letter {
        v: 1,
        at: Timestamp::now(),
        reason: reason.clone(),
        attempts,
        job: job.clone(),
    };
    let payload = serde_json::to_vec(&letter).unwrap_or_default();
    // With its place in the queue: one that was replayed may die again.
    let place = entry.info().map_or(0, |info| info.stream_sequence);
    let key = format!("{}/{place}", job.key());
    let terms = Terms {
        message_id: Some(&key),
        ..Terms::default()
    };
    if let Err(error) = write(&service.bus, lane.dead_subject(), payload.into(), terms).await {
        tracing::warn!(%error, "a push could not be given up yet");
        again(entry, Duration::from_secs(1)).await;
        return;
    }
    metrics::counter!("parley_push_dead_total", "provider" => job.platform.as_str()).increment(1);
    let attempt = attempts;
    job.record(service, Step::Dead { reason, attempt }).await;
    settle(entry, AckKind::Ack).await;
}

/// Dead letters after a number, oldest first.
///
/// # Errors
/// NATS did not answer.
pub async fn list(bus: &Bus, after: u64, limit: usize) -> Result<Vec<DeadLetter>, LogError> {
    let mut listed = Vec::new();
    let mut from = after + 1;
    while listed.len() < limit {
        let query = Query {
            seq: Some(from),
            next_by_subj: Some(PUSH_DEAD_WILDCARD.to_owned()),
            batch: Some(PAGE.min(limit - listed.len())),
            ..Query::default()
        };
        let page = direct::batch(bus, PUSH_DEAD_STREAM, &query).await?;
        let Some(last) = page.records.last() else { break };
        from = last.position + 1;
        let letters = page
            .records
            .iter()
            .filter_map(|it| Some((it.position, read(&it.payload)?)));
        listed.extend(letters.map(|(number, letter)| shown(number, letter)));
        if page.pending == 0 {
            break;
        }
    }
    Ok(listed)
}

/// Queues a dead letter again, once: also where this is repeated.
///
/// # Errors
/// NATS did not answer: it is safe to repeat.
pub async fn replay(bus: &Bus, number: u64) -> Result<Replayed, LogError> {
    let Some(record) = direct::at(bus, PUSH_DEAD_STREAM, number).await? else {
        return Ok(Replayed::Missing);
    };
    let Some(letter) = read(&record.payload) else {
        return Ok(Replayed::Missing);
    };
    if Timestamp::now() >= letter.job.expires_at {
        return Ok(Replayed::Expired);
    }
    let fresh = Job {
        attempts: 0,
        not_before: None,
        ..letter.job.clone()
    };
    let payload = serde_json::to_vec(&fresh).unwrap_or_default();
    let id = format!("replay/{number}");
    let terms = Terms {
        message_id: Some(&id),
        ..Terms::default()
    };
    let queued = write(bus, letter.job.lane().subject(), payload.into(), terms).await?;
    let away = |error: &dyn std::fmt::Display| LogError::Away(error.to_string());
    let stream = bus.jetstream.get_stream_no_info(PUSH_DEAD_STREAM).await;
    let stream = stream.map_err(|error| away(&error))?;
    // Not there any more: somebody else was as quick.
    let deleted = stream.delete_message(number).await;
    if direct::at(bus, PUSH_DEAD_STREAM, number).await?.is_some() {
        return deleted.map(|_| Replayed::Queued).map_err(|error| away(&error));
    }
    if queued.duplicate {
        return Ok(Replayed::Missing);
    }
    Ok(Replayed::Queued)
}

fn read(payload: &[u8]) -> Option<Letter> {
    serde_json::from_slice(payload)
        .inspect_err(|error| tracing::warn!(error = %protocol::Quiet(error), "skipped an unreadable dead letter"))
        .ok()
}

fn shown(number: u64, letter: Letter) -> DeadLetter {
    let job = letter.job;
    DeadLetter {
        number,
        at: letter.at,
        reason: letter.reason,
        attempts: letter.attempts,
        provider: job.platform.as_str(),
        what: match &job.task {
            Task::Message(message) => message.server_id().to_string(),
            Task::Badge { .. } => "badge".to_owned(),
        },
        user_id: job.user_id,
        device_id: job.device_id,
        expires_at: job.expires_at,
    }
}
