//! Apple's responses, by the reasons of "Handling notification responses from APNs".

use a2::ErrorReason;
use http::StatusCode;
use protocol::Timestamp;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NotKnown, StrDeserializer};

use crate::provider::failure::{retry_after, words};
use crate::provider::http2::Reply;
use crate::provider::{Answer, Scope};

/// What a response means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    Answer(Answer),
    /// Our token is too old: the same push is to be sent with a new one.
    TokenExpired,
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    reason: String,
    /// Milliseconds. Of 410.
    timestamp: Option<i64>,
}

/// Whom a reason blames.
enum Blame {
    OurToken,
    Device,
    Push,
    Us,
    /// Too much for this device.
    Pace,
    Apple,
}

pub(super) fn judge(reply: &Reply, now: Timestamp) -> Judged {
    if reply.status == StatusCode::OK {
        return Judged::Answer(Answer::Accepted);
    }
    let body: Body = serde_json::from_slice(&reply.body).unwrap_or_default();
    let reason = match body.reason.as_str() {
        "" => reply.status.to_string(),
        reason => words(reason),
    };
    let after = retry_after(&reply.headers, now);
    let later = |reason, scope| Answer::Later { reason, after, scope };
    Judged::Answer(match blame(reply.status, &body.reason) {
        Blame::OurToken => return Judged::TokenExpired,
        Blame::Device => Answer::Gone {
            reason,
            since: body.timestamp.map(Timestamp::from_millis),
        },
        Blame::Push => Answer::Refused { reason },
        Blame::Us => Answer::OurFault { reason, after },
        Blame::Pace => later(reason, Scope::Device),
        Blame::Apple => later(reason, Scope::App),
    })
}

fn blame(status: StatusCode, reason: &str) -> Blame {
    let known: StrDeserializer<'_, NotKnown> = reason.into_deserializer();
    match ErrorReason::deserialize(known) {
        Ok(reason) => of_known(&reason),
        Err(_) => of_unknown(status, reason),
    }
}

fn of_known(reason: &ErrorReason) -> Blame {
    match reason {
        ErrorReason::BadDeviceToken | ErrorReason::DeviceTokenNotForTopic | ErrorReason::Unregistered => Blame::Device,
        ErrorReason::ExpiredProviderToken => Blame::OurToken,
        ErrorReason::BadTopic
        | ErrorReason::MissingTopic
        | ErrorReason::TopicDisallowed
        | ErrorReason::BadCertificate
        | ErrorReason::BadCertificateEnvironment
        | ErrorReason::Forbidden
        | ErrorReason::InvalidProviderToken
        | ErrorReason::MissingProviderToken
        | ErrorReason::TooManyProviderTokenUpdates => Blame::Us,
        ErrorReason::BadCollapseId
        | ErrorReason::BadExpirationDate
        | ErrorReason::BadMessageId
        | ErrorReason::BadPriority
        | ErrorReason::DuplicateHeaders
        | ErrorReason::MissingDeviceToken
        | ErrorReason::PayloadEmpty
        | ErrorReason::PayloadTooLarge
        | ErrorReason::BadPath
        | ErrorReason::MethodNotAllowed => Blame::Push,
        ErrorReason::TooManyRequests => Blame::Pace,
        ErrorReason::IdleTimeout
        | ErrorReason::InternalServerError
        | ErrorReason::ServiceUnavailable
        | ErrorReason::Shutdown => Blame::Apple,
    }
}

