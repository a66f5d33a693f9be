//! The private HTTP server of every service: `/healthz`, `/readyz`, `/metrics`, `/v1/admin/log-level`, and what a service
//! adds of its own. No authentication: it is bound to an address that clients cannot reach.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::{Readiness, Shutdown, log_level};

/// How long a request in flight may take once the shutdown has fired.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves until `shutdown` fires. Give it a shutdown that fires last: probes are wanted while the service drains.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, ready: Readiness, shutdown: Shutdown) -> anyhow::Result<()> {
    serve_with(listener, ready, Router::new(), shutdown).await
}

/// [`serve`], with `more` routes, which are there from the start: they say themselves what cannot be had yet.
///
/// # Errors
/// The listener fails.
pub async fn serve_with(
    listener: TcpListener,
    ready: Readiness,
    more: Router,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let metrics = telemetry::metrics();
    let routes = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .with_state(ready)
        .route(
            "/metrics",
            get(move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()) }),
        )
        .merge(log_level::routes())
        .merge(more);
    let stop = shutdown.clone();
    let server = axum::serve(listener, routes).with_graceful_shutdown(async move { stop.triggered().await });
    tokio::select! {
        result = server => result?,
        // A scraper that keeps its connection open must not hold the process.
        () = async { shutdown.triggered().await; tokio::time::sleep(DRAIN).await } => {}
    }
    Ok(())
}

async fn readyz(State(ready): State<Readiness>) -> impl IntoResponse {
    let missing = ready.missing();
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not ready: {}\n", missing.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_tells_what_is_missing_and_ends_with_the_shutdown() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ready, shutdown) = (Readiness::new(&["nats"]), Shutdown::new());
        let server = tokio::spawn(serve(listener, ready.clone(), shutdown.clone()));
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.ends_with("not ready: nats\n"),
            "{answer}"
        );
        ready.set("nats", true);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics").await.contains("text/plain; version=0.0.4"));
        shutdown.trigger();
        server.await.unwrap().unwrap();
    }
}
