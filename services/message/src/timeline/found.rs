//! The message itself: its entry in the log, its document in MongoDB, or both.

use std::time::Duration;

use bus::direct::{self, Query};
use bus::{Lane, LogError, Record};
use protocol::timeline::{Missing, Step, StepKind, Timeline};
use protocol::{Refusal, ServerId, Timestamp, UserId, trace};
use tokio::time::timeout;

use super::{missing, no_message, step};
use crate::event::{MESSAGE, Seen, open};
use crate::service::Service;
use crate::store::StoreError;

/// For finding the entry: some dozen reads.
const LOG: Duration = Duration::from_secs(4);
const STORE: Duration = Duration::from_secs(2);

/// A message that is there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) sender_id: UserId,
    accepted_at: Timestamp,
    pub(super) logged: Option<Logged>,
    projection: Projection,
}

/// Its entry.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) lane: Lane,
    pub(super) position: u64,
    /// By NATS' clock.
    at: Option<Timestamp>,
    traceparent: Option<String>,
}

/// Its document.
#[derive(Debug)]
enum Projection {
    /// Written then; by an older version it is not known when.
    Done(Option<Timestamp>),
    NotYet,
    Unknown,
}

/// An entry with what is read of its envelope.
struct Entry {
    record: Record,
    sender_id: UserId,
    accepted_at: Timestamp,
    traceparent: Option<String>,
}

/// A document of a message, without its text.
struct Stored {
    sender_id: UserId,
    accepted_at: Timestamp,
    at: Option<Timestamp>,
}

/// What is under an id.
enum Under<T> {
    Nothing,
    /// Something that is no message.
    Another,
    Message(T),
}

impl Service {
    pub(super) async fn find_message(&self, id: &ServerId) -> Result<Found, Refusal> {
        let (entry, stored) = tokio::join!(timeout(LOG, self.entry_of(id)), timeout(STORE, self.document_of(id)));
        let entry = entry.unwrap_or_else(|_| Err(LogError::Away("no answer in time".into())));
        let entry = entry.map_err(|error| {
            tracing::debug!(%error, "no timeline");
            Refusal::unavailable("the log cannot be read now: NATS is away")
        })?;
        let stored = stored.unwrap_or_else(|_| Err(StoreError::Away("no answer in time".into())));
        match (entry, stored) {
            (Under::Another, _) | (_, Ok(Under::Another)) | (Under::Nothing, Ok(Under::Nothing)) => Err(no_message()),
            (Under::Nothing, Err(_)) => Err(Refusal::unavailable(
                "the log does not hold it, and whether MongoDB does cannot be said now: it is away",
            )),
            (Under::Nothing, Ok(Under::Message(stored))) => Ok(Found {
                sender_id: stored.sender_id,
                accepted_at: stored.accepted_at,
                logged: None,
                projection: Projection::Done(stored.at),
            }),
            (Under::Message(entry), stored) => Ok(self.logged(id, entry, stored).await),
        }
    }

    async fn logged(&self, id: &ServerId, entry: Entry, stored: Result<Under<Stored>, StoreError>) -> Found {
        let (lane, subject) = self.log.place(&id.conversation_id);
        let position = entry.record.position;
        let query = Query {
            seq: Some(position),
            next_by_subj: Some(subject),
            batch: Some(1),
            ..Query::default()
        };
        let stream = lane.stream();
        let timed = direct::timed(self.log.bus(), &stream, &query).await;
        let timed = timed.ok().and_then(|it| it.into_iter().next());
        Found {
            sender_id: entry.sender_id,
            accepted_at: entry.accepted_at,
            logged: Some(Logged {
                lane,
                position,
                at: timed.filter(|it| it.0.position == position).map(|it| it.1),
                traceparent: entry.traceparent,
            }),
            projection: match stored {
                Ok(Under::Message(stored)) => Projection::Done(stored.at),
                Ok(_) => Projection::NotYet,
                Err(_) => Projection::Unknown,
            },
        }
    }

    async fn entry_of(&self, id: &ServerId) -> Result<Under<Entry>, LogError> {
        let conversation = self.conversations.open(&id.conversation_id);
        let Some(record) = self.first_from(&conversation, id.seq).await? else {
            return Ok(Under::Nothing);
        };
        if !Seen::of(&record).is_ok_and(|seen| seen.seq == id.seq) {
            return Ok(Under::Nothing);
        }
        let read = open(&record.payload).ok().and_then(|(envelope, head)| {
            let traceparent = envelope.traceparent.map(std::borrow::Cow::into_owned);
            let sender_id = head.sender_id.filter(|_| head.event_type == MESSAGE)?;
            Some((sender_id, head.timestamp, traceparent))
        });
        Ok(match read {
            None => Under::Another,
            Some((sender_id, accepted_at, traceparent)) => Under::Message(Entry {
                record,
                sender_id,
                accepted_at,
                traceparent,
            }),
        })
    }

    async fn document_of(&self, id: &ServerId) -> Result<Under<Stored>, StoreError> {
        let key = [(id.conversation_id.clone(), id.seq)];
        let found = self.store.events(&key).await?.into_iter().next();
        Ok(match found {
            None => Under::Nothing,
            Some(document) => match document.into_brief() {
                None => Under::Another,
                Some((sender_id, accepted_at, at)) => Under::Message(Stored {
                    sender_id,
                    accepted_at,
                    at,
                }),
            },
        })
    }
}

impl Found {
    /// What is known so far: acceptance, log and projection.
    pub(super) fn into_timeline(self, server_id: ServerId) -> Timeline {
        let mut steps = vec![Step {
            user_id: Some(self.sender_id.clone()),
            ..step(StepKind::Accepted, Some(self.accepted_at))
        }];
        let mut gaps: Vec<Missing> = Vec::new();
        let traceparent = self.logged.as_ref().and_then(|it| it.traceparent.clone());
        match &self.logged {
            Some(logged) => steps.push(Step {
                detail: Some(format!("{} position {}", logged.lane.stream(), logged.position)),
                ..step(StepKind::Logged, logged.at)
            }),
            None => gaps.push(missing(
                "log",
                "its entry has aged out: nobody knows any more where it stood, its trace and to which sockets it went",
            )),
        }
        match self.projection {
            Projection::Done(at) => steps.push(step(StepKind::Projected, at)),
            Projection::NotYet => steps.push(step(StepKind::Unprojected, None)),
            Projection::Unknown => gaps.push(missing("projection", "MongoDB is away")),
        }
        Timeline {
            server_id,
            sender_id: self.sender_id,
            trace_id: traceparent.as_deref().and_then(trace::trace_id).map(str::to_owned),
            sampled: traceparent.as_deref().and_then(trace::is_sampled),
            steps,
            users: Vec::new(),
            others: None,
            missing: gaps,
        }
    }
}
