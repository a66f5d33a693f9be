//! The HTTP edge. Handlers decode, ask the message service or the hub, and encode; errors are problem documents.

mod caller;
mod conversations;
mod devices;
mod events;
mod members;
mod messages;
mod notifications;
mod origin;
mod percent;
mod poll;
mod presence;
mod problem;
mod stream;
mod websocket;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::MatchedPath;
use axum::routing::{delete, get};
use protocol::trace::is_traceparent;
use protocol::{Code, Refusal, UserId};
use telemetry::trace::{self, Origin};
use tokio::time::Instant;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument;

use self::problem::Problem;
use crate::app::App;
use crate::session::limiter::{Limiter, Refused};

/// A request with its body has this long; the message service answers far sooner.
const REQUEST_MOST: Duration = Duration::from_secs(15);

/// All routes of the public port.
pub fn router(app: Arc<App>) -> Router {
    let cors = cors(&app.settings.allowed_origins);
    Router::new()
        .route("/v1/ws", get(websocket::upgrade))
        .route(
            "/v1/conversations",
            get(conversations::list).post(conversations::create),
        )
        .route(
            "/v1/conversations/{id}",
            get(conversations::read).patch(members::update),
        )
        .route("/v1/conversations/{id}/members", get(members::list).post(members::add))
        .route(
            "/v1/conversations/{id}/members/{user_id}",
            delete(members::remove).patch(members::set_role),
        )
        .route(
            "/v1/conversations/{id}/messages",
            get(messages::history).post(messages::send),
        )
        .route(
            "/v1/conversations/{id}/notifications",
            get(notifications::read_one).patch(notifications::update_one),
        )
        .route("/v1/messages", get(events::since))
        .route(
            "/v1/notifications",
            get(notifications::read).patch(notifications::update),
        )
        .route("/v1/devices", get(devices::list).post(devices::register))
        .route("/v1/devices/{device_id}", delete(devices::remove))
        .route("/v1/push", get(devices::info))
        .route("/v1/presence", get(presence::read))
        .layer(axum::middleware::from_fn(readable))
        .layer(axum::middleware::from_fn(within_time))
        .route_layer(axum::middleware::from_fn(traced))
        // These wait for what has not happened yet.
        .route("/v1/events", get(stream::events))
        .route("/v1/events/poll", get(poll::poll))
        .fallback(|| async { Problem(Refusal::new(Code::NotFound, "no such resource")) })
        .method_not_allowed_fallback(|| async { Problem(Refusal::invalid("this resource has no such method")) })
        .layer(cors)
        .with_state(app)
}

/// Answers where the path is no text, before the router does so in words of its own.
async fn readable(request: axum::extract::Request, next: axum::middleware::Next) -> axum::response::Response {
    use axum::response::IntoResponse;
    match percent::decode(request.uri().path()) {
        Some(_) => next.run(request).await,
        None => Problem(Refusal::new(Code::NotFound, "no such resource")).into_response(),
    }
}

/// The W3C trace context of a request, if it is well-formed.
fn traceparent(headers: &http::HeaderMap) -> Option<String> {
    let value = headers.get(telemetry::trace::HEADER)?.to_str().ok()?;
    is_traceparent(value).then(|| value.to_owned())
}

/// Answers within a span, where the request is traced. Its path is left out: what stands in it is whose it is, and the
/// query may hold a token.
async fn traced(request: axum::extract::Request, next: axum::middleware::Next) -> axum::response::Response {
    let origin = Origin::at_edge(traceparent(request.headers()).as_deref());
    if origin.is_none() {
        return next.run(request).await;
    }
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let span = telemetry::span!(
        origin,
        "server",
        format!("{} {}", request.method(), route.unwrap_or_default()),
        http.request.method = request.method().as_str(),
        http.route = route
    );
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    trace::set(&span, "http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        trace::fail(&span, status.as_str());
    }
    response
}

/// Bounds the time of a request, its body included: a body that drips in holds a connection, not a handler.
async fn within_time(request: axum::extract::Request, next: axum::middleware::Next) -> axum::response::Response {
    use axum::response::IntoResponse;
    match tokio::time::timeout(REQUEST_MOST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem(Refusal::unavailable("the request took longer than 15 s")).into_response(),
    }
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| origin.parse().ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([
            http::Method::GET,
            http::Method::POST,
            http::Method::PATCH,
            http::Method::DELETE,
        ])
        .allow_headers([
            http::header::AUTHORIZATION,
            http::header::CONTENT_TYPE,
            http::HeaderName::from_static("last-event-id"),
            http::HeaderName::from_static("traceparent"),
        ])
}

/// Send limits of users over HTTP, forgotten when they are as good as new.
#[derive(Debug)]
pub struct UserLimits {
    per_second: u32,
    limiters: HashMap<UserId, Limiter>,
}

/// Users remembered before those with a full allowance are forgotten.
const REMEMBERED: usize = 10_000;

impl UserLimits {
    /// So many sends a second for each user; 0 means no limit.
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second,
            limiters: HashMap::new(),
        }
    }

    /// Takes one send of a user's allowance.
    ///
    /// # Errors
    /// When to try again.
    pub fn take(&mut self, user: &UserId, now: Instant) -> Result<(), Refused> {
        if self.limiters.len() >= REMEMBERED {
            self.limiters.retain(|_, limiter| !limiter.is_full(now));
        }
        self.limiters
            .entry(user.clone())
            .or_insert_with(|| Limiter::new(self.per_second, now))
            .take(now)
    }
}
