//! The directory: which conversations a user is in. An index of the log that lives in NATS, so that connecting a
//! client reads no database.
//!
//! One entry for each user and conversation, with the `seq`s between which he was a member. Written by the message
//! service before it answers a change of members, and again, to the same end, by the projector; compared by `seq`, so
//! that the writers need not agree on an order.

use protocol::{ConversationId, UserId};
use serde::{Deserialize, Serialize};

use crate::direct::{self, Query};
use crate::log::{LogError, Record};
use crate::subjects::{self, MEMBERS_STREAM};
use crate::{Bus, Log, streams};

/// One user's membership of one conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// `seq` of the event that made him a member: the first that he gets live.
    pub since: u64,
    /// `seq` of the event that removed him: the last that he gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl Membership {
    /// The `seq` of the newest change that this entry knows of.
    pub fn known(&self) -> u64 {
        self.until.unwrap_or(self.since)
    }
}

/// What the directory holds of one user and conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The membership as it is, or was last.
    #[serde(flatten)]
    pub membership: Membership,
    /// Earlier ones, oldest first: first and last `seq` that he got. Only the last [`PAST_MOST`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<(u64, u64)>,
}

/// Memberships of one user and conversation that are remembered besides the last one.
pub const PAST_MOST: usize = 16;

impl Entry {
    /// The entry that follows this one.
    fn followed_by(&self, membership: &Membership) -> Self {
        let mut past = self.past.clone();
        if let Some(until) = self.membership.until
            && membership.since > until
        {
            past.push((self.membership.since, until));
            past.drain(..past.len().saturating_sub(PAST_MOST));
        }
        Self {
            membership: membership.clone(),
            past,
        }
    }
}

const ATTEMPTS: usize = 8;
const PAGE: usize = 500;

/// Stores a membership unless the directory knows a newer change.
///
/// # Errors
/// [`LogError::Away`]; storing it again is harmless.
pub async fn store(log: &Log, user: &UserId, membership: &Membership) -> Result<(), LogError> {
    let subject = subjects::membership(user, &membership.conversation_id);
    let mut payload = serde_json::to_vec(membership).unwrap_or_default();
    // Nearly every entry is the first on its subject: try that before reading.
    let mut expected = 0;
    for _ in 0..ATTEMPTS {
        match log.append(subject.clone(), None, expected, payload.clone()).await {
            Ok(_) => return Ok(()),
            Err(LogError::Conflict) => {}
            Err(error) => return Err(error),
        }
        let Some(record) = direct::last(log.bus(), MEMBERS_STREAM, &subject).await? else {
            expected = 0;
            continue;
        };
        if let Some(stored) = parse(&record) {
            if stored.membership.known() >= membership.known() {
                return Ok(());
            }
            payload = serde_json::to_vec(&stored.followed_by(membership)).unwrap_or_default();
        }
        expected = record.position;
    }
    Err(LogError::Away("the directory entry kept changing".into()))
}

/// Stores the end of a membership of which only `until` is known: its start is kept as it stands. Where the directory
/// knows no start, the membership counts as one of the removal alone, so that nobody is shown too much.
///
/// # Errors
/// [`LogError::Away`]; storing it again is harmless.
pub async fn end(log: &Log, user: &UserId, id: &ConversationId, until: u64) -> Result<(), LogError> {
    let known = find(log.bus(), user, id).await?;
    if known.as_ref().is_some_and(|it| it.known() >= until) {
        return Ok(());
    }
    let membership = Membership {
        conversation_id: id.clone(),
        // An entry that has ended already is of an earlier membership.
        since: known.filter(|it| it.until.is_none()).map_or(until, |it| it.since),
        until: Some(until),
    };
    store(log, user, &membership).await
}

/// One membership, if there ever was one.
///
/// # Errors
/// [`LogError::Away`].
pub async fn find(bus: &Bus, user: &UserId, id: &ConversationId) -> Result<Option<Membership>, LogError> {
    let record = direct::last(bus, MEMBERS_STREAM, &subjects::membership(user, id)).await?;
    Ok(record.as_ref().and_then(parse).map(|it| it.membership))
}

/// All memberships of a user, ended ones included. One request up to 1,000 conversations, then pages.
///
/// # Errors
/// [`LogError::Away`].
pub async fn list(bus: &Bus, user: &UserId) -> Result<Vec<Entry>, LogError> {
    let subject = subjects::memberships(user);
    let query = Query {
        multi_last: vec![subject.clone()],
        batch: Some(direct::SUBJECTS_MOST),
        ..Query::default()
    };
    match direct::batch(bus, MEMBERS_STREAM, &query).await {
        Ok(batch) if batch.pending == 0 => Ok(batch.records.iter().filter_map(parse).collect()),
        Ok(_) | Err(LogError::TooManySubjects) => list_in_pages(bus, subject).await,
        Err(error) => Err(error),
    }
}

async fn list_in_pages(bus: &Bus, subject: String) -> Result<Vec<Entry>, LogError> {
    let (mut all, mut from) = (Vec::new(), 1);
    loop {
        let query = Query {
            seq: Some(from),
            next_by_subj: Some(subject.clone()),
            batch: Some(PAGE),
            ..Query::default()
        };
        let batch = direct::batch(bus, MEMBERS_STREAM, &query).await?;
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
            tracing::warn!(%error, position = record.position, "skipped an unreadable membership");
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(since: u64, until: Option<u64>) -> Membership {
        Membership {
            conversation_id: ConversationId::parse("g00000000000000000000000000000000").unwrap(),
            since,
            until,
        }
    }

    #[test]
    fn who_comes_again_keeps_what_he_had_before() {
        let entry = Entry {
            membership: membership(1, None),
            past: Vec::new(),
        };
        let gone = entry.followed_by(&membership(1, Some(4)));
        let again = gone.followed_by(&membership(7, None));
        assert_eq!((gone.past.len(), &again.past[..]), (0, &[(1, 4)][..]));
        let text = serde_json::to_string(&again).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), again);
    }
}
