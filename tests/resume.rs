//! Resuming: what was missed, all of it and nothing else, from any cursor, on any node.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Client, Deployment, Lag, PATIENCE, Room, What, shared, tuned};

/// A room, the second member's socket, and its cursor after two messages; then it is cut off and misses three.
async fn missed_three() -> (Room<2>, String) {
    let room = shared().await.direct().await;
    let bob = room.users[1].connect().await;
    for text in ["seen 1", "seen 2"] {
        room.users[0].api.say(&room.id, text).await;
        bob.expect_text(text).await;
    }
    let cursor = bob.settled_cursor().await;
    bob.kill().await;
    for text in ["missed 1", "missed 2", "missed 3"] {
        room.users[0].api.say(&room.id, text).await;
    }
    (room, cursor)
}

/// The socket has resumed, gets what was missed in order, then a checkpoint, then is live.
async fn assert_resumed(socket: &Client, room: &Room<2>, cursor: &str) {
    assert_eq!(socket.ready["resumed"], true, "{}", socket.ready);
    assert_eq!(socket.ready["cursor"], cursor, "where this socket starts");
    for (number, text) in ["missed 1", "missed 2", "missed 3"].iter().enumerate() {
        assert_eq!(socket.expect_text(text).await["seq"], number + 4);
    }
    let checkpoint = socket.settled_cursor().await;
    assert_ne!(checkpoint, cursor);
    room.users[0].api.say(&room.id, "live").await;
    assert_eq!(socket.expect_text("live").await["seq"], 7);
    socket.assert_quiet().await;
}

#[tokio::test]
async fn a_socket_that_resumes_gets_what_it_missed_and_then_is_live() {
    let (room, cursor) = missed_three().await;
    let again = room.users[1].socket().resume(&cursor).connect().await;
    assert_resumed(&again, &room, &cursor).await;
}

#[tokio::test]
async fn a_cursor_is_valid_on_the_other_node_and_in_a_first_frame() {
    let (room, cursor) = missed_three().await;
    let again = room.users[1]
        .socket()
        .node(1)
        .first_frame()
        .resume(&cursor)
        .connect()
        .await;
    assert_resumed(&again, &room, &cursor).await;
}

#[tokio::test]
async fn a_cursor_can_be_used_again_and_by_several_devices_at_once() {
    let (room, cursor) = missed_three().await;
    let first = room.users[1].socket().resume(&cursor).connect().await;
    let second = room.users[1].socket().node(1).resume(&cursor).connect().await;
    for socket in [first, second] {
        for text in ["missed 1", "missed 2", "missed 3"] {
            socket.expect_text(text).await;
        }
    }
}

#[tokio::test]
async fn ready_already_gives_a_cursor_that_is_safe_to_store() {
    let room = shared().await.direct().await;
    let bob = room.users[1].connect().await;
    let cursor = bob.ready["cursor"].as_str().unwrap().to_owned();
    room.users[0].api.say(&room.id, "one").await;
    bob.expect_text("one").await;
    bob.kill().await;
    room.users[0].api.say(&room.id, "two").await;
    let again = room.users[1].socket().resume(&cursor).connect().await;
    again.expect_text("one").await;
    again.expect_text("two").await;
    again.assert_quiet().await;
}

#[tokio::test]
async fn nothing_from_before_the_checkpoint_comes_again() {
    let room = shared().await.direct().await;
    let bob = room.users[1].connect().await;
    for number in 0..5 {
        room.users[0].api.say(&room.id, &format!("before {number}")).await;
        bob.next_event().await;
    }
    let cursor = bob.settled_cursor().await;
    room.users[0].api.say(&room.id, "after").await;
    bob.expect_text("after").await;
    bob.kill().await;
    let again = room.users[1].socket().resume(&cursor).connect().await;
    again.expect_text("after").await;
    again.assert_quiet().await;
}

#[tokio::test]
async fn who_missed_nothing_gets_only_a_checkpoint() {
    let room = shared().await.direct().await;
    let bob = room.users[1].connect().await;
    room.users[0].api.say(&room.id, "seen").await;
    bob.expect_text("seen").await;
    let cursor = bob.settled_cursor().await;
    bob.kill().await;
    let again = room.users[1].socket().resume(&cursor).connect().await;
    assert_eq!(again.ready["resumed"], true);
    again.expect("checkpoint").await;
    again.assert_quiet().await;
}

#[tokio::test]
async fn own_messages_come_as_incoming_on_resume() {
    let room = shared().await.direct().await;
    let ann = room.users[0].connect().await;
    let cursor = ann.settled_cursor().await;
    let ack = ann.say(&room.id, "mine").await;
    ann.kill().await;
    let again = room.users[0].socket().resume(&cursor).connect().await;
    let event = again.expect_text("mine").await;
    assert_eq!(
        (&event["server_id"], &event["client_id"]),
        (&ack["server_id"], &ack["client_id"])
    );
}

