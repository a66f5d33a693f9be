//! The hidden `parley bench hold`: holds idle sockets for other scenarios until it is killed, and fails when one is
//! closed.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::process::{Child, Command};

use super::idle;
use super::people::People;
use super::socket::{self, Socket};
use super::target::Target;

/// The line that says that all are open.
pub(super) const HELD: &str = "held";
/// Sockets opened at once.
const ABREAST: usize = 64;

/// What `parley bench hold` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[arg(long, value_delimiter = ',', required = true)]
    server: Vec<String>,
    #[arg(long)]
    data: PathBuf,
    /// Number of the first user
    #[arg(long)]
    first: u64,
    #[arg(long)]
    sockets: u64,
    /// Whose users they are, if not this process's own
    #[arg(long)]
    run: Option<String>,
}

/// What a process is to hold.
#[derive(Debug)]
pub(super) struct Holding {
    /// The sockets connect to them in turn.
    pub(super) servers: Vec<String>,
    /// See [`People::run`]; none: users that nobody else knows.
    pub(super) run: Option<String>,
    /// Number of the first user; each has one socket.
    pub(super) first: u64,
    pub(super) sockets: u64,
    /// It will fail in the end, and is not to complain.
    pub(super) is_to_die: bool,
}

/// Starts a process that holds sockets, and returns once all are open.
///
/// # Errors
/// One cannot be opened.
pub(super) async fn spawn_holder(target: &Target, holding: &Holding) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "hold", "--server", &holding.servers.join(",")]);
    command.arg("--data").arg(target.data.path());
    command.args(["--first", &holding.first.to_string()]);
    command.args(["--sockets", &holding.sockets.to_string()]);
    if let Some(run) = &holding.run {
        command.args(["--run", run]);
    }
    if holding.is_to_die {
        command.stderr(Stdio::null());
    }
    idle::wait_for_holder(command).await
}

/// Opens the sockets and holds them.
///
/// # Errors
/// One cannot be opened, or ends.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let people = People::new(&options.data)?;
    let people = &match &options.run {
        Some(run) => people.of_run(run),
        None => people,
    };
    let servers = &options.server;
    let opened = (options.first..options.first + options.sockets).map(|number| async move {
        let number = number as usize;
        let token = people.token(&people.user(number)?)?;
        socket::open(&servers[number % servers.len()], &token).await
    });
    let sockets: Vec<Socket> = stream::iter(opened).buffer_unordered(ABREAST).try_collect().await?;
    let mut out = std::io::stdout();
    writeln!(out, "{HELD}")
        .and_then(|()| out.flush())
        .context("cannot print")?;
    // Reading answers the server's pings.
    let mut all = stream::select_all(sockets);
    while let Some(message) = all.next().await {
        if message?.is_close() {
            bail!("a socket was closed");
        }
    }
    bail!("all sockets were closed")
}
