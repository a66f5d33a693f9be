//! The presence service: who is online and as what; who is subscribed to which room.
//!
//! It holds nothing that it cannot learn again: connection nodes own their sessions and report them, users' chosen
//! statuses and times of last being seen are kept by NATS. Any number of replicas know the same.

mod app;
mod bucket;
mod core;
mod heard;
pub mod metrics;
mod run;
mod service;
mod typing;
mod writer;

use std::pin::Pin;

use config::Config;
use lifecycle::Shutdown;
use tokio::net::TcpListener;

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
