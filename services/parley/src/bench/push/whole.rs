//! The whole way: a message is sent, acked, planned for each device, queued and pushed, as fast as it goes with a bounded
//! number of pushes outstanding.

use std::time::{Duration, Instant};

use anyhow::Context;
use bus::Bus;
use bus::subjects::PUSH_JOBS_STREAM;
use serde::Serialize;
use tokio::time::sleep;

use super::Options;
use super::crowd::Crowd;
use super::played::Played;
use super::proof::{self, Proof};
use super::senders::Senders;
use crate::bench::target::Target;
use crate::bench::usage::{CpuSpan, Snapshot};

/// Between looks at what is outstanding.
const LOOK: Duration = Duration::from_millis(1);
/// Between looks at the stream of jobs.
const SAMPLE: Duration = Duration::from_millis(250);
/// As long as nothing comes, what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// After the last push, for any that come twice.
const AFTER: Duration = Duration::from_secs(3);

/// What the whole way reached.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Whole {
    pub(super) seconds: f64,
    /// Accepted by the provider in that time.
    pub(super) pushes: u64,
    pub(super) per_second: f64,
    /// Pushes that were sent for and not accepted, on average.
    pub(super) outstanding: f64,
    /// Of these, jobs in their stream: planned, and not accepted or not acked.
    pub(super) queued: f64,
    /// From the last message to the last push.
    pub(super) drained_seconds: f64,
    /// Of the measured seconds.
    pub(super) cpu: CpuSpan,
    pub(super) proof: Proof,
}

/// # Errors
/// The deployment does not answer.
pub(super) async fn measure(
    options: &Options,
    target: &Target,
    played: &Played,
    crowds: &[Crowd],
    senders: &mut Senders,
) -> anyhow::Result<Whole> {
    let bus = connect(target).await?;
    let accepted_before = played.counts()?;
    let mut load = Load {
        played,
        senders,
        members: options.members,
        backlog: options.backlog,
        before: accepted_before.accepted,
    };
    eprintln!(
        "parley: sending, {} s of warm-up and {} s",
        options.warm_up, options.seconds
    );
    load.run(Duration::from_secs(options.warm_up), &bus).await?;
    let (before, first, start) = (Snapshot::take(&target.data), load.accepted()?, Instant::now());
    let means = load.run(options.seconds(), &bus).await?;
    let (seconds, pushes) = (start.elapsed().as_secs_f64(), load.accepted()? - first);
    let cpu = Snapshot::take(&target.data).since(&before, seconds);

    let stopped = Instant::now();
    load.drain().await?;
    let drained_seconds = stopped.elapsed().as_secs_f64();
    sleep(AFTER).await;
    let proof = proof::prove(&bus, crowds, senders, &accepted_before, &played.counts()?).await?;
    Ok(Whole {
        seconds,
        pushes,
        per_second: pushes as f64 / seconds,
        outstanding: means.outstanding,
        queued: means.queued,
        drained_seconds,
        cpu,
        proof,
    })
}

async fn connect(target: &Target) -> anyhow::Result<Bus> {
    let mut config = config::Config::load(None, |_| {})?.nats;
    let port = target.data.port("nats").context("the deployment has no NATS")?;
    config.url = format!("nats://127.0.0.1:{port}");
    Ok(Bus::connect(&config, "parley-bench").await?)
}

struct Load<'a> {
    played: &'a Played,
    senders: &'a mut Senders,
    members: u64,
    backlog: u64,
    /// What the provider had accepted before.
    before: u64,
}

#[derive(Debug, Default)]
struct Means {
    outstanding: f64,
    queued: f64,
}

impl Load<'_> {
    fn accepted(&self) -> anyhow::Result<u64> {
        Ok(self.played.counts()?.accepted - self.before)
    }

    fn outstanding(&self) -> anyhow::Result<u64> {
        Ok((self.senders.standing() * self.members).saturating_sub(self.accepted()?))
    }

    async fn run(&mut self, length: Duration, bus: &Bus) -> anyhow::Result<Means> {
        let (start, mut sampled, mut sum, mut samples) = (Instant::now(), Instant::now(), Means::default(), 0.0_f64);
        while start.elapsed() < length {
            self.senders.hear()?;
            while self.outstanding()? + self.members <= self.backlog {
                self.senders.send().await?;
            }
            if sampled.elapsed() >= SAMPLE {
                sampled = Instant::now();
                samples += 1.0;
                sum.outstanding += self.outstanding()? as f64;
                sum.queued += queued(bus).await? as f64;
            }
            sleep(LOOK).await;
        }
        Ok(Means {
            outstanding: sum.outstanding / samples.max(1.0),
            queued: sum.queued / samples.max(1.0),
        })
    }

    /// Waits until nothing is outstanding, or nothing has come for long.
    async fn drain(&mut self) -> anyhow::Result<()> {
        self.senders.settle(PATIENCE).await?;
        let (mut last, mut since) = (self.outstanding()?, Instant::now());
        while last > 0 && since.elapsed() < PATIENCE {
            sleep(LOOK).await;
            let now = self.outstanding()?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(())
    }
}

async fn queued(bus: &Bus) -> anyhow::Result<u64> {
    let stream = bus.jetstream.get_stream(PUSH_JOBS_STREAM).await?;
    Ok(stream.cached_info().state.messages)
}
