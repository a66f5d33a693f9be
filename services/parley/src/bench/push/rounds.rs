//! The plain client and the service's provider in turn, both on one thread that does nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::time::{ClockId, clock_gettime};
use push::measure::{Made, Ours, Raw, Sample};
use serde::Serialize;
use tokio::sync::oneshot;

use super::Options;
use super::played::Played;
use crate::bench::usage::{CpuSpan, Snapshot};
use crate::data_dir::DataDir;

/// Before the first round, of each.
const WARM_UP: Duration = Duration::from_secs(1);

/// What one client reached in one round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Reached {
    pub(super) per_second: f64,
    /// Of the client's thread, for each push.
    pub(super) cpu_us: f64,
}

/// All rounds.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Rounds {
    pub(super) payload_bytes: usize,
    pub(super) raw: Vec<Reached>,
    pub(super) ours: Vec<Reached>,
    /// What was not accepted, by what became of it.
    pub(super) failed: BTreeMap<String, u64>,
    /// Of this process, clients and fake together, and of others.
    pub(super) cpu: CpuSpan,
}

/// Takes some seconds for each round.
///
/// # Errors
/// The fake cannot be connected to.
pub(super) async fn measure(options: &Options, played: &Played) -> anyhow::Result<Rounds> {
    let config = played.config()?;
    let sample = Arc::new(Sample::new(&config, options.text_bytes as usize)?);
    let work = Work {
        in_flight: options.in_flight as usize,
        rounds: options.rounds,
        length: Duration::from_secs(options.round_seconds),
    };
    eprintln!(
        "parley: {} rounds of {} s of each client",
        work.rounds, options.round_seconds
    );
    let data = DataDir::create(played.folder())?;
    let (before, start) = (Snapshot::take(&data), Instant::now());
    let (done, rounds) = oneshot::channel();
    let client = move || {
        // Nobody waits any more where this cannot be sent.
        let _ = done.send(on_this_thread(work, &config, &sample));
    };
    std::thread::Builder::new()
        .name("push-client".to_owned())
        .spawn(client)?;
    let mut rounds = rounds.await.context("the clients' thread crashed")??;
    rounds.cpu = Snapshot::take(&data).since(&before, start.elapsed().as_secs_f64());
    Ok(rounds)
}

#[derive(Clone, Copy)]
struct Work {
    in_flight: usize,
    rounds: u64,
    length: Duration,
}

fn on_this_thread(work: Work, config: &config::Push, sample: &Arc<Sample>) -> anyhow::Result<Rounds> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let raw = Raw::connect(config, sample).await.context("the plain client")?;
        let ours = Ours::new(config, sample.clone())?;
        let mut rounds = Rounds {
            payload_bytes: raw.payload_bytes(),
            ..Rounds::default()
        };
        raw.load(work.in_flight, WARM_UP).await;
        ours.load(work.in_flight, WARM_UP).await;
        for _ in 0..work.rounds {
            let reached = round(raw.load(work.in_flight, work.length), &mut rounds.failed).await?;
            rounds.raw.push(reached);
            let reached = round(ours.load(work.in_flight, work.length), &mut rounds.failed).await?;
            rounds.ours.push(reached);
        }
        Ok(rounds)
    })
}

async fn round(load: impl Future<Output = Made>, failed: &mut BTreeMap<String, u64>) -> anyhow::Result<Reached> {
    let before = thread_cpu()?;
    let made = load.await;
    let used = thread_cpu()?.saturating_sub(before);
    for (reason, count) in made.failed {
        *failed.entry(reason).or_default() += count;
    }
    let accepted = made.accepted as f64;
    Ok(Reached {
        per_second: accepted / made.took.as_secs_f64(),
        cpu_us: used.as_secs_f64() * 1e6 / accepted.max(1.0),
    })
}

/// CPU time of the calling thread.
fn thread_cpu() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
