//! `parley bench idle`: what an authenticated socket costs that does nothing.
//!
//! The sockets are held by child processes of this one, so that there may be more than one process may have open.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::hold::{self, Holding};
use super::report::Idle;
use super::target::{self, Target};
use super::usage::Snapshot;
use crate::processes::spawn::spawn;
use crate::service::Kind;

/// A process may have 20,000 files open: neither a holder nor a connection replica gets more sockets than this.
pub(super) const SOCKETS_MOST: u64 = 18_000;
const OPENING: Duration = Duration::from_secs(180);
/// Until memory that was only needed for opening is given back.
const SETTLE: Duration = Duration::from_secs(3);

/// What `parley bench idle` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Authenticated sockets; over 18,000 they need --replicas connection=2 or more
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=500_000))]
    sockets: u64,
    /// Seconds for which the idle sockets are watched
    #[arg(long, value_name = "S", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    #[command(flatten)]
    pub(super) target: target::Options,
}

/// Opens the sockets, watches them, compares the memory of all processes before and after.
///
/// # Errors
/// A socket cannot be opened.
pub(super) async fn run(options: &Options, target: &Target) -> anyhow::Result<Idle> {
    let replicas = target.servers.len() as u64;
    let each = options.sockets.div_ceil(replicas);
    ensure!(
        each <= SOCKETS_MOST,
        "{each} sockets for each connection replica are more than {SOCKETS_MOST}"
    );
    // Whatever is done once, at the first socket, is not a socket's cost.
    let holding = |first, sockets| Holding {
        servers: target.servers.clone(),
        run: None,
        first,
        sockets,
        is_to_die: false,
    };
    let first = hold::spawn_holder(target, &holding(0, 100)).await?;
    sleep(SETTLE).await;
    let before = Snapshot::take(&target.data);
    let start = Instant::now();
    let mut holders = vec![first];
    let mut opened = 0;
    while opened < options.sockets {
        let count = SOCKETS_MOST.min(options.sockets - opened);
        holders.push(hold::spawn_holder(target, &holding(100 + opened, count)).await?);
        opened += count;
    }
    let connect_seconds = start.elapsed().as_secs_f64();
    sleep(SETTLE).await;
    let (idle_before, watched) = (Snapshot::take(&target.data), Duration::from_secs(options.seconds));
    sleep(watched).await;
    let after = Snapshot::take(&target.data);
    let cpu = after.since(&idle_before, watched.as_secs_f64());
    for mut holder in holders {
        ensure!(holder.try_wait()?.is_none(), "sockets were closed while they were idle");
        holder.kill().await?;
    }
    let connection = |snapshot: &Snapshot| -> u64 {
        let is_connection = |name: &str| name.starts_with(Kind::Connection.name());
        let separate = snapshot.processes.iter().any(|it| is_connection(&it.name));
        let counted = snapshot.processes.iter().filter(|it| {
            if separate {
                is_connection(&it.name)
            } else {
                it.name == "up"
            }
        });
        counted.map(|it| it.rss_kib).sum()
    };
    let rss = (connection(&before), connection(&after));
    let growth: BTreeMap<_, _> = after
        .processes
        .iter()
        .filter_map(|now| {
            let then = before.processes.iter().find(|it| it.pid == now.pid)?;
            Some((now.name.clone(), now.rss_kib.cast_signed() - then.rss_kib.cast_signed()))
        })
        .collect();
    Ok(Idle {
        scenario: "idle",
        sockets: opened,
        connect_seconds,
        connection_rss_kib: rss,
        kib_per_socket: (rss.1 as f64 - rss.0 as f64) / opened as f64,
        growth_kib: growth,
        cpu,
    })
}

/// Waits for the one line that a holder prints when all its sockets are open.
pub(super) async fn wait_for_holder(mut command: Command) -> anyhow::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = spawn(command).await?;
    let output = child.stdout.take().context("no output")?;
    let mut line = String::new();
    timeout(OPENING, BufReader::new(output).read_line(&mut line))
        .await
        .context("the sockets were not open in time")??;
    if line.trim() != hold::HELD {
        bail!("a process that holds sockets failed");
    }
    Ok(child)
}
