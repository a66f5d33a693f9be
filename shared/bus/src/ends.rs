//! Where streams ended a moment ago, by their leaders: one reading for all who ask within it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Bus;
use crate::streams::{StreamsError, state};

/// How old [`recent_end`] may be.
pub const RECENT: Duration = Duration::from_millis(100);

/// A stream's last sequence as of at most [`RECENT`] ago, by its leader: what a read must at least cover that is of no copy
/// which lags. However many ask, it is one reading, and one failure; 0 where there is no such stream.
///
/// # Errors
/// NATS did not answer.
pub async fn recent_end(bus: &Bus, stream: &str) -> Result<u64, StreamsError> {
    let arrived = Instant::now();
    let end = bus.ends.of(stream);
    let mut known = end.lock().await;
    if let Some(reading) = &*known {
        match &reading.last {
            Ok(last) if reading.begun >= arrived || reading.begun.elapsed() < RECENT => return Ok(*last),
            Err(reason) if reading.begun >= arrived => {
                return Err(StreamsError::Failed {
                    doing: "reading a stream's end",
                    reason: reason.clone(),
                });
            }
            _ => {}
        }
    }
    let begun = Instant::now();
    let read = state(bus, stream).await.map(|it| it.map_or(0, |it| it.last));
    *known = Some(Reading {
        begun,
        last: read.as_ref().copied().map_err(|error| error.to_string()),
    });
    read
}

/// What came of asking for an end.
#[derive(Debug)]
struct Reading {
    begun: Instant,
    last: Result<u64, String>,
}

/// Ends of streams as they were read last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends(Arc<Mutex<HashMap<String, Arc<End>>>>);

type End = tokio::sync::Mutex<Option<Reading>>;

impl Ends {
    fn of(&self, stream: &str) -> Arc<End> {
        let mut known = self.0.lock();
        match known.get(stream) {
            Some(end) => end.clone(),
            None => known.entry(stream.to_owned()).or_default().clone(),
        }
    }
}
