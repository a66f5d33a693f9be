//! The message service: the rules of conversations, the order and idempotency of what is sent, the one writer of the
//! log; and, as the log's reader, the projection into MongoDB and the reads of history.
//!
//! It holds no socket and knows no session. Any number of replicas run side by side; none owns a conversation.

mod app;
mod change;
mod conversation;
mod create;
mod effect;
mod event;
mod floor;
mod memberships;
mod projector;
mod read;
mod rebuild;
mod receipts;
mod send;
mod service;
pub mod store;
mod timeline;
pub mod verify;

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
