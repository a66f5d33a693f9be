//! The push service: notifies the devices that did not get a message, each once, and loses no job.
//!
//! It reads the log as any other reader does, keeps devices and jobs in streams of its own, and holds nothing that another
//! replica would miss.

mod app;
mod audiences;
mod badges;
mod decide;
mod endpoints;
mod facts;
mod fates;
mod jobs;
pub mod measure;
mod mention;
mod notifications;
mod planner;
mod provider;
mod records;
mod registry;
mod service;
mod texts;
mod unread;
mod users;

use std::pin::Pin;

use config::Config;
use lifecycle::Shutdown;
use tokio::net::TcpListener;

/// Dead letters, for the tool.
pub mod dead {
    pub use crate::jobs::dead::{DeadLetter, Replayed, list, replay};
}

/// What was decided of a message, for the tool.
pub mod decisions {
    pub use crate::records::{Decision, decisions};
}

/// The whole service, until `shutdown` has fired: `admin` is the private listener for probes and metrics.
///
/// Boxed, so that the service is compiled in this crate and not again in each that runs it.
///
/// # Errors
/// A wrong setting or an absent server at the start; afterwards only a part that crashed.
pub fn run(
    config: Config,
    admin: TcpListener,
    shutdown: Shutdown,
) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
    Box::pin(app::run(config, admin, shutdown))
}
