//! Who says nothing is let go: the ten seconds for authentication, and the heartbeat.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{RawSocket, What, shared, tuned};

const AUTHENTICATION: Duration = Duration::from_secs(10);

fn assert_at_deadline(after: Duration) {
    let allowed = AUTHENTICATION - Duration::from_millis(200)..AUTHENTICATION + Duration::from_secs(2);
    assert!(allowed.contains(&after), "ended after {after:?}");
}

#[tokio::test]
async fn a_socket_that_does_not_authenticate_is_closed_with_4408() {
    let ann = shared().await.user("ann").await;
    let began = Instant::now();
    let socket = ann.socket().anonymous().open().await;
    let closed = socket.expect_close(4408, Duration::from_secs(15)).await;
    assert_at_deadline(closed - began);
}

#[tokio::test]
async fn refused_frames_do_not_prolong_the_ten_seconds() {
    let ann = shared().await.user("ann").await;
    let began = Instant::now();
    let socket = ann.socket().anonymous().open().await;
    for frame in [json!({"type": "ping"}), json!({"type": "auth", "token": 7})] {
        tokio::time::sleep(Duration::from_secs(3)).await;
        socket.send(frame).await;
        socket.expect("error").await;
    }
    let closed = socket.expect_close(4408, Duration::from_secs(9)).await;
    assert_at_deadline(closed - began);
}

#[tokio::test]
async fn the_ten_seconds_run_from_the_accept_and_not_from_the_upgrade() {
    let deployment = shared().await;
    let began = Instant::now();
    let mut socket = RawSocket::connect(&deployment.nodes()[0]).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    socket.request_upgrade("").await;
    assert_eq!(socket.status().await, Some(101));
    assert_eq!(socket.close_code(Duration::from_secs(12)).await, Some(4408));
    assert_at_deadline(began.elapsed());
}

#[tokio::test]
async fn a_half_sent_upgrade_is_cut_after_ten_seconds() {
    let deployment = shared().await;
    let began = Instant::now();
    let mut socket = RawSocket::connect(&deployment.nodes()[0]).await;
    socket
        .write(b"GET /v1/ws HTTP/1.1\r\nHost: parley\r\nUpgrade: webso")
        .await
        .unwrap();
    assert!(socket.ends_within(Duration::from_secs(15)).await);
    assert_at_deadline(began.elapsed());
}

#[tokio::test]
async fn a_trickled_upgrade_is_cut_after_ten_seconds() {
    let deployment = shared().await;
    let began = Instant::now();
    let mut socket = RawSocket::connect(&deployment.nodes()[0]).await;
    socket.write(b"GET /v1/ws HTTP/1.1\r\n").await.unwrap();
    while began.elapsed() < Duration::from_secs(15) {
        if socket.write(b"X: y\r\n").await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_at_deadline(began.elapsed());
}

#[tokio::test]
async fn the_server_pings_every_heartbeat() {
    let ann = tuned().await.user("ann").await;
    let socket = ann.connect().await;
    assert_eq!(socket.ready["heartbeat_ms"], 1_000);
    for _ in 0..3 {
        let ping = |what: &What| matches!(what, What::Ping).then_some(());
        socket
            .frames
            .wait("a WebSocket ping", Duration::from_secs(2), ping)
            .await;
    }
    // Three heartbeats answered by pongs alone: still there.
    socket.assert_quiet().await;
}

#[tokio::test]
async fn a_socket_from_which_nothing_comes_is_closed_with_4408() {
    let ann = tuned().await.user("ann").await;
    let mut socket = RawSocket::connect(&ann.nodes()[0]).await;
    socket.upgrade(&ann.token).await;
    let began = Instant::now();
    assert_eq!(socket.close_code(Duration::from_secs(5)).await, Some(4408));
    let after = began.elapsed();
    assert!(
        (Duration::from_millis(1_400)..Duration::from_millis(3_000)).contains(&after),
        "{after:?}"
    );
}

#[tokio::test]
async fn a_silent_neighbour_costs_nobody_a_message() {
    let room = tuned().await.group(["ann", "bob", "eve"]).await;
    let mut silent = RawSocket::connect(&room.users[2].nodes()[0]).await;
    silent.upgrade(&room.users[2].token).await;
    let bob = room.users[1].connect().await;
    assert_eq!(silent.close_code(Duration::from_secs(5)).await, Some(4408));
    room.users[0].api.say(&room.id, "to the living").await;
    bob.expect_text("to the living").await;
}

#[tokio::test]
async fn websocket_pings_and_closes_are_answered() {
    let ann = shared().await.user("ann").await;
    let mut socket = RawSocket::connect(&ann.nodes()[0]).await;
    socket.upgrade(&ann.token).await;
    socket.send(9, b"are you there").await.unwrap();
    while socket
        .next(Duration::from_secs(5))
        .await
        .expect("the socket stays")
        .opcode
        != 10
    {}
    socket.send(8, &1000u16.to_be_bytes()).await.unwrap();
    assert_eq!(socket.close_code(Duration::from_secs(5)).await, Some(1000));
    assert!(socket.ends_within(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn who_says_nothing_but_still_takes_queued_events_is_not_closed() {
    let room = tuned().await.direct().await;
    let mut slow = RawSocket::connect_small(&room.users[1].nodes()[0]).await;
    slow.upgrade(&room.users[1].token).await;
    let ann = room.users[0].connect().await;
    let text = "\u{1F40C}".repeat(4_000);
    const EVENTS: usize = 400;
    ann.say_all(&room.id, std::iter::repeat_n(text.clone(), EVENTS)).await;
    // Takes 6 MB in about four heartbeats, and answers no ping meanwhile.
    let began = Instant::now();
    let mut taken = 0;
    while taken < EVENTS {
        let frame = slow.next(Duration::from_secs(5)).await.expect("still open");
        assert_eq!(
            frame.close_code(),
            None,
            "closed after {taken} events and {:?}",
            began.elapsed()
        );
        taken += usize::from(frame.payload.len() > text.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(3), "too fast to prove anything");
    assert_eq!(
        slow.close_code(Duration::from_secs(5)).await,
        Some(4408),
        "now it is only silent"
    );
}
