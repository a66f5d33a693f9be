//! The services as this tool starts them: in this process, or as `parley service NAME` in one of their own.
//!
//! To add a service: a variant here, its name, and its line in [`Kind::start`].

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use config::Config;
use lifecycle::Shutdown;
use tokio::net::TcpListener;

/// A service. The order is the one in which they are asked to end: who calls others ends before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// Holds the sockets of clients.
    Connection,
    /// Notifies devices.
    Push,
    /// Rules, order and history.
    Message,
    /// Who is online.
    Presence,
}

impl Kind {
    /// All services.
    pub const ALL: [Self; 4] = [Self::Connection, Self::Push, Self::Message, Self::Presence];

    /// As in `connection-0`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Push => "push",
            Self::Message => "message",
            Self::Presence => "presence",
        }
    }

    /// Whether clients connect to it.
    pub fn is_public(self) -> bool {
        self == Self::Connection
    }

    /// Runs it until `shutdown` has drained it. `public` is there exactly for a public service.
    ///
    /// # Errors
    /// The service's own.
    pub async fn start(
        self,
        config: Config,
        public: Option<TcpListener>,
        admin: TcpListener,
        shutdown: Shutdown,
    ) -> anyhow::Result<()> {
        match self {
            Self::Connection => {
                let listener = public.context("the connection service needs its public address")?;
                connection::run(config, listener, admin, shutdown).await
            }
            Self::Push => push::run(config, admin, shutdown).await,
            Self::Message => message::run(config, admin, shutdown).await,
            Self::Presence => presence::run(config, admin, shutdown).await,
        }
    }
}

/// What the hidden `parley service` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which one
    service: Kind,
    /// The deployment's folder: not read, only there to be seen in the command line by `processes::leftovers`
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Runs one service in this process, just as its own binary does.
pub(crate) fn run(options: &Options) -> ExitCode {
    let kind = options.service;
    lifecycle::run_service(kind.name(), None, |config, shutdown| async move {
        let public = match kind.is_public() {
            true => Some(lifecycle::bind("PARLEY_HTTP__LISTEN", config.http.listen).await?),
            false => None,
        };
        let admin = lifecycle::bind("PARLEY_ADMIN__LISTEN", config.admin.listen).await?;
        kind.start(config, public, admin, shutdown).await
    })
}
