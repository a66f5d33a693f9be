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
/// which lags. However many ask, it is one reading; 0 where there is no such stream.
///
/// # Errors
/// NATS did not answer.
pub async fn recent_end(bus: &Bus, stream: &str) -> Result<u64, StreamsError> {
    let end = bus.ends.of(stream);
    let mut end = end.lock().await;
    if let Some((at, last)) = *end
        && at.elapsed() < RECENT
    {
        return Ok(last);
    }
    let asked = Instant::now();
    let last = state(bus, stream).await?.map_or(0, |it| it.last);
    *end = Some((asked, last));
    Ok(last)
}

/// Ends of streams as they were read last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends(Arc<Mutex<HashMap<String, Arc<End>>>>);

type End = tokio::sync::Mutex<Option<(Instant, u64)>>;

impl Ends {
    fn of(&self, stream: &str) -> Arc<End> {
        let mut known = self.0.lock();
        match known.get(stream) {
            Some(end) => end.clone(),
            None => known.entry(stream.to_owned()).or_default().clone(),
        }
    }
}
