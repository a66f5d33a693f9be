//! `GET /v1/admin/messages/{server_id}/timeline?user=` on the private port.

use std::sync::{Arc, OnceLock};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lifecycle::problem;
use protocol::timeline::ReadTimeline;
use protocol::{Refusal, UserId};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::service::Service;

/// The service, once it has connected: the private port answers before.
pub(crate) type Started = Arc<OnceLock<Service>>;

/// Timelines that are put together at once: each asks all nodes.
const TOGETHER: usize = 4;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    user: Option<UserId>,
}

/// The route.
pub(crate) fn routes(started: Started) -> Router {
    Router::new()
        .route("/v1/admin/messages/{server_id}/timeline", get(timeline))
        .with_state((started, Arc::new(Semaphore::new(TOGETHER))))
}

async fn timeline(
    State((started, room)): State<(Started, Arc<Semaphore>)>,
    Path(server_id): Path<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    let user_id = match parameters {
        Ok(Query(parameters)) => parameters.user,
        Err(error) => return problem(Refusal::invalid(error.body_text())),
    };
    let Some(service) = started.get() else {
        return problem(Refusal::unavailable(
            "the service waits for NATS and MongoDB: try again",
        ));
    };
    let Ok(_room) = room.try_acquire() else {
        return problem(Refusal::unavailable(
            "other timelines are being put together: try again in a moment",
        ));
    };
    match service.timeline(ReadTimeline { server_id, user_id }).await {
        Ok(timeline) => Json(timeline).into_response(),
        Err(refusal) => problem(refusal),
    }
}