#[tokio::test]
async fn a_conversation_created_meanwhile_comes_with_all_its_messages() {
    let deployment = shared().await;
    let [ann, bob] = deployment.users(["ann", "bob"]).await;
    let cursor = bob.connect().await.settled_cursor().await;
    let room = ann.api.direct(&bob.id).await;
    ann.api.say(&room, "hello").await;
    let again = bob.socket().resume(&cursor).connect().await;
    assert_eq!(again.next_event().await["type"], "conversation:created");
    assert_eq!(again.expect_text("hello").await["seq"], 2);
}

#[tokio::test]
async fn a_checkpoint_comes_within_a_second_of_an_event() {
    let room = shared().await.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    for _ in 0..3 {
        let lag = Lag::beside(&room.users[1].api);
        ann.send_message(&room.id, "tick").await;
        let (_, came) = bob.frames.wait("the event", PATIENCE, message_came).await;
        let late = bob.checkpoint_after(came).await - came;
        lag.assert_within(Duration::from_millis(1_300), late, "a checkpoint");
    }
}

fn message_came(what: &What) -> Option<()> {
    matches!(what, What::Frame(it) if it["type"] == "message:incoming").then_some(())
}

#[tokio::test]
async fn the_sender_too_gets_checkpoints_that_cover_what_he_sent() {
    let room = shared().await.direct().await;
    let ann = room.users[0].connect().await;
    ann.settled_cursor().await;
    ann.say(&room.id, "mine").await;
    let cursor = ann.settled_cursor().await;
    ann.kill().await;
    let again = room.users[0].socket().resume(&cursor).connect().await;
    again.assert_quiet().await;
}

#[tokio::test]
async fn what_is_no_cursor_is_told_and_the_socket_starts_fresh() {
    let room = shared().await.direct().await;
    let good = room.users[1].connect().await.settled_cursor().await;
    let cut = &good[..good.len() / 2];
    for wrong in [
        "garbage",
        "AAAA",
        cut,
        "0",
        "ÿ",
        &"A".repeat(5_000),
        &format!("{good}{good}"),
    ] {
        let socket = room.users[1].socket().first_frame().resume(wrong).connect().await;
        assert_eq!(socket.ready["resumed"], false, "{wrong}");
        assert_eq!(socket.expect("resync").await["reason"], "bad_cursor", "{wrong}");
        room.users[0].api.say(&room.id, "live").await;
        socket.expect_text("live").await;
        socket.assert_quiet().await;
    }
}

#[tokio::test]
async fn a_refused_resume_goes_on_live_from_readys_cursor() {
    let room = shared().await.direct().await;
    let socket = room.users[1].socket().first_frame().resume("garbage").connect().await;
    let cursor = socket.ready["cursor"].as_str().unwrap().to_owned();
    socket.expect("resync").await;
    socket.kill().await;
    room.users[0].api.say(&room.id, "after ready").await;
    let again = room.users[1].socket().resume(&cursor).connect().await;
    again.expect_text("after ready").await;
}

#[tokio::test]
async fn a_cursor_survives_a_restart_of_everything() {
    let mut deployment = Deployment::start()
        .separate()
        .replicas("connection=2,message=2")
        .launch()
        .await;
    let room = deployment.direct().await;
    let bob = room.users[1].connect().await;
    room.users[0].api.say(&room.id, "seen").await;
    bob.expect_text("seen").await;
    let cursor = bob.settled_cursor().await;
    bob.kill().await;
    room.users[0].api.say(&room.id, "missed 1").await;
    deployment.restart().await;
    room.users[0].api.say(&room.id, "missed 2").await;
    let again = room.users[1].socket().node(1).resume(&cursor).connect().await;
    assert_eq!(again.ready["resumed"], true);
    again.expect_text("missed 1").await;
    again.expect_text("missed 2").await;
    again.assert_quiet().await;
}

#[tokio::test]
async fn a_cursor_of_another_deployment_is_of_another_log() {
    let room = shared().await.direct().await;
    let foreign = tuned().await.user("ann").await.connect().await.settled_cursor().await;
    let socket = room.users[1].socket().first_frame().resume(&foreign).connect().await;
    assert_eq!(socket.ready["resumed"], json!(false));
    assert_eq!(socket.expect("resync").await["reason"], "other_log");
}

#[tokio::test]
async fn a_cursor_with_any_letter_changed_is_refused_or_resumed_and_never_more() {
    let room = shared().await.direct().await;
    let good = room.users[1].connect().await.settled_cursor().await;
    for position in 0..good.len() {
        for letter in ["A", "_", "7"] {
            let mut changed = good.clone();
            changed.replace_range(position..=position, letter);
            let socket = room.users[1].socket().resume(&changed).connect().await;
            if socket.ready["resumed"] == false {
                socket.expect("resync").await;
            }
            socket.expect("checkpoint").await;
        }
    }
    room.users[0].api.say(&room.id, "still here").await;
}
