//! Requests as a server in this process gets them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::provider::Content;
use crate::provider::testing::{EcKey, Says, Seen, Server, alert, push, says};
use crate::provider::tls::Versions;

const START: Timestamp = Timestamp::EPOCH;

fn minutes(minutes: i64) -> Timestamp {
    Timestamp::from_millis(minutes * 60_000)
}

async fn server(answer: impl Fn(&Seen) -> Says + Send + Sync + 'static) -> (Server, Arc<Mutex<Vec<Seen>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = Server::new({
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

fn apns(production: &Server, sandbox: &str) -> Apns {
    let config = config::Apns {
        url: production.url.clone(),
        sandbox_url: sandbox.to_owned(),
        key_file: Some(EcKey::new().file("apns")),
        key_id: Some("KEY".to_owned()),
        team_id: Some("TEAM".to_owned()),
        apps: vec!["org.example.app".to_owned()],
    };
    let tls = production.authority.client(Versions::Http2);
    Apns::new(&config, &tls, START).unwrap().unwrap()
}

fn to_device(content: Content) -> Push {
    let mut push = push(content);
    push.address.token = "abc123".to_owned();
    push.address.app = "org.example.app".to_owned();
    push
}

#[tokio::test]
async fn a_push_is_one_request_with_apples_headers() {
    let (server, seen) = server(|_| says(200, "")).await;
    let apns = apns(&server, &server.url);
    let push = to_device(Content::Alert(alert()));
    assert_eq!(apns.attempt(&push, START).await, Answer::Accepted);
    let seen = seen.lock().pop().unwrap();
    assert_eq!(seen.path, "/3/device/abc123");
    for (name, value) in [
        ("apns-topic", "org.example.app"),
        ("apns-push-type", "alert"),
        ("apns-priority", "10"),
        ("apns-expiration", "1800000000"),
        ("apns-collapse-id", "collapse"),
        ("apns-id", "0190a1b2-c3d4-7000-8000-000000000001"),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert!(seen.header("authorization").starts_with("bearer ey"));
    assert_eq!(seen.json()["aps"]["alert"]["body"], "Hello");
}

#[tokio::test]
async fn a_badge_alone_may_wait_for_power() {
    let (server, seen) = server(|_| says(200, "")).await;
    let apns = apns(&server, &server.url);
    assert_eq!(
        apns.attempt(&to_device(Content::Badge(4)), START).await,
        Answer::Accepted
    );
    let seen = seen.lock().pop().unwrap();
    assert_eq!(
        (seen.header("apns-push-type"), seen.header("apns-priority")),
        ("alert", "5")
    );
}

#[tokio::test]
async fn devices_of_the_sandbox_are_pushed_to_there() {
    let (server, seen) = server(|_| says(200, "")).await;
    let apns = apns(&server, "https://localhost:1");
    let mut push = to_device(Content::Badge(4));
    push.address.sandbox = true;
    assert!(matches!(apns.attempt(&push, START).await, Answer::Later { .. }));
    assert!(seen.lock().is_empty());
}

#[tokio::test]
async fn what_cannot_be_a_token_is_not_sent() {
    let (server, seen) = server(|_| says(200, "")).await;
    let apns = apns(&server, &server.url);
    for token in ["", "../../x", "a?b", "a b", "ä"] {
        let mut push = to_device(Content::Badge(4));
        push.address.token = token.to_owned();
        assert!(
            matches!(apns.attempt(&push, START).await, Answer::Gone { .. }),
            "{token}"
        );
    }
    assert!(seen.lock().is_empty());
}

#[tokio::test]
async fn other_apps_are_not_pushed_to() {
    let (server, seen) = server(|_| says(200, "")).await;
    let apns = apns(&server, &server.url);
    let mut push = to_device(Content::Badge(4));
    push.address.app = "org.example.other".to_owned();
    assert!(matches!(apns.attempt(&push, START).await, Answer::Refused { .. }));
    assert!(seen.lock().is_empty());
}

#[tokio::test]
async fn a_token_that_apple_takes_for_old_is_renewed_once_and_the_push_repeated() {
    let first = Arc::new(Mutex::new(String::new()));
    let (server, seen) = server({
        move |it: &Seen| {
            let token = it.header("authorization").to_owned();
            let mut first = first.lock();
            if first.is_empty() {
                first.clone_from(&token);
            }
            if *first == token {
                says(403, json!({ "reason": "ExpiredProviderToken" }))
            } else {
                says(200, "")
            }
        }
    })
    .await;
    let apns = apns(&server, &server.url);
    let push = to_device(Content::Alert(alert()));
    assert_eq!(apns.attempt(&push, minutes(25)).await, Answer::Accepted);
    assert_eq!(seen.lock().len(), 2);
    assert_eq!(apns.attempt(&push, minutes(26)).await, Answer::Accepted);
    assert_eq!(seen.lock().len(), 3);
}

#[tokio::test]
async fn a_clock_that_apple_does_not_share_is_our_fault() {
    let sent = Arc::new(AtomicUsize::new(0));
    let (server, _) = server({
        let sent = sent.clone();
        move |_: &Seen| {
            sent.fetch_add(1, Ordering::SeqCst);
            says(403, json!({ "reason": "ExpiredProviderToken" }))
        }
    })
    .await;
    let apns = apns(&server, &server.url);
    let push = to_device(Content::Alert(alert()));
    for (minute, requests) in [(5, 1), (25, 3), (30, 4)] {
        let answer = apns.attempt(&push, minutes(minute)).await;
        assert!(matches!(answer, Answer::OurFault { .. }), "{answer:?}");
        assert_eq!(sent.load(Ordering::SeqCst), requests);
    }
}
