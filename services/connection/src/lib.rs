//! The connection service: sockets, the HTTP edge, sessions, delivery and replay.
//!
//! It decides nothing about who may do what: it asks the message service, and reads the log.

mod api;
mod app;
mod drain;
mod hub;
mod listener;
mod marks;
mod room;
mod session;
mod timeline;
mod token;

use std::pin::Pin;

use config::Config;
use lifecycle::Shutdown;
use tokio::net::TcpListener;

/// The whole service, until `shutdown` has fired and its sockets are drained: `listener` for clients, `admin` for
/// probes and metrics.
///
/// Boxed, so that the service is compiled in this crate and not again in each that runs it.
///
/// # Errors
/// A wrong setting, an absent server, or a part that failed.
pub fn run(
    config: Config,
    listener: TcpListener,
    admin: TcpListener,
    shutdown: Shutdown,
) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
    Box::pin(app::run(config, listener, admin, shutdown))
}
