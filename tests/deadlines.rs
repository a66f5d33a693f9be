//! Who says nothing is let go: the ten seconds for authentication, and the heartbeat.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Api, Lag, PATIENCE, RawSocket, What, lively, shared};

const AUTHENTICATION: Duration = Duration::from_secs(10);

fn assert_at_deadline(after: Duration, lag: &Lag) {
    assert!(
        after >= AUTHENTICATION - Duration::from_millis(200),
        "ended after {after:?}"
    );
    lag.assert_within(AUTHENTICATION + Duration::from_secs(2), after, "the deadline");
}

/// The heartbeat of [`lively`], and the silence after which it closes.
const HEARTBEAT: Duration = Duration::from_secs(6);
const SILENCE: Duration = Duration::from_secs(9);

#[tokio::test]
async fn a_socket_that_does_not_authenticate_is_closed_with_4408() {
    let ann = shared().await.user("ann").await;
    let lag = Lag::beside(&ann.api);
    let began = Instant::now();
    let socket = ann.socket().anonymous().open().await;
    let closed = socket.expect_close(4408, AUTHENTICATION + PATIENCE).await;
    assert_at_deadline(closed - began, &lag);
}

#[tokio::test]
async fn refused_frames_do_not_prolong_the_ten_seconds() {
    let ann = shared().await.user("ann").await;
    let lag = Lag::beside(&ann.api);
    let began = Instant::now();
    let socket = ann.socket().anonymous().open().await;
    for frame in [json!({"type": "ping"}), json!({"type": "auth", "token": 7})] {
        tokio::time::sleep(Duration::from_secs(3)).await;
        socket.send(frame).await;
        socket.expect("error").await;
    }
    let closed = socket.expect_close(4408, AUTHENTICATION + PATIENCE).await;
    assert_at_deadline(closed - began, &lag);
}

#[tokio::test]
async fn the_ten_seconds_run_from_the_accept_and_not_from_the_upgrade() {
    let deployment = shared().await;
    let lag = Lag::beside(&Api::new(&deployment.nodes()[0], ""));
    let began = Instant::now();
    let mut socket = RawSocket::connect(&deployment.nodes()[0]).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    socket.request_upgrade("").await;
    assert_eq!(socket.status().await, Some(101));
    assert_eq!(socket.close_code(AUTHENTICATION + PATIENCE).await, Some(4408));
    assert_at_deadline(began.elapsed(), &lag);
}

#[tokio::test]
async fn a_half_sent_upgrade_is_cut_after_ten_seconds() {
    let deployment = shared().await;
    let lag = Lag::beside(&Api::new(&deployment.nodes()[0], ""));
    let began = Instant::now();
    let mut socket = RawSocket::connect(&deployment.nodes()[0]).await;
    socket
        .write(b"GET /v1/ws HTTP/1.1\r\nHost: parley\r\nUpgrade: webso")
        .await
        .unwrap();
    assert!(socket.ends_within(AUTHENTICATION + PATIENCE).await);
    assert_at_deadline(began.elapsed(), &lag);
}

#[tokio::test]
async fn a_trickled_upgrade_is_cut_after_ten_seconds() {
    let deployment = shared().await;
    let lag = Lag::beside(&Api::new(&deployment.nodes()[0], ""));
    let began = Instant::now();
    let mut socket = RawSocket::connect(&deployment.nodes()[0]).await;
    socket.write(b"GET /v1/ws HTTP/1.1\r\n").await.unwrap();
    while began.elapsed() < AUTHENTICATION + PATIENCE {
        if socket.write(b"X: y\r\n").await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_at_deadline(began.elapsed(), &lag);
}

#[tokio::test]
async fn the_server_pings_every_heartbeat() {
    let ann = lively().await.user("ann").await;
    let lag = Lag::beside(&ann.api);
    let began = Instant::now();
    let socket = ann.connect().await;
    assert_eq!(socket.ready["heartbeat_ms"], 6_000);
    for number in 1..=2 {
        let ping = |what: &What| matches!(what, What::Ping).then_some(());
        let (_, at) = socket.frames.wait("a WebSocket ping", HEARTBEAT + PATIENCE, ping).await;
        let (due, after) = (number * HEARTBEAT, at - began);
        assert!(
            after >= due - Duration::from_millis(100),
            "ping {number} after {after:?}"
        );
        lag.assert_within(due + Duration::from_secs(1), after, "a ping");
    }
    // Longer than the silence after which it closes, and answered by pongs alone: still there.
    socket.assert_quiet().await;
}

#[tokio::test]
async fn a_socket_from_which_nothing_comes_is_closed_with_4408() {
    let ann = lively().await.user("ann").await;
    let lag = Lag::beside(&ann.api);
    let mut socket = RawSocket::connect(&ann.nodes()[0]).await;
    let began = Instant::now();
    socket.upgrade(&ann.token).await;
    assert_eq!(socket.close_code(SILENCE + PATIENCE).await, Some(4408));
    let after = began.elapsed();
    assert!(after >= SILENCE - Duration::from_millis(100), "{after:?}");
    lag.assert_within(SILENCE + Duration::from_millis(1_500), after, "the close");
}

#[tokio::test]
async fn a_silent_neighbour_costs_nobody_a_message() {
    let room = lively().await.group(["ann", "bob", "eve"]).await;
    let mut silent = RawSocket::connect(&room.users[2].nodes()[0]).await;
    silent.upgrade(&room.users[2].token).await;
    let bob = room.users[1].connect().await;
    assert_eq!(silent.close_code(SILENCE + PATIENCE).await, Some(4408));
    room.users[0].api.say(&room.id, "to the living").await;
    bob.expect_text("to the living").await;
}

#[tokio::test]
async fn websocket_pings_and_closes_are_answered() {
    let ann = shared().await.user("ann").await;
    let mut socket = RawSocket::connect(&ann.nodes()[0]).await;
    socket.upgrade(&ann.token).await;
    socket.send(9, b"are you there").await.unwrap();
    while socket.next(PATIENCE).await.expect("the socket stays").opcode != 10 {}
    socket.send(8, &1000u16.to_be_bytes()).await.unwrap();
    assert_eq!(socket.close_code(PATIENCE).await, Some(1000));
    assert!(socket.ends_within(PATIENCE).await);
}

#[tokio::test]
async fn who_says_nothing_but_still_takes_queued_events_is_not_closed() {
    let room = lively().await.direct().await;
    let mut slow = RawSocket::connect_small(&room.users[1].nodes()[0]).await;
    slow.upgrade(&room.users[1].token).await;
    let ann = room.users[0].connect().await;
    let text = "\u{1F40C}".repeat(4_000);
    const EVENTS: usize = 400;
    ann.say_all(&room.id, std::iter::repeat_n(text.clone(), EVENTS)).await;
    // Takes 6 MB in more than the silence after which it closes, and answers no ping meanwhile.
    let began = Instant::now();
    let mut taken = 0;
    while taken < EVENTS {
        let frame = slow.next(PATIENCE).await.expect("still open");
        assert_eq!(
            frame.close_code(),
            None,
            "closed after {taken} events and {:?}",
            began.elapsed()
        );
        taken += usize::from(frame.payload.len() > text.len());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert!(
        began.elapsed() > SILENCE + Duration::from_secs(2),
        "too fast to prove anything"
    );
    assert_eq!(
        slow.close_code(SILENCE + PATIENCE).await,
        Some(4408),
        "now it is only silent"
    );
}
