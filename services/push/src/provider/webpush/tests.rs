//! Requests as a push service in this process gets them, opened as the browser would.

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::provider::testing::{Browser, EcKey, Says, Seen, Server, alert, push, says};
use crate::provider::tls::Versions;

async fn server(answer: impl Fn(&Seen) -> Says + Send + Sync + 'static) -> (Server, Arc<Mutex<Vec<Seen>>>) {
    speaking(&[b"h2"], answer).await
}

async fn speaking(
    alpn: &[&[u8]],
    answer: impl Fn(&Seen) -> Says + Send + Sync + 'static,
) -> (Server, Arc<Mutex<Vec<Seen>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = Server::speaking(alpn, 100, {
        let seen = seen.clone();
        move |it| {
            let said = answer(&it);
            seen.lock().push(it);
            async move { said }
        }
    })
    .await;
    (server, seen)
}

fn webpush(server: &Server, allow_private: bool) -> Webpush {
    let config = config::Webpush {
        key_file: Some(EcKey::new().file("webpush")),
        subject: Some("mailto:push@example.org".to_owned()),
        allow_private,
    };
    let tls = server.authority.client(Versions::Http2OrHttp1);
    Webpush::new(&config, &tls).unwrap().unwrap()
}

fn to(browser: &Browser, endpoint: &str) -> Push {
    let mut push = push(Content::Alert(alert()));
    push.address.token = browser.subscription(endpoint);
    push
}

/// A day before the expiry of the test's push.
const NOW: i64 = 1_800_000_000_000 - 86_400_000;

async fn attempt(webpush: &Webpush, push: &Push) -> Answer {
    webpush.attempt(push, Timestamp::from_millis(NOW)).await
}

#[tokio::test]
async fn a_push_is_one_request_that_the_browser_can_open() {
    for alpn in [b"h2".as_slice(), b"http/1.1"] {
        let (server, seen) = speaking(&[alpn], |_| says(201, "")).await;
        let browser = Browser::new();
        let push = to(&browser, &format!("{}/a/b?c=d", server.url));
        assert_eq!(attempt(&webpush(&server, true), &push).await, Answer::Accepted);
        let seen = seen.lock().pop().unwrap();
        assert_eq!(seen.path, "/a/b");
        for (name, value) in [
            ("ttl", "86400"),
            ("urgency", "high"),
            ("topic", topic("collapse").as_str()),
            ("content-encoding", "aes128gcm"),
        ] {
            assert_eq!(seen.header(name), value, "{name}");
        }
        assert!(seen.header("authorization").starts_with("vapid t=ey"));
        assert_eq!(browser.open(&seen.body)["body"], "Hello");
    }
}

#[tokio::test]
async fn a_long_message_is_shortened_and_not_refused() {
    let (server, seen) = server(|_| says(201, "")).await;
    let browser = Browser::new();
    let mut push = to(&browser, &format!("{}/x", server.url));
    push.content = Content::Alert(Alert {
        body: "ä".repeat(10_000),
        ..alert()
    });
    assert_eq!(attempt(&webpush(&server, true), &push).await, Answer::Accepted);
    let body = browser.open(&seen.lock().pop().unwrap().body);
    assert!(body["body"].as_str().unwrap().ends_with("ä…"));
}

#[tokio::test]
async fn a_badge_alone_is_not_sent_to_a_browser() {
    let (server, seen) = server(|_| says(201, "")).await;
    let mut push = to(&Browser::new(), &server.url);
    push.content = Content::Badge(1);
    let answer = attempt(&webpush(&server, true), &push).await;
    assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
    assert!(seen.lock().is_empty());
}

#[tokio::test]
async fn a_name_that_leads_into_the_network_is_not_connected_to() {
    let (server, seen) = server(|_| says(201, "")).await;
    let webpush = webpush(&server, false);
    // `localhost` would not even be looked up: the client is asked directly.
    let subscription = Subscription::parse(&Browser::new().subscription(&server.url), true).unwrap();
    let client = webpush.client(&subscription).unwrap();
    let request = Outgoing {
        path: subscription.endpoint.path.clone(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let answer: Answer = client.send(&request).await.unwrap_err().into();
    assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
    for endpoint in [server.url.as_str(), "https://127.0.0.1:1/", "https://10.0.0.1/"] {
        let answer = attempt(&webpush, &to(&Browser::new(), endpoint)).await;
        assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
    }
    assert!(seen.lock().is_empty());
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (other, others) = server(|_| says(201, "")).await;
    let url = other.url.clone();
    let (server, _) = server(move |_| says(307, "").with("location", &url)).await;
    let push = to(&Browser::new(), &format!("{}/x", server.url));
    let answer = attempt(&webpush(&server, true), &push).await;
    assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
    assert!(others.lock().is_empty());
}

#[tokio::test]
async fn subscriptions_of_one_origin_share_a_connection() {
    let (server, _) = server(|_| says(201, "")).await;
    let webpush = webpush(&server, true);
    for path in ["a", "b", "c"] {
        let push = to(&Browser::new(), &format!("{}/{path}", server.url));
        assert_eq!(attempt(&webpush, &push).await, Answer::Accepted);
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_topic_is_the_same_for_the_same_collapse_id() {
    assert_eq!(topic("a"), topic("a"));
    assert_ne!(topic("a"), topic("b"));
    assert_eq!(topic("a").len(), TOPIC_MOST);
}
