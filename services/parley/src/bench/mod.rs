//! `parley bench`: load on a deployment, with proof that nothing was lost, and the cost of each message.
//!
//! The way of a load: [`target`] is what it goes to, [`mod@traffic`] runs the phases and measures around them, [`crew`] and
//! [`worker`] send by the [`schedule`] and count, [`checker`] and [`store`] judge, [`report`] tells. What the figures
//! mean is in `bench/README.md`.

mod book;
mod checker;
mod confirm;
mod cpu_table;
mod crew;
mod frame;
mod groups;
mod hold;
mod idle;
mod jetstream;
mod member;
mod pacer;
mod pairs;
mod people;
mod presence;
mod push;
mod report;
mod room;
mod schedule;
mod search;
mod socket;
mod store;
mod tally;
mod target;
mod traffic;
mod usage;
mod worker;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use target::Target;

/// What `parley bench` takes.
#[derive(Debug, Args)]
#[command(
    long_about = "Load on a deployment: a fresh one with one process for each service, which ends with the run, or a \
                  running one (--server and --data). Prints a table on stdout; exits 1 if a message was lost, \
                  doubled, reordered or not stored."
)]
pub struct Options {
    #[command(subcommand)]
    scenario: Scenario,
    /// Write all figures to this file, too
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Conversations of two, both sending
    Pairs(pairs::Options),
    /// Groups in which one sends and all others receive
    Groups(groups::Options),
    /// One large group, every message confirmed by everybody online, and how the receipts' cost grows with its size
    Room(room::Options),
    /// The node with thousands of sessions is killed: when is that told, and is it told of nobody else
    Presence(presence::Options),
    /// Pushes to a provider that is played here, against a plain HTTP/2 client, and the whole way from a message to them
    Push(push::Options),
    /// Sockets that do nothing
    Idle(idle::Options),
    /// Sockets for other scenarios, in a process of their own
    #[command(hide = true)]
    Hold(hold::Options),
}

/// Runs one scenario.
///
/// # Errors
/// It could not be measured, or a message was lost, doubled, reordered or not stored.
pub fn run(options: &Options) -> anyhow::Result<()> {
    // For HTTP, the child processes and the sampling; the load has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let json = options.json.as_deref();
    let result = runtime.block_on(async {
        match &options.scenario {
            Scenario::Pairs(it) => traffic(&it.traffic, it.shape(), &it.target, json).await,
            Scenario::Groups(it) => traffic(&it.traffic, it.shape()?, &it.target, json).await,
            Scenario::Room(it) => {
                let work = async |target: &Target| room::run(it, target).await;
                let report = on_target(&it.target, work).await?;
                tell(&report, json)?;
                if !report.holds() {
                    bail!("messages or receipts were lost, doubled, reordered or not stored, see above");
                }
                Ok(())
            }
            Scenario::Presence(it) => {
                let work = async |target: &Target| presence::run(it, target).await;
                let report = on_target(&it.target.with_two_nodes()?, work).await?;
                tell(&report, json)?;
                if !report.holds() {
                    bail!("presence was told wrongly or too late, see above");
                }
                Ok(())
            }
            Scenario::Push(it) => {
                let report = push::run(it).await?;
                tell(&report, json)?;
                if !report.holds() {
                    bail!("pushes were lost, doubled or refused, see above");
                }
                Ok(())
            }
            Scenario::Idle(it) => {
                let work = async |target: &Target| idle::run(it, target).await;
                tell(&on_target(&it.target, work).await?, json)
            }
            Scenario::Hold(it) => hold::run(it).await,
        }
    });
    runtime.shutdown_background();
    result
}

async fn traffic(
    options: &traffic::Options,
    shape: traffic::Shape,
    target: &target::Options,
    json: Option<&Path>,
) -> anyhow::Result<()> {
    let work = async |target: &Target| traffic::run(options, shape, target).await;
    let report = on_target(target, work).await?;
    tell(&report, json)?;
    if !report.proof.holds() {
        bail!("messages were lost, doubled, reordered or not stored, see above");
    }
    Ok(())
}

/// Starts what the load goes to, and ends it again, whatever became of the load.
async fn on_target<T>(
    options: &target::Options,
    work: impl AsyncFnOnce(&Target) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let target = Target::start(options).await?;
    let result = tokio::select! {
        result = work(&target) => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let stopped = target.stop().await;
    let report = result?;
    // The figures are good even where the end was not.
    if let Err(error) = stopped {
        eprintln!("parley: {error:#}");
    }
    Ok(report)
}

fn tell(report: &(impl Serialize + Display), json: Option<&Path>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{report}")
        .and_then(|()| out.flush())
        .context("cannot print")?;
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(report)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
