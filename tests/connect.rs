//! Opening a socket: the ways to authenticate, what `ready` says, and what a browser may.

use serde_json::{Value, json};

use crate::harness::{Client, shared, tuned};

fn is_timestamp(value: &Value) -> bool {
    // RFC 3339, UTC, milliseconds: 2026-01-31T23:59:59.123Z
    let text = value.as_str().unwrap_or_default();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

#[tokio::test]
async fn a_header_gives_ready_at_once() {
    let ann = shared().await.user("ann").await;
    let socket = ann.connect().await;
    assert_eq!(socket.frames.all()[0]["type"], "ready", "nothing comes before ready");
    assert_eq!(socket.ready["user_id"], ann.id.as_str());
}

#[tokio::test]
async fn a_first_frame_gives_ready() {
    let ann = shared().await.user("ann").await;
    let socket = ann.socket().first_frame().connect().await;
    assert_eq!(socket.frames.all()[0]["type"], "ready", "nothing comes before ready");
    assert_eq!(socket.ready["user_id"], ann.id.as_str());
}

#[tokio::test]
async fn ready_has_every_field_of_the_contract() {
    let ann = shared().await.user("ann").await;
    let ready = ann.connect().await.ready.clone();
    for field in ["session_id", "user_id", "device_id", "cursor"] {
        assert!(
            ready[field].as_str().is_some_and(|it| !it.is_empty()),
            "{field}: {ready}"
        );
    }
    assert_eq!(ready["resumed"], false);
    assert_eq!(ready["heartbeat_ms"], 20_000);
    assert!(is_timestamp(&ready["timestamp"]), "{ready}");
    assert_eq!(ready["limits"]["frame_bytes"], 65_536);
    assert_eq!(ready["limits"]["text_chars"], 4_000);
    assert_eq!(ready["limits"]["sends_per_second"], 50);
}

#[tokio::test]
async fn ready_echoes_the_ref_of_auth() {
    let ann = shared().await.user("ann").await;
    let socket = ann.socket().anonymous().open().await;
    socket
        .send(json!({"type": "auth", "token": ann.token, "ref": "r-1"}))
        .await;
    assert_eq!(socket.expect("ready").await["ref"], "r-1");
}

#[tokio::test]
async fn every_ready_is_followed_by_a_checkpoint() {
    let ann = shared().await.user("ann").await;
    let socket = ann.connect().await;
    assert!(socket.expect("checkpoint").await["cursor"].is_string());
}

#[tokio::test]
async fn a_device_id_is_kept_by_header_and_by_first_frame() {
    let ann = shared().await.user("ann").await;
    let by_header = ann.socket().device("phone-1").connect().await;
    assert_eq!(by_header.ready["device_id"], "phone-1");
    let by_frame = ann.socket().device("phone-2").first_frame().connect().await;
    assert_eq!(by_frame.ready["device_id"], "phone-2");
}

#[tokio::test]
async fn without_a_device_id_every_socket_is_given_one() {
    let ann = shared().await.user("ann").await;
    let (one, other) = (ann.connect().await, ann.connect().await);
    assert_ne!(one.ready["device_id"], other.ready["device_id"]);
    assert_ne!(one.ready["session_id"], other.ready["session_id"]);
}

#[tokio::test]
async fn two_sockets_with_one_device_id_are_both_live() {
    let room = shared().await.direct().await;
    let one = room.users[1].socket().device("phone").connect().await;
    let other = room.users[1].socket().device("phone").node(1).connect().await;
    room.users[0].api.say(&room.id, "to both").await;
    one.expect_text("to both").await;
    other.expect_text("to both").await;
}

#[tokio::test]
async fn state_is_taken_in_silence() {
    let ann = shared().await.user("ann").await;
    let socket = ann.connect().await;
    socket.send(json!({"type": "state", "state": "background"})).await;
    socket.assert_quiet().await;
    socket
        .send(json!({"type": "state", "state": "asleep", "ref": "s"}))
        .await;
    assert_eq!(socket.expect_error("invalid").await["ref"], "s");
}

#[tokio::test]
async fn a_ping_is_answered_with_its_ref() {
    let ann = shared().await.user("ann").await;
    let socket = ann.connect().await;
    socket.send(json!({"type": "ping", "ref": "p-1"})).await;
    let pong = socket.expect("pong").await;
    assert_eq!(pong["ref"], "p-1");
    assert!(is_timestamp(&pong["timestamp"]), "{pong}");
}

#[tokio::test]
async fn a_ping_without_a_ref_is_answered_without_one() {
    let ann = shared().await.user("ann").await;
    let socket = ann.connect().await;
    socket
        .send(json!({"type": "ping", "some_field": {"of": ["a later version"]}}))
        .await;
    assert_eq!(socket.expect("pong").await.get("ref"), None);
}

#[tokio::test]
async fn a_frame_before_authentication_is_refused_and_auth_still_works() {
    let ann = shared().await.user("ann").await;
    let socket = ann.socket().anonymous().open().await;
    for frame in [json!({"type": "ping", "ref": 7}), json!({"type": "no:such", "ref": 7})] {
        socket.send(frame).await;
        assert_eq!(socket.expect_error("unauthenticated").await["ref"], 7);
    }
    authenticate(&socket, &ann.token).await;
}

#[tokio::test]
async fn an_auth_with_a_wrong_field_is_invalid_and_the_next_one_works() {
    let ann = shared().await.user("ann").await;
    let wrong = [
        json!({"type": "auth", "ref": "r"}),
        json!({"type": "auth", "ref": "r", "token": {}}),
        json!({"type": "auth", "ref": "r", "token": ann.token, "device_id": 7}),
        json!({"type": "auth", "ref": "r", "token": ann.token, "resume": ["x"]}),
        json!({"type": "auth", "ref": "r", "token": ann.token, "state": "asleep"}),
        json!({"type": "auth", "ref": "r", "token": ann.token, "device_id": "d".repeat(10_000)}),
    ];
    let socket = ann.socket().anonymous().open().await;
    for frame in wrong {
        socket.send(frame).await;
        assert_eq!(socket.expect_error("invalid").await["ref"], "r");
    }
    socket.send(json!({"type": "ping"})).await;
    socket.expect_error("unauthenticated").await;
    authenticate(&socket, &ann.token).await;
}

async fn authenticate(socket: &Client, token: &str) {
    socket.send(json!({"type": "auth", "token": token})).await;
    socket.expect("ready").await;
    socket.barrier().await;
}

#[tokio::test]
async fn a_token_in_the_query_counts_only_where_it_is_switched_on() {
    let ann = shared().await.user("ann").await;
    let socket = ann.socket().query_token().open().await;
    socket.send(json!({"type": "ping"})).await;
    socket.expect_error("unauthenticated").await;
    authenticate(&socket, &ann.token).await;

    let bob = tuned().await.user("bob").await;
    assert_eq!(
        bob.socket().query_token().connect().await.ready["user_id"],
        bob.id.as_str()
    );
}

#[tokio::test]
async fn by_default_a_browser_may_come_from_the_same_origin_only() {
    let ann = shared().await.user("ann").await;
    ann.socket().origin(&ann.nodes()[0]).connect().await;
    assert_eq!(ann.socket().origin("https://evil.example").refused().await, 403);
    assert_eq!(ann.socket().origin("null").refused().await, 403);
}

#[tokio::test]
async fn only_the_exact_origins_of_the_list_may_come() {
    let ann = tuned().await.user("ann").await;
    ann.socket().origin("https://app.example").connect().await;
    ann.socket().origin("https://other.example").connect().await;
    let near = [
        "http://app.example",
        "https://app.example:444",
        "https://app.example.evil.example",
        "https://evil-app.example",
        "https://sub.app.example",
    ];
    for origin in near {
        assert_eq!(ann.socket().origin(origin).refused().await, 403, "{origin}");
    }
}

#[tokio::test]
async fn what_is_sent_right_after_auth_waits_for_it() {
    let room = shared().await.direct().await;
    let socket = room.users[0].socket().anonymous().open().await;
    socket.send(json!({"type": "auth", "token": room.users[0].token})).await;
    let id = socket.send_message(&room.id, "in one breath").await;
    socket.wait_ack(&id).await;
    let first = socket.frames.all()[0].clone();
    assert_eq!(first["type"], "ready", "{first}");
}

#[tokio::test]
async fn what_is_sent_right_after_the_upgrade_waits_for_ready() {
    let room = shared().await.direct().await;
    let socket = room.users[0].socket().open().await;
    let id = socket.send_message(&room.id, "in one breath").await;
    socket.wait_ack(&id).await;
    assert_eq!(socket.frames.all()[0]["type"], "ready");
}
