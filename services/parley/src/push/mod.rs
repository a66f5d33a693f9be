//! `parley push`: what was decided, dead letters, and what phones would show.

mod dead;
mod decisions;
mod tail;

use clap::{Args, Subcommand};

/// What `parley push` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pushes that were given up
    #[command(subcommand)]
    Dead(dead::Command),
    /// Print why a message was pushed to devices, or was not, and what came of it
    Decisions(decisions::Options),
    /// Print what phones would show, of a deployment that runs with `parley up --fake-push`
    Tail(tail::Options),
}

/// Runs the subcommand.
///
/// # Errors
/// Its own.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &options.command {
            Command::Dead(command) => dead::run(command).await,
            Command::Decisions(options) => decisions::run(options).await,
            Command::Tail(options) => tail::run(options).await,
        }
    })
}
