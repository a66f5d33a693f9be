//! Too large: frames, headers and bodies past their limits, answered with the code that says so.

use std::time::Duration;

use serde_json::json;

use crate::bad_input::Scene;
use crate::harness::{RawSocket, client_id};

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_frame_of_64_kib_is_taken_and_one_more_byte_closes_with_1009() {
    let scene = Scene::new().await;
    let frame_of = |bytes: usize| {
        let empty = json!({"type": "ping", "ref": "big", "pad": ""}).to_string().len();
        json!({"type": "ping", "ref": "big", "pad": "x".repeat(bytes - empty)}).to_string()
    };
    scene.ann.send_text(&frame_of(65_536)).await;
    assert_eq!(scene.ann.expect("pong").await["ref"], "big");
    let socket = scene.room.users[0].connect().await;
    socket.send_text(&frame_of(65_537)).await;
    socket.expect_close(1009, PATIENCE).await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn even_after_megabytes_the_1009_arrives() {
    let scene = Scene::new().await;
    for megabytes in [1, 8] {
        let mut raw = scene.raw().await;
        // The server may cut what it reads too long; the code must come before.
        let _ = tokio::time::timeout(PATIENCE, raw.send(1, &vec![b'x'; megabytes << 20])).await;
        assert_eq!(raw.close_code(PATIENCE).await, Some(1009), "{megabytes} MiB");
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_large_frame_before_authentication_closes_with_1009_too() {
    let scene = Scene::new().await;
    let mut raw = RawSocket::connect(&scene.room.users[0].nodes()[0]).await;
    raw.request_upgrade("").await;
    assert_eq!(raw.status().await, Some(101));
    raw.send(1, &vec![b'x'; 100_000]).await.unwrap();
    assert_eq!(raw.close_code(PATIENCE).await, Some(1009));
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn huge_headers_are_refused() {
    let scene = Scene::new().await;
    let huge = format!("X-Huge: {}\r\n", "x".repeat(1 << 20));
    let many: String = (0..5_000).map(|it| format!("X-Header-{it}: x\r\n")).collect();
    for headers in [huge, many] {
        let mut raw = RawSocket::connect(&scene.room.users[0].nodes()[0]).await;
        let head = format!("GET /v1/ws HTTP/1.1\r\nHost: parley\r\n{headers}\r\n");
        let _ = tokio::time::timeout(PATIENCE, raw.write(head.as_bytes())).await;
        let status = tokio::time::timeout(PATIENCE, raw.status())
            .await
            .expect("an answer or the end");
        assert!(status.is_none_or(|it| (400..500).contains(&it)), "{status:?}");
    }
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413() {
    let scene = Scene::new().await;
    let api = &scene.room.users[0].api;
    let body = json!({"client_id": client_id(), "text": "x", "pad": "x".repeat(70_000)});
    api.send(&scene.room.id, &body).await.assert_problem(413, "too_large");
    let members: Vec<String> = (0..100_000).map(|it| format!("{it:0100}")).collect();
    let reply = api
        .post("/v1/conversations", &json!({"type": "group", "members": members}))
        .await;
    assert!(matches!(reply.status, 400 | 413), "{} {}", reply.status, reply.body);
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_message_in_fragments_is_taken_and_counts_as_one_frame() {
    let scene = Scene::new().await;
    let mut raw = scene.raw().await;
    raw.send_fragment(1, false, br#"{"type":"pi"#).await.unwrap();
    raw.send_fragment(0, true, br#"ng","ref":"f"}"#).await.unwrap();
    let mut pong = None;
    while pong.is_none() {
        let frame = raw.next(PATIENCE).await.expect("the socket stays");
        let json: serde_json::Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
        pong = Some(json).filter(|it| it["type"] == "pong");
    }
    assert_eq!(pong.unwrap()["ref"], "f");
    raw.send_fragment(1, false, &[b' '; 40_000]).await.unwrap();
    let _ = raw.send_fragment(0, true, &[b' '; 40_000]).await;
    assert_eq!(raw.close_code(PATIENCE).await, Some(1009));
    scene.assert_unharmed().await;
}
