//! The baseline of the same run: the same bytes published straight to a file stream of the same NATS server, as fast as
//! it acks with a bounded number in flight.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Context;
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use serde::Serialize;

use crate::data_dir::DataDir;

/// Publishes in flight.
const WINDOW: usize = 1_000;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
const STREAM: &str = "BENCH_BASELINE";

/// What raw publishing reached.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Baseline {
    /// Publishes acked a second.
    pub(super) acked_per_second: f64,
    /// Size of each: of the last entry of the deployment's own log.
    pub(super) payload_bytes: usize,
    pub(super) window: usize,
}

/// Publishes for some seconds to a stream of its own, which is deleted afterwards.
///
/// # Errors
/// NATS cannot be reached or refuses.
pub(super) async fn measure(data: &DataDir) -> anyhow::Result<Baseline> {
    let mut config = config::Config::load(None, |_| {})?.nats;
    if let Some(port) = data.port("nats") {
        config.url = format!("nats://127.0.0.1:{port}");
    }
    let jetstream = bus::Bus::connect(&config, "parley-bench").await?.jetstream;
    let payload = payload(&jetstream).await?;
    let settings = stream::Config {
        name: STREAM.into(),
        subjects: vec!["bench.baseline.*".into()],
        storage: stream::StorageType::File,
        ..Default::default()
    };
    // One that a killed run left would be a longer one.
    let _ = jetstream.delete_stream(STREAM).await;
    jetstream
        .create_stream(settings)
        .await
        .context("cannot create the baseline's stream")?;
    let acked_per_second = publish(&jetstream, &payload).await;
    jetstream
        .delete_stream(STREAM)
        .await
        .context("cannot delete the baseline's stream")?;
    Ok(Baseline {
        acked_per_second: acked_per_second?,
        payload_bytes: payload.len(),
        window: WINDOW,
    })
}

/// The bytes that a message is in the log.
async fn payload(jetstream: &jetstream::Context) -> anyhow::Result<Bytes> {
    let stream = jetstream
        .get_stream(bus::Lane::Chat(0).stream())
        .await
        .context("there is no log")?;
    let last = stream.cached_info().state.last_sequence;
    let entry = stream.get_raw_message(last).await.context("the log is empty")?;
    Ok(entry.payload)
}

async fn publish(jetstream: &jetstream::Context, payload: &Bytes) -> anyhow::Result<f64> {
    let subjects: Vec<_> = (0..256).map(|number| format!("bench.baseline.{number}")).collect();
    let start = Instant::now() + WARM_UP;
    let (mut waiting, mut acked) = (VecDeque::with_capacity(WINDOW), 0_u64);
    for subject in subjects.iter().cycle() {
        if waiting.len() == WINDOW {
            let ack: jetstream::context::PublishAckFuture = waiting.pop_front().context("no publish")?;
            ack.await?;
            acked += u64::from(Instant::now() >= start);
        }
        if start.elapsed() >= MEASURED {
            break;
        }
        waiting.push_back(jetstream.publish(subject.clone(), payload.clone()).await?);
    }
    let rate = acked as f64 / start.elapsed().as_secs_f64();
    for ack in waiting {
        ack.await?;
    }
    Ok(rate)
}
