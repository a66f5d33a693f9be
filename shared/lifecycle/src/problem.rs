//! Refusals of the private port, as problem documents like those of the public API.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::Refusal;

/// A refusal as an RFC 9457 problem document, with its code's status.
pub fn problem(refusal: Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = protocol::http::Problem::of(refusal, status.canonical_reason().unwrap_or("Error"));
    let body = serde_json::to_vec(&body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}
