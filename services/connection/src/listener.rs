//! The accept loop: one HTTP/1.1 connection per socket, with bounds on its headers and the time they take.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lifecycle::Shutdown;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::session::handshake::AUTHENTICATE;

/// Largest request head, in bytes. Two pages of headers are more than any client of ours sends.
const HEAD_BYTES: usize = 16 * 1024;
/// Unacknowledged data for this long means that nobody is there, whatever the heartbeat says.
const DEAD_PEER: Duration = Duration::from_secs(60);
/// When accepting fails, for instance for want of file descriptors, the loop waits instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// When a connection was accepted; an extension of each of its requests.
#[derive(Debug, Clone, Copy)]
pub struct AcceptedAt(pub Instant);

/// Accepts until `shutdown` fires; whoever connects then is refused, which a load balancer takes as a reason to try
/// another node. Connections go on, as `tasks`: sessions are told to go, requests end by themselves.
pub async fn serve(listener: TcpListener, router: Router, tasks: &TaskTracker, shutdown: Shutdown) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.triggered() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                metrics::counter!("parley_connections_accepted_total").increment(1);
                tasks.spawn(serve_connection(stream, router.clone(), shutdown.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router, shutdown: Shutdown) {
    let accepted_at = AcceptedAt(Instant::now());
    // Without these a connection still works, only later or longer than it should.
    let _ = stream.set_nodelay(true);
    let dead_peer_ms = u32::try_from(DEAD_PEER.as_millis()).unwrap_or(u32::MAX);
    let _ = setsockopt(&stream, sockopt::TcpUserTimeout, &dead_peer_ms);
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(accepted_at);
        request.map(Body::new)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(AUTHENTICATE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.triggered() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}
