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

use crate::service::Service;

/// The service, once it has connected: the private port answers before.
pub(crate) type Started = Arc<OnceLock<Service>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    user: Option<UserId>,
}

/// The route.
pub(crate) fn routes(started: Started) -> Router {
    Router::new()
        .route("/v1/admin/messages/{server_id}/timeline", get(timeline))
        .with_state(started)
}

async fn timeline(
    State(started): State<Started>,
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
    match service.timeline(ReadTimeline { server_id, user_id }).await {
        Ok(timeline) => Json(timeline).into_response(),
        Err(refusal) => problem(refusal),
    }
}
