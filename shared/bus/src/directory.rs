//! The directory: which conversations a user is in. An index of the log that lives in NATS, so that connecting a
//! client reads no database.
//!
//! One entry for each user and conversation, with the `seq`s between which he was a member. Written by the message
//! service before it answers a change of members, and again, to the same end, by the projector; merged by `seq`, so that
//! the writers need not agree on an order.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt};
use protocol::{ConversationId, UserId};

use crate::direct::{self, Query, Reach};
use crate::log::{LogError, Record};
pub use crate::membership::{Entry, Membership, PAST_MOST};
use crate::subjects::{self, MEMBERS_STREAM};
use crate::{Bus, Log, leader, streams};

const ATTEMPTS: usize = 8;
const PAGE: usize = 500;
const WRITES_AT_ONCE: usize = 64;

/// Tells the directory of a membership, where it does not know of it.
///
/// # Errors
/// [`LogError::Away`]; telling it again is harmless.
pub async fn store(log: &Log, user: &UserId, told: &Membership) -> Result<(), LogError> {
    // Nearly every entry is the first on its subject: try that before reading.
    store_after(log, user, told, None).await
}

/// Tells the directory of memberships of which it is likely to know: a thousand are read with one request, and only
/// what is missing is written.
///
/// # Errors
/// [`LogError::Away`]; telling it again is harmless.
pub async fn store_missing(log: &Log, told: &[(UserId, Membership)]) -> Result<(), LogError> {
    for chunk in told.chunks(direct::SUBJECTS_MOST) {
        let subject = |(user, it): &(UserId, Membership)| subjects::membership(user, &it.conversation_id);
        let query = Query {
            multi_last: chunk.iter().map(subject).collect(),
            batch: Some(direct::SUBJECTS_MOST),
            ..Query::default()
        };
        let records = direct::batch(log.bus(), MEMBERS_STREAM, &query).await?.records;
        let known: HashMap<&str, &Record> = records.iter().map(|it| (it.subject.as_str(), it)).collect();
        let missing = chunk.iter().filter_map(|it| {
            let record = known.get(&*subject(it)).copied();
            let stored = record
                .and_then(parse)
                .is_some_and(|stored| stored.with(&it.1) == stored);
            (!stored).then(|| (it.clone(), record.cloned()))
        });
        let missing: Vec<((UserId, Membership), Option<Record>)> = missing.collect();
        futures_util::stream::iter(missing)
            .map(|((user, told), record)| {
                let log = log.clone();
                async move { store_after(&log, &user, &told, record).await }
            })
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect::<()>()
            .await?;
    }
    Ok(())
}

/// Stores what is told, on top of what was read as the last entry.
async fn store_after(log: &Log, user: &UserId, told: &Membership, mut last: Option<Record>) -> Result<(), LogError> {
    let subject = subjects::membership(user, &told.conversation_id);
    for _ in 0..ATTEMPTS {
        let stored = last.as_ref().and_then(parse);
        let next = stored.as_ref().map_or_else(|| Entry::of(told), |it| it.with(told));
        if stored.is_some_and(|it| it == next) {
            return Ok(());
        }
        let payload = serde_json::to_vec(&next).unwrap_or_default();
        let expected = last.as_ref().map_or(0, |it| it.position);
        match log.append(subject.clone(), None, expected, payload).await {
            Ok(_) => return Ok(()),
            Err(LogError::Conflict) => last = leader::last(log.bus(), MEMBERS_STREAM, &subject).await?,
            Err(error) => return Err(error),
        }
    }
    Err(LogError::Away("the directory entry kept changing".into()))
}

/// One membership, if there ever was one, by the leader's word.
///
/// # Errors
/// [`LogError::Away`].
pub async fn find(bus: &Bus, user: &UserId, id: &ConversationId) -> Result<Option<Membership>, LogError> {
    let record = leader::last(bus, MEMBERS_STREAM, &subjects::membership(user, id)).await?;
    Ok(record.as_ref().and_then(parse).map(|it| it.membership))
}

/// All memberships of a user, ended ones included, as of [`streams::RECENT`] ago or later. One request up to 1,000
/// conversations, then pages.
///
/// # Errors
/// [`LogError::Away`].
pub async fn list(bus: &Bus, user: &UserId) -> Result<Vec<Entry>, LogError> {
    let subject = subjects::memberships(user);
    let least = streams::recent_end(bus, MEMBERS_STREAM).await?;
    match direct::lasts(bus, MEMBERS_STREAM, std::slice::from_ref(&subject), least).await {
        Ok(records) => Ok(records.iter().filter_map(parse).collect()),
        Err(LogError::TooManySubjects) => list_in_pages(bus, subject, least).await,
        Err(error) => Err(error),
    }
}

async fn list_in_pages(bus: &Bus, subject: String, end: u64) -> Result<Vec<Entry>, LogError> {
    let (mut all, mut from) = (Vec::new(), 1);
    loop {
        let query = Query {
            seq: Some(from),
            next_by_subj: Some(subject.clone()),
            batch: Some(PAGE),
            ..Query::default()
        };
        let batch = direct::entries(bus, MEMBERS_STREAM, &query, Reach::Position(end)).await?;
        let Some(last) = batch.records.last() else {
            return Ok(all);
        };
        from = last.position + 1;
        all.extend(batch.records.iter().filter_map(parse));
        if batch.pending == 0 {
            return Ok(all);
        }
    }
}

/// Whether the directory may lack memberships: its stream is not the one that was last known to be complete. `Some` is
/// the identity of the stream as it is, for [`mark_complete`].
///
/// # Errors
/// [`LogError::Away`].
pub async fn incomplete(bus: &Bus) -> Result<Option<u64>, LogError> {
    let Some(state) = streams::state(bus, MEMBERS_STREAM).await? else {
        return Err(LogError::Away("the directory's stream does not exist".into()));
    };
    let complete = settings(bus)
        .await?
        .get(COMPLETE)
        .await
        .map_err(|error| LogError::Away(error.to_string()))?;
    let complete = complete.is_some_and(|bytes| *bytes == *state.identity.to_string().as_bytes());
    Ok((!complete).then_some(state.identity))
}

/// Notes that the directory's stream with this identity holds all memberships of the past; those to come are written as
/// they happen.
///
/// # Errors
/// [`LogError::Away`].
pub async fn mark_complete(bus: &Bus, identity: u64) -> Result<(), LogError> {
    let written = settings(bus).await?.put(COMPLETE, identity.to_string().into()).await;
    written.map(drop).map_err(|error| LogError::Away(error.to_string()))
}

/// Key of the settings bucket that holds the identity of a complete directory.
const COMPLETE: &str = "directory";

async fn settings(bus: &Bus) -> Result<async_nats::jetstream::kv::Store, LogError> {
    let bucket = bus.jetstream.get_key_value(subjects::SETTINGS_BUCKET).await;
    bucket.map_err(|error| LogError::Away(error.to_string()))
}

fn parse(record: &Record) -> Option<Entry> {
    serde_json::from_slice(&record.payload)
        .inspect_err(|error| {
            metrics::counter!("parley_unreadable_total", "what" => "membership").increment(1);
            tracing::warn!(error = %protocol::Quiet(error), position = record.position, "skipped an unreadable membership");
        })
        .ok()
}
