//! Responses of push services, by their status (RFC 8030). A 401 or 403 may be our key, or a subscription that was made with
//! another one, as anybody can have: nobody else's pushes wait before that is clear.

use protocol::Timestamp;

use crate::provider::failure::retry_after;
use crate::provider::http2::Reply;
use crate::provider::{Answer, Scope};

pub(super) fn judge(reply: &Reply, now: Timestamp) -> Answer {
    let reason = reply.status.to_string();
    let after = retry_after(&reply.headers, now);
    let later = |reason, scope| Answer::Later { reason, after, scope };
    match reply.status.as_u16() {
        200..=299 => Answer::Accepted,
        404 | 410 => Answer::Gone { reason, since: None },
        401 | 403 => later(reason, Scope::Either),
        429 => later(reason, Scope::Device),
        408 | 500.. => later(reason, Scope::App),
        // Redirects too: they would lead past the check of the endpoint.
        _ => Answer::Refused { reason },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode, header};

    use super::*;

    fn judged(status: u16, retry_after: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        headers.extend(retry_after.map(|it| (header::RETRY_AFTER, it.parse().unwrap())));
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::new(),
        };
        judge(&reply, Timestamp::EPOCH)
    }

    #[test]
    fn every_status_has_its_answer() {
        for (status, expected) in [
            (200, "Accepted"),
            (201, "Accepted"),
            (202, "Accepted"),
            (301, "Refused"),
            (307, "Refused"),
            (400, "Refused"),
            (401, "Later"),
            (403, "Later"),
            (404, "Gone"),
            (408, "Later"),
            (410, "Gone"),
            (413, "Refused"),
            (429, "Later"),
            (500, "Later"),
            (503, "Later"),
        ] {
            let answer = format!("{:?}", judged(status, None));
            assert!(answer.starts_with(expected), "{status}: {answer}");
        }
    }

    #[test]
    fn too_many_requests_are_of_the_device_and_troubles_of_the_service() {
        for (status, its) in [(429, Scope::Device), (503, Scope::App)] {
            let Answer::Later { after, scope, .. } = judged(status, Some("30")) else {
                panic!("{status}");
            };
            assert_eq!((after, scope), (Some(Duration::from_secs(30)), its));
        }
    }
}
