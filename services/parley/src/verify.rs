//! `parley verify`: holds the log of a running deployment against MongoDB. The comparing is the message service's; this
//! finds the servers and prints.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bus::Bus;
use clap::Args;
use config::Config;

use crate::{data_dir, running};

/// For the projection to pass the log's end as it was at the start.
const WAIT: Duration = Duration::from_secs(30);

/// What `parley verify` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints a line for each thing that is missing in MongoDB or differs from the log, and exits 1 if \
                        there was any. The log is right by definition: --repair writes from it."
)]
pub struct Options {
    /// The deployment's folder: where to find its NATS and MongoDB
    #[arg(long, value_name = "DIR", default_value = data_dir::DEFAULT)]
    data: PathBuf,
    /// The deployment's NATS, instead of PARLEY_NATS__URL or the one in DIR
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// The deployment's MongoDB, instead of PARLEY_MONGODB__URI or the one in DIR
    #[arg(long, value_name = "URI")]
    mongodb: Option<String>,
    /// Write to MongoDB what is missing or differs
    #[arg(long)]
    repair: bool,
}

/// Compares and prints. The exit code is 1 if anything is missing or differs, also where it was repaired.
///
/// # Errors
/// The servers cannot be found, reached or read.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = configuration(options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(compare(config, options.repair))?;
    println!(
        "compared {} entries of {} conversations: {} problems, {} repaired, {} entries unreadable",
        outcome.entries, outcome.conversations, outcome.problems, outcome.repaired, outcome.unreadable
    );
    Ok(if outcome.problems == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn compare(mut config: Config, repair: bool) -> anyhow::Result<message::verify::Outcome> {
    let bus = Bus::connect(&config.nats, "parley-verify").await?;
    // The deployment knows how many partitions it has; its environment is not ours.
    if let Some(made) = bus::streams::partitions(&bus).await? {
        config.stream.partitions = made;
    }
    message::verify::verify(&config, repair, WAIT, |line| println!("{line}")).await
}

fn configuration(options: &Options) -> anyhow::Result<Config> {
    let mut config = Config::load(None, |_| {})?;
    config.nats.url = running::nats(options.nats.as_deref(), &options.data)?;
    config.mongodb.uri = running::mongodb(options.mongodb.as_deref(), &options.data)?;
    config.validate().context("checking the settings")?;
    Ok(config)
}
