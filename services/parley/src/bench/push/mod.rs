//! `parley bench push`: how many pushes a second, of the provider alone and of the whole way from a message to the
//! provider, against a plain HTTP/2 client; and how long after the send a push is there.
//!
//! Apple is played in this process, on a thread of its own: by the same fake in all measurements of a run.

mod crowd;
mod latency;
mod played;
mod proof;
mod report;
mod rounds;
mod senders;
mod whole;

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use fake_push::Recording;

use super::on_target;
use super::people::People;
use super::target::{self, Target};
use crowd::Crowd;
use latency::Latencies;
use played::Played;
pub(super) use report::Report;
use senders::Senders;
use whole::Whole;

/// What `parley bench push` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Requests in flight at once, of the plain client and of the provider alone
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    in_flight: u64,
    /// Rounds of the plain client and the provider alone, in turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Seconds of a round of each
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    round_seconds: u64,
    /// Groups, of whom one member each sends all the time
    #[arg(long, value_name = "G", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    groups: u64,
    /// Registered devices of each group, one of each member beside the sender; none is connected
    #[arg(long, value_name = "M", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=9_999))]
    members: u64,
    /// The senders keep at most so many pushes outstanding, all groups together
    #[arg(long, value_name = "N", default_value_t = 4_000)]
    backlog: u64,
    /// Seconds of the whole way that are measured
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Seconds before them
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=600))]
    warm_up: u64,
    /// Pushes a second while the latency is measured, each of a message of its own
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    rate: u64,
    /// Seconds for which the latency is measured
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    latency_seconds: u64,
    /// Bytes of each text
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=4_000))]
    text_bytes: u64,
    #[command(flatten)]
    target: target::Options,
}

impl Options {
    fn seconds(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Conversations of two whose messages the latency is taken of.
const PAIRS: usize = 20;

/// Measures everything, one after the other.
///
/// # Errors
/// Something that the measurement needs does not answer.
pub(super) async fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(
        options.backlog >= options.members,
        "--backlog must be --members at least: a message is pushed to as many devices"
    );
    let mut played = Played::start(Recording::Counts).await?;
    let target = options.target.with_environment(played.settings())?;
    let rounds = rounds::measure(options, &played).await?;
    let work = async |target: &Target| behind(options, target, &mut played).await;
    let (whole, latency) = on_target(&target, work).await?;
    Ok(Report::new(options, rounds, whole, latency))
}

/// What takes a deployment.
async fn behind(options: &Options, target: &Target, played: &mut Played) -> anyhow::Result<(Whole, Latencies)> {
    let people = People::new(target.data.path())?;
    let (groups, members) = (options.groups as usize, options.members as usize);
    eprintln!("parley: registering {} devices", groups * members);
    let crowds = Crowd::gather(&people, target, 0, groups, members).await?;
    let pairs = Crowd::gather(&people, target, groups * (members + 1), PAIRS, 1).await?;
    let mut senders = Senders::open(&crowds, options.text_bytes as usize).await?;
    let whole = whole::measure(options, target, played, &crowds, &mut senders).await?;
    drop(senders);

    played.restart(Recording::Everything).await?;
    let mut senders = Senders::open(&pairs, options.text_bytes as usize).await?;
    let latency = latency::measure(options, target, played, &mut senders).await?;
    Ok((whole, latency))
}
