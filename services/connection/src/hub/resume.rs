//! Where a reader may go on: cursors and times from outside, held against the log.

use std::time::Duration;

use bus::streams::StreamState;
use bus::{Lane, LogError};
use protocol::server_frame::ResyncReason;
use protocol::{Cursor, Timestamp, envelope};

use super::Hub;

/// What becomes of a cursor or a time.
#[derive(Debug, PartialEq, Eq)]
pub enum Resume {
    /// Go on after these positions.
    From(Vec<u64>),
    /// The log does not hold what came after it.
    Refused(ResyncReason),
}

/// A server's clock may be ahead of the one that stamped an entry by this much without an event being missed.
const CLOCK_SLACK_MS: i64 = 2_000;
/// Waits before looking again at what seems not to be there.
const SECOND_LOOKS_MS: [u64; 5] = [20, 50, 100, 200, 400];

impl Hub {
    /// Holds a cursor against the log. Cheap for a recent cursor: the stream is asked only where memory ends.
    ///
    /// # Errors
    /// NATS did not answer.
    pub async fn resume(&self, text: &str) -> Result<Resume, LogError> {
        let Some(cursor) = Cursor::decode(text).filter(|it| it.positions.len() == self.lanes.len()) else {
            return Ok(Resume::Refused(ResyncReason::BadCursor));
        };
        if cursor.log != self.identity() {
            return Ok(Resume::Refused(ResyncReason::OtherLog));
        }
        for (lane, &position) in self.lanes.iter().zip(&cursor.positions) {
            let in_memory = position >= lane.window.lock().start() && position <= lane.known();
            if in_memory {
                continue;
            }
            let state = self.state_past(lane.lane, position).await?;
            let Some(state) = state.filter(|it| it.identity == lane.identity()) else {
                return Ok(Resume::Refused(ResyncReason::OtherLog));
            };
            if position > state.last {
                return Ok(Resume::Refused(ResyncReason::BadCursor));
            }
            // Receipts keep one entry a subject: that older ones are gone loses nothing.
            if position + 1 < state.first && lane.lane != Lane::Receipts {
                return Ok(Resume::Refused(ResyncReason::Expired));
            }
        }
        Ok(Resume::From(cursor.positions))
    }

    /// Where a lane's stream stands; in a cluster, if it seems to end before `position`, only after a second look or two: a
    /// server that has just come to lead may not have told all yet.
    async fn state_past(&self, lane: Lane, position: u64) -> Result<Option<StreamState>, LogError> {
        let mut pauses = SECOND_LOOKS_MS.into_iter().filter(|_| self.log.bus().is_clustered());
        loop {
            let state = self.log.state(lane).await?;
            let Some(pause_ms) = pauses.next().filter(|_| state.is_some_and(|it| it.last < position)) else {
                return Ok(state);
            };
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    /// The positions before everything stamped at or after `time`. Entries a little older may follow them too: filter
    /// by the event's own timestamp.
    ///
    /// # Errors
    /// NATS did not answer.
    pub async fn since_time(&self, time: Timestamp) -> Result<Resume, LogError> {
        let mut positions = Vec::with_capacity(self.lanes.len());
        for lane in &self.lanes {
            let Some(state) = self.log.state(lane.lane).await? else {
                return Ok(Resume::Refused(ResyncReason::OtherLog));
            };
            if lane.lane != Lane::Receipts && self.has_lost_since(lane.lane, &state, time).await? {
                return Ok(Resume::Refused(ResyncReason::Expired));
            }
            positions.push(self.before_since(lane.lane, &state, time).await?);
        }
        Ok(Resume::From(positions))
    }

    /// The position before the first entry stored since a little before `time`. That there is none is believed only where
    /// nothing was written since then: a copy of the stream that is behind says it, too.
    async fn before_since(&self, lane: Lane, state: &StreamState, time: Timestamp) -> Result<u64, LogError> {
        let from = Timestamp::from_millis(time.as_millis() - CLOCK_SLACK_MS);
        for pause_ms in SECOND_LOOKS_MS {
            if let Some(first) = self.log.first_since(lane, from.to_string()).await? {
                return Ok(first.position - 1);
            }
            if state.last_at_ms < from.as_millis() {
                return Ok(state.last);
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        if state.last_at_ms < time.as_millis() {
            return Ok(state.last);
        }
        Err(LogError::Away(
            "the copy of the log that answers reads is behind".into(),
        ))
    }

    /// Whether entries from after `time` may be gone: the log forgets by age, so only what is older than that can be.
    async fn has_lost_since(&self, lane: Lane, state: &StreamState, time: Timestamp) -> Result<bool, LogError> {
        if state.first <= 1 {
            return Ok(false);
        }
        let Some(record) = self.log.at(lane, state.first).await? else {
            return Ok(time.as_millis() <= state.last_at_ms);
        };
        let kept_from = Timestamp::now().as_millis() - i64::try_from(self.max_age.as_millis()).unwrap_or(i64::MAX);
        let first_is_later = envelope::decode(&record.payload).is_ok_and(|(_, head)| time < head.timestamp);
        Ok(first_is_later && time.as_millis() < kept_from)
    }
}
