//! What a service worker is given of a push, before it is encrypted: as much JSON as `web-push` takes, which is less than
//! push services do.

use serde::Serialize;

use crate::provider::{Alert, cut};

/// The crate refuses more.
pub(super) const BYTES_MOST: usize = 3_052;

#[derive(Serialize)]
struct Payload<'a> {
    title: &'a str,
    body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<u32>,
    conversation_id: &'a str,
    server_id: &'a str,
    seq: u64,
    category: &'a str,
    /// A notification with the same one is replaced.
    tag: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

pub(super) fn payload(alert: &Alert, tag: &str) -> serde_json::Result<Vec<u8>> {
    cut::fit(BYTES_MOST, &alert.title, &alert.body, |title, body| {
        serde_json::to_vec(&Payload {
            title,
            body,
            badge: alert.badge,
            conversation_id: alert.conversation_id.as_str(),
            server_id: &alert.server_id,
            seq: alert.seq,
            category: alert.category,
            tag,
            traceparent: alert.traceparent.as_deref(),
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::testing;

    fn read(alert: &Alert) -> Value {
        serde_json::from_slice(&payload(alert, "collapse").unwrap()).unwrap()
    }

    #[test]
    fn an_alert_as_a_service_worker_gets_it() {
        let expected = json!({
            "title": "Ann",
            "body": "Hello",
            "badge": 3,
            "conversation_id": "d0123456789abcdef0123456789abcdef",
            "server_id": "0190a1b2",
            "seq": 7,
            "category": "message",
            "tag": "collapse",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        });
        assert_eq!(read(&testing::alert()), expected);
    }

    #[test]
    fn a_long_body_is_shortened_to_the_limit() {
        let alert = Alert {
            body: "ä\"\n👍".repeat(2_000),
            ..testing::alert()
        };
        let bytes = payload(&alert, "collapse").unwrap().len();
        assert!((BYTES_MOST - 8..=BYTES_MOST).contains(&bytes), "{bytes}");
        let read = read(&alert);
        assert!(
            alert
                .body
                .starts_with(read["body"].as_str().unwrap().strip_suffix('…').unwrap())
        );
    }
}
