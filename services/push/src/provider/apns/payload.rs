//! What Apple is given of a push: at most 4,096 bytes of JSON, the body shortened where it would be more.

use a2::request::payload::APS;
use a2::{DefaultNotificationBuilder, NotificationBuilder};
use serde::Serialize;

use crate::provider::{Alert, Content, cut};

const BYTES_MOST: usize = 4_096;

#[derive(Debug, Serialize)]
struct Payload<'a> {
    aps: Aps<'a>,
    #[serde(flatten)]
    data: Option<Data<'a>>,
}

/// a2 knows no threads.
#[derive(Debug, Serialize)]
struct Aps<'a> {
    #[serde(flatten)]
    aps: APS<'a>,
    #[serde(rename = "thread-id", skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
}

/// For the app.
#[derive(Debug, Serialize)]
struct Data<'a> {
    conversation_id: &'a str,
    server_id: &'a str,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

pub(super) fn payload(content: &Content) -> serde_json::Result<Vec<u8>> {
    match content {
        Content::Alert(alert) => cut::fit(BYTES_MOST, &alert.title, &alert.body, |title, body| {
            serde_json::to_vec(&of_alert(alert, title, body))
        }),
        Content::Badge(badge) => serde_json::to_vec(&of_badge(*badge)),
    }
}

fn of_alert<'a>(alert: &'a Alert, title: &'a str, body: &'a str) -> Payload<'a> {
    let builder = DefaultNotificationBuilder::new()
        .set_title(title)
        .set_body(body)
        .set_sound(alert.sound)
        .set_category(alert.category);
    let mut aps = builder.build("", a2::NotificationOptions::default()).aps;
    aps.badge = alert.badge;
    // a2 writes a zero.
    aps.mutable_content = None;
    Payload {
        aps: Aps {
            aps,
            thread_id: Some(alert.conversation_id.as_str()),
        },
        data: Some(Data {
            conversation_id: alert.conversation_id.as_str(),
            server_id: &alert.server_id,
            seq: alert.seq,
            traceparent: alert.traceparent.as_deref(),
        }),
    }
}

fn of_badge(badge: u32) -> Payload<'static> {
    let aps = APS {
        badge: Some(badge),
        content_available: Some(1),
        ..APS::default()
    };
    Payload {
        aps: Aps { aps, thread_id: None },
        data: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::testing::alert;

    fn read(content: &Content) -> Value {
        serde_json::from_slice(&payload(content).unwrap()).unwrap()
    }

    #[test]
    fn an_alert_as_apple_gets_it() {
        let expected = json!({
            "aps": {
                "alert": { "title": "Ann", "body": "Hello" },
                "badge": 3,
                "sound": "default",
                "category": "message",
                "thread-id": "d0123456789abcdef0123456789abcdef",
            },
            "conversation_id": "d0123456789abcdef0123456789abcdef",
            "server_id": "0190a1b2",
            "seq": 7,
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        });
        assert_eq!(read(&Content::Alert(alert())), expected);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let content = Content::Alert(Alert {
            badge: None,
            traceparent: None,
            ..alert()
        });
        let read = read(&content);
        assert_eq!(read["aps"].get("badge"), None);
        assert_eq!(read.get("traceparent"), None);
    }

    #[test]
    fn a_badge_alone_is_neither_seen_nor_heard() {
        assert_eq!(
            read(&Content::Badge(0)),
            json!({ "aps": { "badge": 0, "content-available": 1 } })
        );
    }

    #[test]
    fn a_long_body_is_shortened_to_the_limit() {
        let body = "ä\"\n👍".repeat(2_000);
        let content = Content::Alert(Alert {
            body: body.clone(),
            ..alert()
        });
        let bytes = payload(&content).unwrap().len();
        assert!((BYTES_MOST - 6..=BYTES_MOST).contains(&bytes), "{bytes}");
        let shown = read(&content);
        let shown = shown["aps"]["alert"]["body"].as_str().unwrap();
        assert!(body.starts_with(shown.strip_suffix('…').unwrap()));
    }
}
