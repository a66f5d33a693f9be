//! Idempotent sends: a retry, at any time and anywhere, gets the original answer, and nobody sees the message twice.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::{NoContext, Timestamp, Uuid};

use crate::harness::{Client, Room, client_id, message, shared, tuned};

/// Past the tuned deployment's duplicate window of two seconds, and past the server's own rounding of it.
const PAST_THE_WINDOW: Duration = Duration::from_millis(4_500);

fn retry(client_id: &str, room: &str, text: &str) -> Value {
    let mut frame = message(client_id, room, text);
    frame["retry"] = json!(true);
    frame
}

fn assert_original(again: &Value, original: &Value) {
    for field in ["client_id", "server_id", "conversation_id", "seq", "timestamp"] {
        assert_eq!(again[field], original[field], "{field}");
    }
    assert_eq!(again["duplicate"], true);
}

/// The other member sees a message sent now, and nothing between the original and it.
async fn assert_seen_once(room: &Room<2>, bob: &Client, text: &str) {
    bob.expect_text(text).await;
    room.users[0].api.say(&room.id, "and then").await;
    bob.expect_text("and then").await;
    bob.assert_quiet().await;
}

#[tokio::test]
async fn a_retry_gets_the_original_answer_whatever_its_text() {
    let room = shared().await.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    let id = ann.send_message(&room.id, "once").await;
    let original = ann.wait_ack(&id).await;
    for text in ["once", "another text"] {
        ann.send(retry(&id, &room.id, text)).await;
        assert_original(&ann.wait_ack(&id).await, &original);
    }
    assert_seen_once(&room, &bob, "once").await;
}

#[tokio::test]
async fn a_repetition_that_is_not_marked_as_a_retry_gets_the_original_answer_too() {
    let room = shared().await.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    let id = ann.send_message(&room.id, "once").await;
    let original = ann.wait_ack(&id).await;
    ann.send(message(&id, &room.id, "once")).await;
    assert_original(&ann.wait_ack(&id).await, &original);
    assert_seen_once(&room, &bob, "once").await;
}

#[tokio::test]
async fn a_retry_on_the_other_node_and_after_other_messages_gets_the_original_answer() {
    let room = shared().await.direct().await;
    let (ann, elsewhere) = (room.users[0].connect().await, room.users[0].connect_at(1).await);
    let id = ann.send_message(&room.id, "once").await;
    let original = ann.wait_ack(&id).await;
    for number in 0..5 {
        room.users[1].api.say(&room.id, &number.to_string()).await;
    }
    elsewhere.send(retry(&id, &room.id, "once")).await;
    assert_original(&elsewhere.wait_ack(&id).await, &original);
}

#[tokio::test]
async fn a_repetition_over_http_is_200_with_the_original_answer() {
    let room = shared().await.direct().await;
    let body = json!({"client_id": client_id(), "text": "once"});
    let original = room.users[0].api.send(&room.id, &body).await.ok();
    let again = room.users[0].api_at(1).send(&room.id, &body).await;
    assert_eq!(again.status, 200);
    assert_original(&again.body, &original);
}

#[tokio::test]
async fn one_client_id_on_several_sockets_of_both_nodes_at_once_is_one_message() {
    let room = shared().await.direct().await;
    let bob = room.users[1].connect().await;
    let sockets = join_all((0..6).map(|it| room.users[0].connect_at(it % 2))).await;
    for round in 0..5 {
        let id = client_id();
        join_all(
            sockets
                .iter()
                .map(|it| it.send(message(&id, &room.id, &format!("round {round}")))),
        )
        .await;
        let acks = join_all(sockets.iter().map(|it| it.wait_ack(&id))).await;
        for ack in &acks {
            let same = ["server_id", "seq", "timestamp"]
                .iter()
                .all(|it| ack[it] == acks[0][it]);
            assert!(same, "{ack} and {}", acks[0]);
        }
        let firsts = acks.iter().filter(|it| it["duplicate"] == false).count();
        assert_eq!(firsts, 1, "one of them was the first: {acks:?}");
        bob.expect_text(&format!("round {round}")).await;
    }
    bob.assert_quiet().await;
}

/// Sends, lets the window pass, and sends the same again with those fields.
async fn assert_original_after_the_window(id: &str, again: impl Fn(&str) -> Value) {
    let room = tuned().await.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    ann.send(message(id, &room.id, "once")).await;
    let original = ann.wait_ack(id).await;
    tokio::time::sleep(PAST_THE_WINDOW).await;
    let elsewhere = room.users[0].connect_at(1).await;
    assert_original(&elsewhere.send_patiently(again(&room.id)).await, &original);
    assert_seen_once(&room, &bob, "once").await;
}

#[tokio::test]
async fn a_retry_after_the_window_gets_the_original_answer() {
    let id = Uuid::new_v4().to_string();
    assert_original_after_the_window(&id, |room| retry(&id, room, "another text")).await;
}

#[tokio::test]
async fn a_version_7_id_older_than_the_window_needs_no_mark() {
    let id = client_id();
    assert_original_after_the_window(&id, |room| message(&id, room, "once")).await;
}

#[tokio::test]
async fn a_retry_after_the_window_over_http_is_200() {
    let room = tuned().await.direct().await;
    let mut body = json!({"client_id": Uuid::new_v4(), "text": "once"});
    let original = room.users[0].api.send(&room.id, &body).await.ok();
    tokio::time::sleep(PAST_THE_WINDOW).await;
    body["retry"] = json!(true);
    let again = room.users[0].api.send(&room.id, &body).await;
    assert_eq!(again.status, 200);
    assert_original(&again.body, &original);
}

#[tokio::test]
async fn a_message_written_offline_long_ago_is_a_new_one() {
    let room = shared().await.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    for (age_s, marked) in [(600, false), (86_400 * 30, true)] {
        let made = Timestamp::from_unix(NoContext, now.as_secs() - age_s, 0);
        let id = Uuid::new_v7(made).to_string();
        let mut frame = message(&id, &room.id, "from the tunnel");
        frame["retry"] = json!(marked);
        ann.send(frame).await;
        assert_eq!(ann.wait_ack(&id).await["duplicate"], false);
        bob.expect_text("from the tunnel").await;
    }
}

#[tokio::test]
async fn a_client_that_forgets_the_mark_after_the_window_harms_nobody() {
    let deployment = tuned().await;
    let room = deployment.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    let id = Uuid::new_v4().to_string();
    ann.send(message(&id, &room.id, "once")).await;
    ann.wait_ack(&id).await;
    tokio::time::sleep(PAST_THE_WINDOW).await;
    // The contract leaves open what becomes of it; what follows must be delivered and stored in any case.
    ann.send(message(&id, &room.id, "twice")).await;
    ann.frames.frame("an answer", |it| it["client_id"] == id.as_str()).await;
    let after = ann.say(&room.id, "after").await;
    bob.frames.frame("what follows", |it| it["text"] == "after").await;
    let history = room.users[1].api.history_forwards(&room.id, 50).await;
    assert_eq!(history.last().unwrap()["server_id"], after["server_id"]);
    deployment.verify().await;
}
