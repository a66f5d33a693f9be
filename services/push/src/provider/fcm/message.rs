//! What Google is given of a push: `{"message": …}`, its parts at most 4,096 bytes, the body shortened where it would be
//! more. Counted is the whole message without the token, a little more than Google counts.

use std::collections::HashMap;

use fcm_v1::android::{AndroidConfig, AndroidMessagePriority, AndroidNotification};
use fcm_v1::message::{Message, Notification};
use protocol::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::provider::{Alert, Content, Push, cut};

const BYTES_MOST: usize = 4_096;

/// Google keeps nothing for longer.
const TTL_SECONDS_MOST: i64 = 28 * 24 * 60 * 60;

#[derive(Serialize)]
struct Body<'a> {
    message: &'a Message,
}

pub(super) fn message(push: &Push, now: Timestamp) -> serde_json::Result<Vec<u8>> {
    let mut message = Message {
        token: Some(push.address.token.clone()),
        ..Message::default()
    };
    match &push.content {
        Content::Alert(alert) => {
            let without_token = r#"{"message":{"token":}}"#.len() + serde_json::to_string(&message.token)?.len();
            fill(&mut message, push, alert, now);
            cut::fit(BYTES_MOST + without_token, &alert.title, &alert.body, |title, body| {
                message.notification = Some(Notification {
                    title: Some(title.to_owned()),
                    body: Some(body.to_owned()),
                    image: None,
                });
                serde_json::to_vec(&Body { message: &message })
            })
        }
        Content::Badge(badge) => {
            message.android = Some(android(push, AndroidMessagePriority::Normal, now));
            message.data = Some(HashMap::from([text("badge", badge)]));
            serde_json::to_vec(&Body { message: &message })
        }
    }
}

/// All but the two texts.
fn fill(message: &mut Message, push: &Push, alert: &Alert, now: Timestamp) {
    let mut data = HashMap::from([
        text("conversation_id", alert.conversation_id.as_str()),
        text("server_id", &alert.server_id),
        text("seq", alert.seq),
    ]);
    data.extend(alert.traceparent.as_ref().map(|it| text("traceparent", it)));
    data.extend(alert.badge.map(|it| text("badge", it)));
    message.data = Some(data);
    message.android = Some(AndroidConfig {
        notification: Some(AndroidNotification {
            sound: Some(alert.sound.to_owned()),
            tag: Some(push.collapse_id.clone()),
            click_action: Some(alert.category.to_owned()),
            channel_id: Some(alert.category.to_owned()),
            // As much as the crate's type holds; launchers show "99+" anyway, and the app finds the number in the data.
            notification_count: alert.badge.map(|it| i8::try_from(it).unwrap_or(i8::MAX)),
            ..AndroidNotification::default()
        }),
        ..android(push, AndroidMessagePriority::High, now)
    });
}

fn android(push: &Push, priority: AndroidMessagePriority, now: Timestamp) -> AndroidConfig {
    let left = (push.expires_at.as_millis() - now.as_millis()) / 1_000;
    AndroidConfig {
        collapse_key: Some(push.collapse_id.clone()),
        priority: Some(priority),
        ttl: Some(format!("{}s", left.clamp(0, TTL_SECONDS_MOST))),
        ..AndroidConfig::default()
    }
}

/// Google takes nothing but strings.
fn text(name: &str, value: impl ToString) -> (String, Value) {
    (name.to_owned(), Value::String(value.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::testing;

    /// A day before the expiry of the test's push.
    const NOW: i64 = 1_800_000_000_000 - 86_400_000;

    fn push(content: Content) -> Push {
        let mut push = testing::push(content);
        push.address.token = "token".to_owned();
        push
    }

    fn read(push: &Push, now: i64) -> Value {
        serde_json::from_slice(&message(push, Timestamp::from_millis(now)).unwrap()).unwrap()
    }

    #[test]
    fn an_alert_as_google_gets_it() {
        let expected = json!({
            "message": {
                "token": "token",
                "notification": { "title": "Ann", "body": "Hello" },
                "data": {
                    "conversation_id": "d0123456789abcdef0123456789abcdef",
                    "server_id": "0190a1b2",
                    "seq": "7",
                    "badge": "3",
                    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                },
                "android": {
                    "collapse_key": "collapse",
                    "priority": "HIGH",
                    "ttl": "86400s",
                    "notification": {
                        "sound": "default",
                        "tag": "collapse",
                        "click_action": "message",
                        "channel_id": "message",
                        "notification_count": 3,
                    },
                },
            },
        });
        assert_eq!(read(&push(Content::Alert(testing::alert())), NOW), expected);
    }

    #[test]
    fn a_badge_alone_is_data_that_may_wait() {
        let expected = json!({
            "message": {
                "token": "token",
                "data": { "badge": "300" },
                "android": { "collapse_key": "collapse", "priority": "NORMAL", "ttl": "86400s" },
            },
        });
        assert_eq!(read(&push(Content::Badge(300)), NOW), expected);
    }

    #[test]
    fn a_count_beyond_the_types_is_its_largest_and_whole_in_the_data() {
        let content = Content::Alert(Alert {
            badge: Some(300),
            ..testing::alert()
        });
        let read = read(&push(content), NOW);
        assert_eq!(read["message"]["android"]["notification"]["notification_count"], 127);
        assert_eq!(read["message"]["data"]["badge"], "300");
    }

    #[test]
    fn it_is_kept_until_it_expires_and_not_beyond_googles_limit() {
        let push = push(Content::Badge(1));
        for (now, ttl) in [(NOW + 86_399_000, "1s"), (NOW + 90_000_000, "0s"), (0, "2419200s")] {
            assert_eq!(read(&push, now)["message"]["android"]["ttl"], ttl);
        }
    }

    #[test]
    fn a_long_body_is_shortened_and_a_long_token_is_not_counted() {
        for token in ["t", &"t".repeat(1_000)] {
            let body = "ä\"\n👍".repeat(2_000);
            let mut push = push(Content::Alert(Alert {
                body: body.clone(),
                ..testing::alert()
            }));
            push.address.token = token.to_owned();
            let mut read = read(&push, NOW);
            let shown = read["message"]["notification"]["body"].as_str().unwrap();
            assert!(body.starts_with(shown.strip_suffix('…').unwrap()));
            read["message"].as_object_mut().unwrap().remove("token");
            let bytes = read["message"].to_string().len();
            assert!((BYTES_MOST - 8..=BYTES_MOST).contains(&bytes), "{bytes}");
        }
    }
}
