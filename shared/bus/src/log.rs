//! The log: appending by compare-and-set, and reading what was appended.

use bytes::Bytes;
use protocol::ConversationId;

use crate::Bus;
use crate::direct::{self, Query, Reach};
use crate::leader;
use crate::streams::{self, StreamState, StreamsError};
use crate::subjects::{self, Lane};
use crate::write::{Terms, write};

/// The log of a deployment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    bus: Bus,
    partitions: u16,
}

/// A stored entry.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its stream sequence.
    pub position: u64,
    /// Its subject.
    pub subject: String,
    /// Its bytes: an envelope.
    pub payload: Bytes,
}

/// Where an append ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Stream sequence of the entry; of the original, where this is a duplicate.
    pub position: u64,
    /// The message id was known to the stream: nothing was written.
    pub duplicate: bool,
}

/// Why the log did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Somebody else appended to this subject first: read its end and decide again.
    #[error("the subject has moved on")]
    Conflict,
    /// No answer: the outcome of an append is unknown, and only a repetition under the same id tells.
    #[error("the log did not answer: {0}")]
    Away(String),
    /// The server said no, for instance for want of disk space. Nothing was written.
    #[error("the log refused: {0}")]
    Refused(String),
    /// What was asked for has aged out of the log.
    #[error("the log no longer goes back that far")]
    Expired,
    /// The query matches more subjects than a server answers for at once.
    #[error("too many subjects for one query")]
    TooManySubjects,
}

impl From<StreamsError> for LogError {
    fn from(error: StreamsError) -> Self {
        Self::Away(error.to_string())
    }
}

impl Log {
    /// The log over a connection. The streams exist: see [`streams::ensure`].
    pub fn new(bus: Bus, partitions: u16) -> Self {
        Self { bus, partitions }
    }

    /// The connection.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Number of partitions.
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// All lanes in cursor order.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> + use<> {
        Lane::all(self.partitions)
    }

    /// Lane and subject of a conversation's entries.
    pub fn place(&self, id: &ConversationId) -> (Lane, String) {
        subjects::log(id, self.partitions)
    }

    /// Appends an entry if the last entry on `subject` is the one at `expected` (0: there is none), or answers with the
    /// original if the stream has seen `message_id` within its duplicate window.
    ///
    /// The server compares before it looks at the id (seen on 2.15.1), so that a repetition with a stale expectation
    /// is a [`LogError::Conflict`], and with the right one a duplicate.
    ///
    /// # Errors
    /// [`LogError`]; after [`LogError::Away`] the entry may have been written or may yet be.
    pub async fn append(
        &self,
        subject: String,
        message_id: Option<&str>,
        expected: u64,
        payload: Vec<u8>,
    ) -> Result<Appended, LogError> {
        let terms = Terms {
            expected: Some(expected),
            message_id,
            ..Terms::default()
        };
        write(&self.bus, subject, payload.into(), terms).await
    }

    /// The last entry of a subject; an older one where the copy of the stream that answers is behind.
    ///
    /// # Errors
    /// [`LogError::Away`].
    pub async fn last(&self, lane: Lane, subject: &str) -> Result<Option<Record>, LogError> {
        direct::last(&self.bus, &lane.stream(), subject).await
    }

    /// The last entry of a subject, by the leader's word: not older than anything acknowledged before.
    ///
    /// # Errors
    /// [`LogError::Away`].
    pub async fn newest(&self, lane: Lane, subject: &str) -> Result<Option<Record>, LogError> {
        leader::last(&self.bus, &lane.stream(), subject).await
    }

    /// The entry at a position.
    ///
    /// # Errors
    /// [`LogError::Away`].
    pub async fn at(&self, lane: Lane, position: u64) -> Result<Option<Record>, LogError> {
        direct::at(&self.bus, &lane.stream(), position).await
    }

    /// The entries on `subject` (wildcards allowed) from `position` on, oldest first, at most `limit` of them and about
    /// `bytes` bytes; and how many more there are. Where there are no more, these are all up to `reach`.
    ///
    /// # Errors
    /// [`LogError::Away`].
    pub async fn from(
        &self,
        lane: Lane,
        subject: &str,
        (position, reach): (u64, Reach),
        limit: usize,
        bytes: usize,
    ) -> Result<direct::Batch, LogError> {
        let query = Query {
            seq: Some(position.max(1)),
            next_by_subj: Some(subject.to_owned()),
            batch: Some(limit.max(1)),
            max_bytes: Some(bytes),
            ..Query::default()
        };
        direct::entries(&self.bus, &lane.stream(), &query, reach).await
    }

    /// The last entry of each of at most [`direct::SUBJECTS_MOST`] subjects (wildcards allowed), as of `least` or later.
    ///
    /// # Errors
    /// [`LogError::Away`], [`LogError::TooManySubjects`].
    pub async fn lasts(&self, lane: Lane, subjects: &[String], least: u64) -> Result<Vec<Record>, LogError> {
        direct::lasts(&self.bus, &lane.stream(), subjects, least).await
    }

    /// The first entry of a lane stored at or after a time (RFC 3339); none where the copy that answers is behind.
    ///
    /// # Errors
    /// [`LogError::Away`].
    pub async fn first_since(&self, lane: Lane, time: String) -> Result<Option<Record>, LogError> {
        let query = Query {
            start_time: Some(time),
            next_by_subj: Some(lane.wildcard()),
            batch: Some(1),
            ..Query::default()
        };
        let found = direct::batch(&self.bus, &lane.stream(), &query).await?;
        Ok(found.records.into_iter().next())
    }

    /// Where a lane's stream stands; `None` where it was deleted.
    ///
    /// # Errors
    /// [`LogError::Away`].
    pub async fn state(&self, lane: Lane) -> Result<Option<StreamState>, LogError> {
        Ok(streams::state(&self.bus, &lane.stream()).await?)
    }
}
