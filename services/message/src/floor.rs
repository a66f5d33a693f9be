//! The projection's floor: up to where in each lane everything is committed in MongoDB.
//!
//! Read from the durable consumer, so that it holds for all replicas together, whichever of them committed what.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Lane, Log, streams};
use serde::Deserialize;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::projector::CONSUMER;

/// Pause between two questions while somebody waits.
const PACE: Duration = Duration::from_millis(3);
/// Pause after a question that was not answered.
const PACE_AWAY: Duration = Duration::from_millis(50);

/// Waits for the projection. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Floor {
    bus: Bus,
    lanes: Arc<[LaneFloor]>,
    partitions: u16,
}

/// Why it cannot be said that something is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("MongoDB had not caught up with the log in time")]
pub(crate) struct NotYet;

#[derive(Debug)]
struct LaneFloor {
    known: watch::Sender<Known>,
    /// Held by the one waiter who asks for all.
    asking: Mutex<()>,
}

/// What an answer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// Everything up to this stream sequence is committed.
    floor: u64,
    /// Nothing at all was uncommitted when this question was asked.
    drained_at: Option<Instant>,
}

impl Known {
    fn covers(self, position: u64, since: Instant) -> bool {
        self.floor >= position || self.drained_at.is_some_and(|at| at >= since)
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    ack_floor: Option<Sequences>,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
}

#[derive(Debug, Deserialize)]
struct Sequences {
    stream_seq: u64,
}

impl Floor {
    pub(crate) fn new(log: &Log) -> Self {
        let lane = |_| LaneFloor {
            known: watch::Sender::new(Known {
                floor: 0,
                drained_at: None,
            }),
            asking: Mutex::new(()),
        };
        Self {
            bus: log.bus().clone(),
            lanes: log.lanes().map(lane).collect(),
            partitions: log.partitions(),
        }
    }

    /// Waits until everything in `lane` up to `position`, which is in the stream already, is committed.
    ///
    /// # Errors
    /// [`NotYet`] at the deadline.
    pub(crate) async fn wait_past(&self, lane: Lane, position: u64, deadline: Instant) -> Result<(), NotYet> {
        let since = Instant::now();
        let place = &self.lanes[lane.index(self.partitions)];
        let mut known = place.known.subscribe();
        if known.borrow().covers(position, since) {
            return Ok(());
        }
        tokio::select! {
            reached = known.wait_for(|it| it.covers(position, since)) => reached.map(drop).map_err(|_| NotYet),
            () = self.ask(lane, place) => Err(NotYet),
            () = tokio::time::sleep_until(deadline) => Err(NotYet),
        }
    }

    /// Forgets a lane's floor: its stream was made anew.
    pub(crate) fn reset(&self, lane: Lane) {
        self.lanes[lane.index(self.partitions)].known.send_replace(Known {
            floor: 0,
            drained_at: None,
        });
    }

    /// Keeps asking, one waiter at a time for all of them, until dropped.
    async fn ask(&self, lane: Lane, place: &LaneFloor) {
        let _turn = place.asking.lock().await;
        let subject = format!("CONSUMER.INFO.{}.{CONSUMER}", lane.stream());
        loop {
            let asked_at = Instant::now();
            let answer = self
                .bus
                .jetstream
                .request::<_, _, Answer>(subject.clone(), &serde_json::json!({}))
                .await;
            let Ok(Answer {
                ack_floor: Some(floor),
                num_pending,
                num_ack_pending,
            }) = answer
            else {
                // No consumer for the moment, or no NATS: the projector makes it.
                tokio::time::sleep(PACE_AWAY).await;
                continue;
            };
            let mut floor = floor.stream_seq;
            let mut drained = num_pending == 0 && num_ack_pending == 0;
            if drained && self.bus.is_clustered() {
                // The consumer's leader counts what its own copy of the stream holds, which may be behind the stream's leader:
                // that nothing is left proves nothing. What the floor never passes is only what is kept no more.
                drained = false;
                if let Ok(Some(state)) = streams::state(&self.bus, &lane.stream()).await {
                    floor = floor.max(state.first.saturating_sub(1));
                }
            }
            place.known.send_modify(|known| {
                known.floor = floor;
                known.drained_at = drained.then_some(asked_at).or(known.drained_at);
            });
            tokio::time::sleep(PACE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_covered_by_the_floor_or_by_a_later_look_at_an_empty_queue() {
        let now = Instant::now();
        let earlier = now.checked_sub(Duration::from_secs(1)).unwrap();
        assert!(
            Known {
                floor: 7,
                drained_at: None
            }
            .covers(7, now)
        );
        assert!(
            !Known {
                floor: 7,
                drained_at: None
            }
            .covers(8, now)
        );
        assert!(
            Known {
                floor: 7,
                drained_at: Some(now)
            }
            .covers(8, earlier)
        );
        assert!(
            !Known {
                floor: 7,
                drained_at: Some(earlier)
            }
            .covers(8, now)
        );
    }
}
