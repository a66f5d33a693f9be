//! Tokens: the bad ones, renewal on a live socket, and their end.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::{Client, Lag, PATIENCE, User, shared};

/// The claims of a good token, to be signed otherwise.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT has three parts");
    serde_json::from_slice(&BASE64.decode(payload).unwrap()).unwrap()
}

fn unsigned(claims: &Value, algorithm: &str) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    format!("{}.{}.", part(&json!({"alg": algorithm, "typ": "JWT"})), part(claims))
}

/// Each way in which a token can be bad, made from a good one.
fn bad_tokens(good: &str) -> Vec<(&'static str, String)> {
    let parts: Vec<&str> = good.split('.').collect();
    let mut other_user = claims(good);
    other_user["sub"] = json!("somebody-else");
    let forged = BASE64.encode(other_user.to_string());
    let foreign_key = EncodingKey::from_secret(b"not the key of this deployment at all");
    let foreign = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(good), &foreign_key).unwrap();
    vec![
        ("garbage", "garbage".into()),
        ("three dots", "...".into()),
        ("a foreign key", foreign),
        ("alg none", unsigned(&claims(good), "none")),
        ("alg None", unsigned(&claims(good), "None")),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        (
            "another's name under the same signature",
            format!("{}.{forged}.{}", parts[0], parts[2]),
        ),
        ("cut", good[..good.len() - 4].into()),
    ]
}

async fn assert_refused(socket: Client, what: &str) {
    let error = socket.expect_error("unauthenticated").await;
    assert!(
        !error["message"].as_str().unwrap().contains("eyJ"),
        "{what}: a token in an error: {error}"
    );
    socket.expect_close(4401, PATIENCE).await;
    let ready = socket.frames.all().iter().any(|it| it["type"] == "ready");
    assert!(!ready, "{what}: let in");
}

#[tokio::test]
async fn a_bad_token_in_the_header_is_upgraded_told_and_closed_with_4401() {
    let ann = shared().await.user("ann").await;
    for (what, token) in bad_tokens(&ann.token) {
        assert_refused(ann.socket().token(&token).open().await, what).await;
    }
}

#[tokio::test]
async fn a_bad_token_in_the_first_frame_is_told_and_closed_with_4401() {
    let ann = shared().await.user("ann").await;
    for (what, token) in bad_tokens(&ann.token) {
        assert_refused(ann.socket().token(&token).first_frame().open().await, what).await;
    }
}

#[tokio::test]
async fn a_bad_token_is_401_over_http() {
    let ann = shared().await.user("ann").await;
    for (_, token) in bad_tokens(&ann.token) {
        ann.api
            .with_token(&token)
            .get("/v1/conversations")
            .await
            .assert_problem(401, "unauthenticated");
    }
    ann.api
        .with_token("")
        .get("/v1/conversations")
        .await
        .assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn an_expired_token_is_refused_by_socket_and_by_http() {
    let deployment = shared().await;
    let ann = deployment.user("ann").await;
    let token = deployment.token_with(&ann.id, &["--ttl", "1s"]).await;
    // One second of life and the five of leeway that the contract allows at most.
    tokio::time::sleep(Duration::from_millis(6_500)).await;
    assert_refused(ann.socket().token(&token).open().await, "expired").await;
    ann.api
        .with_token(&token)
        .get("/v1/conversations")
        .await
        .assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn at_the_tokens_end_the_socket_is_closed_with_4401() {
    let deployment = shared().await;
    let ann = deployment.user("ann").await;
    let lag = Lag::beside(&ann.api);
    let made = Instant::now();
    let token = deployment.token_with(&ann.id, &["--ttl", "2s"]).await;
    let began = Instant::now();
    let socket = ann.socket().token(&token).connect().await;
    let closed = socket.expect_close(4401, 2 * PATIENCE).await;
    // `exp` is in whole seconds, and the leeway is at most 5.
    assert!(closed - made >= Duration::from_millis(900), "{:?}", closed - made);
    lag.assert_within(Duration::from_millis(7_700), closed - began, "the close");
}

#[tokio::test]
async fn renewal_keeps_the_session_and_prolongs_it() {
    let deployment = shared().await;
    let ann = deployment.user("ann").await;
    let short = deployment.token_with(&ann.id, &["--ttl", "2s"]).await;
    let socket = ann.socket().token(&short).connect().await;
    renew(&socket, &ann.token).await;
    let ready = socket.expect("ready").await;
    assert_eq!(ready["session_id"], socket.ready["session_id"]);
    // Past the old token's end and its leeway.
    tokio::time::sleep(Duration::from_secs(8)).await;
    socket.assert_quiet().await;
}

async fn renew(socket: &Client, token: &str) {
    socket
        .send(json!({"type": "auth", "token": token, "ref": "renewal"}))
        .await;
}

async fn assert_still_works(socket: &Client, user: &User, room: &str) {
    let ack = socket.say(room, "still me").await;
    let history = user.api.history(room, "limit=1").await.ok();
    assert_eq!(history["messages"][0]["sender_id"], user.id.as_str());
    assert_eq!(history["messages"][0]["seq"], ack["seq"]);
}

#[tokio::test]
async fn renewal_answers_with_the_last_checkpoint_and_nothing_more() {
    let room = shared().await.direct().await;
    let socket = room.users[0].connect().await;
    room.users[1].api.say(&room.id, "hello").await;
    socket.expect_text("hello").await;
    socket.settled_cursor().await;
    let seen = socket.frames.all().len();
    // Its `resume` is ignored: neither a resync nor a replay.
    for resume in [socket.ready["cursor"].clone(), json!("garbage")] {
        socket
            .send(json!({"type": "auth", "token": room.users[0].token, "resume": resume}))
            .await;
        let ready = socket.expect("ready").await;
        let all = socket.frames.all();
        let before = &all[..all.iter().rposition(|it| *it == ready).unwrap()];
        let checkpoint = before.iter().rfind(|it| it["type"] == "checkpoint").unwrap();
        assert_eq!(ready["cursor"], checkpoint["cursor"]);
    }
    socket.assert_quiet().await;
    let mut more = socket.frames.all().split_off(seen);
    more.retain(|it| !matches!(it["type"].as_str(), Some("ready" | "pong" | "checkpoint")));
    assert!(more.is_empty(), "nothing more: {more:?}");
}

#[tokio::test]
async fn renewal_with_another_users_token_is_forbidden_and_the_old_one_stands() {
    let room = shared().await.direct().await;
    let socket = room.users[0].connect().await;
    renew(&socket, &room.users[1].token).await;
    assert_eq!(socket.expect_error("forbidden").await["ref"], "renewal");
    assert_still_works(&socket, &room.users[0], &room.id).await;
}

#[tokio::test]
async fn renewal_with_a_bad_token_is_unauthenticated_and_the_old_one_stands() {
    let room = shared().await.direct().await;
    let socket = room.users[0].connect().await;
    for (_, token) in bad_tokens(&room.users[0].token) {
        renew(&socket, &token).await;
        assert_eq!(socket.expect_error("unauthenticated").await["ref"], "renewal");
    }
    assert_still_works(&socket, &room.users[0], &room.id).await;
}

#[tokio::test]
async fn renewal_with_a_wrong_field_is_invalid_and_the_old_one_stands() {
    let room = shared().await.direct().await;
    let socket = room.users[0].connect().await;
    socket.send(json!({"type": "auth", "token": 7, "ref": "renewal"})).await;
    assert_eq!(socket.expect_error("invalid").await["ref"], "renewal");
    assert_still_works(&socket, &room.users[0], &room.id).await;
}
