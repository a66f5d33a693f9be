//! Errors as Google's interfaces write them.

use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::{self, Response};

/// Google's name for an HTTP status.
pub(crate) fn status_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

/// An error with details.
pub(crate) fn error(status: StatusCode, message: &str, details: &[Value]) -> Response {
    let mut error = json!({"code": status.as_u16(), "message": message, "status": status_name(status)});
    if !details.is_empty() {
        error["details"] = details.into();
    }
    answer::json(status, &json!({ "error": error }))
}

/// FCM's own code for what went wrong.
pub(crate) fn fcm_error(code: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
}

/// Which field is wrong.
pub(crate) fn bad_request(field: &str, description: &str) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": field, "description": description}],
    })
}

/// A machine-readable reason of Google's front end.
pub(crate) fn error_info(reason: &str) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "fcm.googleapis.com"},
    })
}
