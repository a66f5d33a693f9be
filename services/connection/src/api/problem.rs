//! Refusals as RFC 9457 problem documents.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use protocol::{Code, Refusal};

/// A refusal on its way out.
#[derive(Debug)]
pub struct Problem(pub Refusal);

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<bus::LogError> for Problem {
    fn from(error: bus::LogError) -> Self {
        tracing::debug!(%error, "a read of the log failed");
        Self(Refusal::unavailable("the message bus is away: try again in a moment"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.with_status(status)
    }
}

impl Problem {
    /// The document with another status than its code's.
    pub fn with_status(self, status: StatusCode) -> Response {
        let refusal = self.0;
        metrics::counter!("parley_http_problems_total", "code" => refusal.code.as_str()).increment(1);
        let retry_after = refusal.retry_after_ms.map(|ms| ms.div_ceil(1_000));
        let unauthenticated = refusal.code == Code::Unauthenticated;
        let mut body = protocol::http::Problem::of(refusal, status.canonical_reason().unwrap_or("Error"));
        body.status = status.as_u16();
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if unauthenticated {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