/// Reasons that a2 does not know: newer ones, and what stands between Apple and us.
fn of_unknown(status: StatusCode, reason: &str) -> Blame {
    match (status.as_u16(), reason) {
        (_, "ExpiredToken") | (410, _) => Blame::Device,
        // A server of the other environment, a redirect, a proxy that wants a password.
        (_, "BadEnvironmentKeyInToken" | "BadEnvironmentKeyIdInToken" | "UnrelatedKeyIdInToken")
        | (300..=399 | 401 | 403 | 407, _) => Blame::Us,
        (429, _) => Blame::Pace,
        (500.., _) => Blame::Apple,
        _ => Blame::Push,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, header};
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::EPOCH;

    fn reply(status: u16, reason: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(json!({ "reason": reason }).to_string()),
        }
    }

    fn word(judged: &Judged) -> &'static str {
        match judged {
            Judged::TokenExpired => "renew",
            Judged::Answer(Answer::Accepted) => "accepted",
            Judged::Answer(Answer::Gone { .. }) => "gone",
            Judged::Answer(Answer::Refused { .. }) => "refused",
            Judged::Answer(Answer::OurFault { .. }) => "our fault",
            Judged::Answer(Answer::Later {
                scope: Scope::Device, ..
            }) => "later, device",
            Judged::Answer(Answer::Later {
                scope: Scope::Either, ..
            }) => "later, either",
            Judged::Answer(Answer::Later { scope: Scope::App, .. }) => "later, app",
        }
    }

    #[test]
    fn every_reason_has_its_answer() {
        for (status, reason, expected) in [
            (200, "", "accepted"),
            (400, "BadCollapseId", "refused"),
            (400, "BadDeviceToken", "gone"),
            (400, "BadExpirationDate", "refused"),
            (400, "BadMessageId", "refused"),
            (400, "BadPriority", "refused"),
            (400, "BadTopic", "our fault"),
            (400, "DeviceTokenNotForTopic", "gone"),
            (400, "DuplicateHeaders", "refused"),
            (400, "IdleTimeout", "later, app"),
            (400, "InvalidPushType", "refused"),
            (400, "MissingDeviceToken", "refused"),
            (400, "MissingTopic", "our fault"),
            (400, "PayloadEmpty", "refused"),
            (400, "TopicDisallowed", "our fault"),
            (403, "BadCertificate", "our fault"),
            (403, "BadCertificateEnvironment", "our fault"),
            (403, "BadEnvironmentKeyInToken", "our fault"),
            (403, "ExpiredProviderToken", "renew"),
            (403, "Forbidden", "our fault"),
            (403, "InvalidProviderToken", "our fault"),
            (403, "MissingProviderToken", "our fault"),
            (403, "UnrelatedKeyIdInToken", "our fault"),
            (404, "BadPath", "refused"),
            (405, "MethodNotAllowed", "refused"),
            (410, "ExpiredToken", "gone"),
            (410, "Unregistered", "gone"),
            (413, "PayloadTooLarge", "refused"),
            (429, "TooManyProviderTokenUpdates", "our fault"),
            (429, "TooManyRequests", "later, device"),
            (500, "InternalServerError", "later, app"),
            (503, "ServiceUnavailable", "later, app"),
            (503, "Shutdown", "later, app"),
            (302, "", "our fault"),
            (400, "SomethingNew", "refused"),
            (403, "SomethingNew", "our fault"),
            (410, "SomethingNew", "gone"),
            (429, "SomethingNew", "later, device"),
            (502, "", "later, app"),
        ] {
            assert_eq!(word(&judge(&reply(status, reason), NOW)), expected, "{status} {reason}");
        }
    }

    #[test]
    fn a_token_is_dead_since_when_apple_says() {
        let mut reply = reply(410, "");
        reply.body = Bytes::from(r#"{"reason":"Unregistered","timestamp":1508249865488}"#);
        assert_eq!(
            judge(&reply, NOW),
            Judged::Answer(Answer::Gone {
                reason: "Unregistered".to_owned(),
                since: Some(Timestamp::from_millis(1_508_249_865_488)),
            })
        );
    }

    #[test]
    fn the_wait_is_as_long_as_apple_asks_for() {
        for (status, reason) in [(429, "TooManyRequests"), (503, "ServiceUnavailable")] {
            let mut reply = reply(status, reason);
            reply.headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
            let Judged::Answer(Answer::Later { after, .. }) = judge(&reply, NOW) else {
                panic!("{status}");
            };
            assert_eq!(after, Some(Duration::from_secs(7)));
        }
    }

    #[test]
    fn a_body_that_is_not_apples_leaves_the_status() {
        let mut reply = reply(503, "");
        reply.body = Bytes::from("<html>");
        assert_eq!(
            judge(&reply, NOW),
            Judged::Answer(Answer::Later {
                reason: "503 Service Unavailable".to_owned(),
                after: None,
                scope: Scope::App,
            })
        );
    }
}
