//! `/v1/admin/log-level`: what of the log is written, read and changed while the service runs. It is that of the process:
//! services that share one change it together.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use protocol::{Refusal, Timestamp};
use serde::Deserialize;
use telemetry::InForce;
use tokio::task::AbortHandle;

use crate::problem::problem;

/// Longest that a change may last before it ends by itself.
const LASTING_MOST: Duration = Duration::from_secs(24 * 3600);
const BODY_BYTES: usize = 8 * 1024;

/// Ends the change that is in force, when its time has come.
static END: Mutex<Option<AbortHandle>> = Mutex::new(None);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// Such as `10m`.
    r#for: Option<String>,
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/v1/admin/log-level", get(show).put(set))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
}

async fn show() -> Response {
    match telemetry::log_level() {
        Some(level) => text(&level.in_force()),
        None => away(),
    }
}

async fn set(parameters: Result<Query<Parameters>, QueryRejection>, filter: String) -> Response {
    let parameters = match parameters {
        Ok(Query(parameters)) => parameters,
        Err(error) => return problem(Refusal::invalid(error.body_text())),
    };
    let Some(level) = telemetry::log_level() else {
        return away();
    };
    let lasting = match parameters.r#for.as_deref().map(config::parse_duration).transpose() {
        Ok(lasting) => lasting,
        Err(error) => return problem(Refusal::invalid(format!("for: {error}"))),
    };
    if lasting.is_some_and(|lasting| lasting.is_zero() || lasting > LASTING_MOST) {
        return problem(Refusal::invalid(
            "for: expected a time of up to 1d; without it the level stays",
        ));
    }
    let (in_force, change) = match level.set(&filter, lasting) {
        Ok(done) => done,
        Err(error) => return problem(Refusal::invalid(error.to_string())),
    };
    tracing::warn!(filter = in_force.filter, ?lasting, "the log's level was changed");
    let end = lasting.map(|lasting| {
        let ends = async move {
            tokio::time::sleep(lasting).await;
            level.fall_back(change);
            tracing::warn!("the log's level is the configured one again");
        };
        tokio::spawn(ends).abort_handle()
    });
    if let Some(overtaken) = std::mem::replace(&mut *END.lock(), end) {
        overtaken.abort();
    }
    text(&in_force)
}

/// The filter in force as the first line; what else is to be known in a second one.
fn text(in_force: &InForce) -> Response {
    let filter = &in_force.filter;
    let Some(until) = in_force.until else {
        return format!("{filter}\n").into_response();
    };
    let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let until = Timestamp::from_millis(i64::try_from(until.as_millis()).unwrap_or(i64::MAX));
    format!("{filter}\nuntil {until}, then {}\n", in_force.configured).into_response()
}

fn away() -> Response {
    problem(Refusal::unavailable("this process writes no log of its own"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_the_filter_first_and_then_how_long() {
        let mut in_force = InForce {
            filter: "info,push=debug".to_owned(),
            until: None,
            configured: "warn".to_owned(),
        };
        let told = |in_force: &InForce| {
            let body = axum::body::to_bytes(text(in_force).into_body(), 1_000);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            String::from_utf8(runtime.block_on(body).unwrap().to_vec()).unwrap()
        };
        assert_eq!(told(&in_force), "info,push=debug\n");
        in_force.until = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60));
        assert_eq!(
            told(&in_force),
            "info,push=debug\nuntil 1970-01-01T00:01:00.000Z, then warn\n"
        );
    }
}
