//! A client for one authority: few connections, each kept for long and with hundreds of requests in flight.
//!
//! hyper speaks HTTP/2; this decides which connection takes a request, when there is to be another one, and what is
//! sent again. It follows no redirect and reads no cookie. It repeats only what a server is known not to have touched:
//! everything else is the caller's to decide.

mod connection;
mod dial;
mod error;
mod message;
mod pool;
#[cfg(test)]
mod raw_server;
#[cfg(test)]
mod repeat_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use telemetry::trace::{self, Origin};
use tokio::time::timeout;

pub(crate) use dial::Target;
pub(crate) use error::{ConnectError, SendError};
pub(crate) use message::{Outgoing, Reply};

use connection::Failure;
use pool::Pool;

/// Connections to one authority, at most.
const CONNECTIONS_MOST: usize = 4;

/// Requests in flight on a connection at which another one is opened. One connection takes more where there are as many
/// as may be; what goes beyond the server's own limit then waits in it.
const IN_FLIGHT_FULL: usize = 400;

/// Bounds in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// Name, TCP, TLS and the first words of HTTP together.
    pub(crate) connect: Duration,
    /// A request from its first attempt to the end of the response, with connecting.
    pub(crate) request: Duration,
    /// A connection without requests for so long is closed.
    pub(crate) idle: Duration,
    /// Between pings on a connection on which nothing is read; one that is not answered for as long ends it.
    pub(crate) ping: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(10),
            // Apple asks that connections are kept.
            idle: Duration::from_secs(15 * 60),
            ping: Duration::from_secs(20),
        }
    }
}

/// The client. Cheap to clone; its connections are closed when the last clone is gone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pool: Arc<Pool>,
    timeouts: Timeouts,
}

impl Client {
    /// Connects to nobody yet.
    pub(crate) fn new(target: Target, timeouts: Timeouts) -> Self {
        Self {
            pool: Arc::new(Pool::new(target, timeouts)),
            timeouts,
        }
    }

    /// Sends a request with `POST` and waits for the response.
    ///
    /// # Errors
    /// [`SendError`] says whether the server may have acted on the request. Any status is a response, not an error.
    pub(crate) async fn send(&self, request: &Outgoing) -> Result<Reply, SendError> {
        let authority = self.pool.authority();
        // Without the path: it holds the device's token.
        let span = telemetry::span!(
            Origin::here(),
            "client",
            "POST",
            http.request.method = "POST",
            server.address = authority.host(),
            server.port = i64::from(authority.port_u16().unwrap_or(443)),
            url.scheme = "https",
            network.protocol.name = "http",
            network.protocol.version = "2"
        );
        let result = match timeout(self.timeouts.request, self.attempts(request)).await {
            Ok(result) => result,
            Err(_) => Err(SendError::TimedOut),
        };
        match &result {
            Ok(reply) => {
                trace::set(&span, "http.response.status_code", i64::from(reply.status.as_u16()));
                if !reply.status.is_success() {
                    trace::fail(&span, reply.status.as_str());
                }
            }
            Err(SendError::TimedOut) => trace::fail(&span, "timeout"),
            Err(SendError::Connect(_)) => trace::fail(&span, "connect"),
            Err(_) => trace::fail(&span, "connection_lost"),
        }
        result
    }

    /// A refused request goes to a younger connection at once: those that are as old may be closing as well. So it is
    /// sent at most once on each open connection and once on a new one.
    async fn attempts(&self, request: &Outgoing) -> Result<Reply, SendError> {
        let mut refused_by = 0;
        let mut reason = String::new();
        for _ in 0..=CONNECTIONS_MOST {
            let connection = self.pool.connection(refused_by).await.map_err(SendError::Connect)?;
            match connection.send(request).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Lost(reason)) => return Err(SendError::Lost(reason)),
                Err(Failure::Untouched(why)) => reason = why,
            }
            metrics::counter!("parley_push_requests_repeated_total", "provider" => self.pool.provider()).increment(1);
            refused_by = connection.id();
        }
        Err(SendError::NotSent(reason))
    }
}
