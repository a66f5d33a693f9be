//! How far the durable consumers of the log are behind, asked of NATS now and then and shown as a metric.
//!
//! Every replica asks and shows the same; a question for each consumer every few seconds is nothing to the server.

use std::time::Duration;

use serde::Deserialize;

use crate::direct::{self, Query};
use crate::subjects::Lane;
use crate::{Bus, LogError, Record};

/// Between two looks.
const PACE: Duration = Duration::from_secs(5);

/// Where a durable consumer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Entries that are not acked: not delivered yet, or in hand.
    pub messages: u64,
    /// Everything up to this stream sequence is acked.
    pub floor: u64,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    ack_floor: Floor,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
}

#[derive(Debug, Default, Deserialize)]
struct Floor {
    #[serde(default)]
    stream_seq: u64,
}

/// Asks where a consumer stands. `None`: it is not there, or nobody answers.
pub async fn of(bus: &Bus, lane: Lane, consumer: &str) -> Option<Lag> {
    let subject = format!("CONSUMER.INFO.{}.{consumer}", lane.stream());
    let nothing = serde_json::json!({});
    let answer = bus.jetstream.request::<_, _, Answer>(subject, &nothing).await.ok()?;
    Some(Lag {
        messages: answer.num_pending + answer.num_ack_pending,
        floor: answer.ack_floor.stream_seq,
    })
}

/// Shows the lag of one consumer in some lanes, for ever; `each` is told too, to look further. The caller ends it by
/// dropping the future.
pub async fn watch<F, Fut>(bus: Bus, lanes: Vec<Lane>, consumer: &'static str, each: F)
where
    F: Fn(Lane, Lag) -> Fut,
    Fut: Future<Output = ()>,
{
    loop {
        for lane in &lanes {
            if let Some(lag) = of(&bus, *lane, consumer).await {
                metrics::gauge!("parley_consumer_lag_messages", "consumer" => consumer, "stream" => lane.stream())
                    .set(lag.messages as f64);
                each(*lane, lag).await;
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

/// The oldest entry of a lane that a consumer has not acked, as any copy of the stream tells.
///
/// # Errors
/// [`LogError::Away`].
pub async fn oldest(bus: &Bus, lane: Lane, lag: Lag) -> Result<Option<Record>, LogError> {
    let query = Query {
        seq: Some(lag.floor + 1),
        next_by_subj: Some(lane.wildcard()),
        batch: Some(1),
        ..Query::default()
    };
    let found = direct::batch(bus, &lane.stream(), &query).await?;
    Ok(found.records.into_iter().next())
}
