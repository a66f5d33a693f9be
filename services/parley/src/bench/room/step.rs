//! One load on one group: the same messages without receipts (phase 1) or with them (phase 2).

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use bus::{Bus, Lane, Log};
use config::Config;
use serde::Serialize;
use tokio::time::sleep_until;

use super::Bench;
use crate::bench::crew::{Crew, Phase};
use crate::bench::schedule::Schedule;
use crate::bench::tally::Percentiles;
use crate::bench::traffic::{LEAD, PATIENCE, STORING};
use crate::bench::usage::{CpuSpan, Snapshot};
use crate::data_dir::DataDir;

/// Receipts of large groups are written at most every 500 ms: after more than that without one, none will come.
const QUIET: Duration = Duration::from_millis(1_500);

/// What one load came to. All but the CPU counts the measured seconds only; the CPU is measured until all is quiet.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Step {
    pub(super) acked: u64,
    pub(super) acked_per_second: f64,
    pub(super) delivered_per_second: f64,
    pub(super) ack_ms: Percentiles,
    pub(super) deliver_ms: Percentiles,
    pub(super) generator_late_ms: Percentiles,
    /// Receipts that the members sent.
    pub(super) confirmed: u64,
    /// Receipts that were written to the log.
    pub(super) written: u64,
    /// Receipts that members were told of.
    pub(super) told: u64,
    /// Whether everything sent was acked, and delivered to all who are online.
    pub(super) is_whole: bool,
    pub(super) refused: u64,
    /// Over which receipts are counted.
    pub(super) seconds: f64,
    pub(super) cpu: CpuSpan,
}

impl Bench<'_> {
    pub(super) async fn step(&self, crew: &Crew, base: u64, number: u8) -> anyhow::Result<Step> {
        let (options, data) = (self.options, &self.target.data);
        let (warm_up, measured) = (
            Duration::from_secs(options.warm_up),
            Duration::from_secs(options.seconds),
        );
        let schedule = Schedule {
            rate: options.rate,
            warm_up,
            measured,
            workers: crew.workers(),
            worker: 0,
        };
        let start = Instant::now() + LEAD;
        let phase = Phase {
            number,
            start,
            schedule,
            patience: PATIENCE,
            confirms: number > 1,
            quiet: QUIET,
        };
        let snapshot = async {
            sleep_until((start + warm_up).into()).await;
            (Snapshot::take(data), Instant::now(), written(self.receipts).await)
        };
        let (tally, (before, since, written_before)) = tokio::join!(crew.run(phase), snapshot);
        let tally = tally?;
        let acked = crew.acked.load(Ordering::Relaxed);
        self.store.wait(base + acked, STORING).await?;
        let cpu = Snapshot::take(data).since(&before, since.elapsed().as_secs_f64());
        let per_second = |count: u64, last: Instant| {
            let until = last.max(start + schedule.length());
            count as f64 / (until - (start + warm_up)).as_secs_f64()
        };
        let until = tally.last_receipt.max(start + schedule.length());
        Ok(Step {
            acked: tally.acked_measured,
            acked_per_second: per_second(tally.acked_measured, tally.last_ack),
            delivered_per_second: per_second(tally.delivered_measured, tally.last_delivery),
            ack_ms: tally.ack.percentiles(),
            deliver_ms: tally.deliver.percentiles(),
            generator_late_ms: tally.late.percentiles(),
            confirmed: tally.confirmed_measured,
            written: written(self.receipts).await?.saturating_sub(written_before?),
            told: tally.told_measured,
            is_whole: tally.acked == tally.sent && tally.delivered == tally.expected,
            refused: tally.refusals(),
            seconds: (until - (start + warm_up)).as_secs_f64(),
            cpu,
        })
    }
}

/// The log of the deployment in that folder.
///
/// # Errors
/// NATS cannot be reached.
pub(super) async fn receipts_log(data: &DataDir) -> anyhow::Result<Log> {
    let mut config = Config::load(None, |_| {})?;
    if let Some(port) = data.port("nats") {
        config.nats.url = format!("nats://127.0.0.1:{port}");
    }
    let bus = Bus::connect(&config.nats, "parley-bench").await?;
    Ok(Log::new(bus, config.stream.partitions))
}

/// How many receipts were ever written.
async fn written(log: &Log) -> anyhow::Result<u64> {
    let state = log.state(Lane::Receipts).await?;
    Ok(state.context("the deployment has no log of receipts")?.last)
}
