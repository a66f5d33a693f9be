//! Google's responses, by the codes of "FCM error codes" in its error's details.

use std::time::Duration;

use http::StatusCode;
use protocol::Timestamp;
use serde::Deserialize;

use crate::provider::failure::{retry_after, words};
use crate::provider::http2::Reply;
use crate::provider::{Answer, Scope};

/// What Google asks for of who sends too much, where it names no time.
const QUOTA_WAIT: Duration = Duration::from_secs(60);

/// What a response means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    Answer(Answer),
    /// Our token is not taken: the same push is to be sent with a new one.
    TokenRefused,
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    error: Error,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Error {
    status: String,
    message: String,
    details: Vec<Detail>,
}

/// Of all kinds of details the fields that are looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail {
    error_code: Option<String>,
    field_violations: Vec<Violation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Violation {
    field: String,
}

pub(super) fn judge(reply: &Reply, now: Timestamp) -> Judged {
    if reply.status == StatusCode::OK {
        return Judged::Answer(Answer::Accepted);
    }
    let Body { error } = serde_json::from_slice(&reply.body).unwrap_or_default();
    let code = error.details.iter().find_map(|it| it.error_code.as_deref());
    let code = code.unwrap_or(&error.status);
    let reason = if code.is_empty() {
        reply.status.to_string()
    } else {
        words(code)
    };
    let after = retry_after(&reply.headers, now);
    let later = |after, scope| {
        let reason = reason.clone();
        Judged::Answer(Answer::Later { reason, after, scope })
    };
    let status = reply.status.as_u16();
    Judged::Answer(match (code, status) {
        // The second is of another project: with this one it will never work.
        ("UNREGISTERED" | "SENDER_ID_MISMATCH", _) => Answer::Gone { reason, since: None },
        ("INVALID_ARGUMENT", _) if error.is_about_the_token() => Answer::Gone {
            reason: format!("{reason}: token"),
            since: None,
        },
        ("INVALID_ARGUMENT", _) => Answer::Refused {
            reason: format!("{reason}: {}", words(&error.fields())),
        },
        ("QUOTA_EXCEEDED" | "RESOURCE_EXHAUSTED", _) | (_, 429) => {
            // Of the project, or of one device that gets too many: Google does not say.
            return later(after.or(Some(QUOTA_WAIT)), Scope::Either);
        }
        ("UNAVAILABLE" | "INTERNAL" | "DEADLINE_EXCEEDED", _) | (_, 500..) => return later(after, Scope::App),
        ("THIRD_PARTY_AUTH_ERROR" | "PERMISSION_DENIED", _) => Answer::OurFault { reason, after },
        ("UNAUTHENTICATED", _) | (_, 401) => return Judged::TokenRefused,
        // A project or a URL that is none, a redirect, a proxy.
        (_, 300..=399 | 403 | 404 | 407) => Answer::OurFault { reason, after },
        _ => Answer::Refused { reason },
    })
}

impl Error {
    fn is_about_the_token(&self) -> bool {
        let mut fields = self.details.iter().flat_map(|it| &it.field_violations);
        fields.any(|it| it.field == "message.token") || self.message.to_ascii_lowercase().contains("registration token")
    }

    fn fields(&self) -> String {
        let fields = self.details.iter().flat_map(|it| &it.field_violations);
        fields.map(|it| it.field.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, header};
    use serde_json::{Value, json};

    use super::*;

    fn reply(status: u16, body: &Value) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_string()),
        }
    }

    /// An error as Google writes it, with the code in its details if there is one.
    fn error(status: &str, code: &str, message: &str, field: &str) -> Value {
        let mut details = Vec::new();
        if !code.is_empty() {
            details.push(json!({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}));
        }
        if !field.is_empty() {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": field, "description": message}],
            }));
        }
        json!({"error": {"code": 0, "message": message, "status": status, "details": details}})
    }

    fn word(judged: &Judged) -> &'static str {
        match judged {
            Judged::TokenRefused => "renew",
            Judged::Answer(Answer::Accepted) => "accepted",
            Judged::Answer(Answer::Gone { .. }) => "gone",
            Judged::Answer(Answer::Refused { .. }) => "refused",
            Judged::Answer(Answer::OurFault { .. }) => "our fault",
            Judged::Answer(Answer::Later { scope: Scope::App, .. }) => "later, app",
            Judged::Answer(Answer::Later {
                scope: Scope::Device, ..
            }) => "later, device",
            Judged::Answer(Answer::Later {
                scope: Scope::Either, ..
            }) => "later, either",
        }
    }

    #[test]
    fn every_code_has_its_answer() {
        for (status, name, code, expected) in [
            (404, "NOT_FOUND", "UNREGISTERED", "gone"),
            (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "gone"),
            (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "refused"),
            (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "later, either"),
            (429, "RESOURCE_EXHAUSTED", "", "later, either"),
            (503, "UNAVAILABLE", "UNAVAILABLE", "later, app"),
            (503, "UNAVAILABLE", "", "later, app"),
            (500, "INTERNAL", "INTERNAL", "later, app"),
            (504, "DEADLINE_EXCEEDED", "", "later, app"),
            (401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "our fault"),
            (401, "UNAUTHENTICATED", "", "renew"),
            (403, "PERMISSION_DENIED", "", "our fault"),
            (404, "NOT_FOUND", "", "our fault"),
            (400, "FAILED_PRECONDITION", "", "refused"),
        ] {
            let reply = reply(status, &error(name, code, "Some words.", ""));
            assert_eq!(
                word(&judge(&reply, Timestamp::EPOCH)),
                expected,
                "{status} {name} {code}"
            );
        }
    }

    #[test]
    fn a_response_without_googles_error_goes_by_its_status() {
        for (status, expected) in [
            (200, "accepted"),
            (301, "our fault"),
            (400, "refused"),
            (401, "renew"),
            (403, "our fault"),
            (404, "our fault"),
            (413, "refused"),
            (429, "later, either"),
            (502, "later, app"),
        ] {
            let judged = judge(&reply(status, &json!("<html>")), Timestamp::EPOCH);
            assert_eq!(word(&judged), expected, "{status}");
        }
    }

    #[test]
    fn an_argument_is_the_tokens_fault_only_where_google_says_so() {
        for (message, field, expected) in [
            (
                "The registration token is not a valid FCM registration token",
                "",
                "gone",
            ),
            ("Invalid registration token", "message.token", "gone"),
            ("Invalid value", "message.token", "gone"),
            ("Invalid data payload key: from", "message.data", "refused"),
            ("Android message is too big", "message", "refused"),
            ("Request contains an invalid argument.", "", "refused"),
        ] {
            let reply = reply(400, &error("INVALID_ARGUMENT", "INVALID_ARGUMENT", message, field));
            assert_eq!(word(&judge(&reply, Timestamp::EPOCH)), expected, "{message}");
        }
    }

    #[test]
    fn the_wait_is_googles_or_a_minute_for_quotas() {
        for (status, header, seconds) in [
            (429, None, Some(60)),
            (429, Some("5"), Some(5)),
            (503, None, None),
            (503, Some("9"), Some(9)),
        ] {
            let mut reply = reply(status, &json!({}));
            if let Some(value) = header {
                reply.headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            }
            let Judged::Answer(Answer::Later { after, .. }) = judge(&reply, Timestamp::EPOCH) else {
                panic!("{status}");
            };
            assert_eq!(after, seconds.map(Duration::from_secs), "{status} {header:?}");
        }
    }
}
