//! Receipts: watermarks that are forwarded, only ever grow, and are never lost over a resume.

use serde_json::{Value, json};

use crate::harness::{Client, Room, shared};

/// A room with three messages of the first member (seq 2 to 4), and a socket of each.
pub async fn three() -> (Room<2>, [Client; 2], Vec<Value>) {
    let room = shared().await.direct().await;
    let sockets = [room.users[0].connect().await, room.users[1].connect_at(1).await];
    let mut acks = Vec::new();
    for text in ["one", "two", "three"] {
        acks.push(sockets[0].say(&room.id, text).await);
        sockets[1].expect_text(text).await;
    }
    (room, sockets, acks)
}

pub fn mark(kind: &str, room: &str, more: Value) -> Value {
    let mut frame = json!({"type": kind, "conversation_id": room, "ref": "mark"});
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    frame
}

pub async fn assert_told(socket: &Client, kind: &str, room: &str, user: &str, seq: u64) {
    let told = socket.expect(kind).await;
    assert_eq!(
        (&told["conversation_id"], &told["user_id"]),
        (&json!(room), &json!(user)),
        "{told}"
    );
    assert_eq!(told["seq"], seq, "{told}");
    assert!(told["timestamp"].is_string(), "{told}");
}

#[tokio::test]
async fn a_mark_by_seq_is_forwarded_to_the_other_member() {
    let (room, [ann, bob], _) = three().await;
    for kind in ["message:delivered", "message:read"] {
        bob.send(mark(kind, &room.id, json!({"seq": 3}))).await;
        assert_told(&ann, kind, &room.id, &room.users[1].id, 3).await;
    }
    bob.assert_quiet().await;
}

#[tokio::test]
async fn a_mark_by_server_id_is_forwarded_as_its_seq() {
    let (room, [ann, bob], acks) = three().await;
    for kind in ["message:delivered", "message:read"] {
        bob.send(mark(kind, &room.id, json!({"server_id": acks[1]["server_id"]})))
            .await;
        assert_told(&ann, kind, &room.id, &room.users[1].id, 3).await;
    }
}

#[tokio::test]
async fn the_users_other_devices_are_told_and_the_socket_itself_is_not() {
    let (room, [ann, bob], _) = three().await;
    let tablet = room.users[1].connect().await;
    bob.send(mark("message:read", &room.id, json!({"seq": 4}))).await;
    assert_told(&tablet, "message:read", &room.id, &room.users[1].id, 4).await;
    assert_told(&ann, "message:read", &room.id, &room.users[1].id, 4).await;
    bob.barrier().await;
    assert!(bob.frames.all().iter().all(|it| it["type"] != "message:read"));
}

#[tokio::test]
async fn who_is_no_member_is_not_told() {
    let deployment = shared().await;
    let (room, [ann, bob], _) = three().await;
    let eve = deployment.user("eve").await.connect().await;
    bob.send(mark("message:read", &room.id, json!({"seq": 4}))).await;
    assert_told(&ann, "message:read", &room.id, &room.users[1].id, 4).await;
    eve.barrier().await;
    assert!(eve.frames.all().iter().all(|it| it["type"] != "message:read"));
}

#[tokio::test]
async fn a_mark_only_ever_grows() {
    let (room, [ann, bob], _) = three().await;
    for (sent, told) in [(3, Some(3)), (2, None), (3, None), (4, Some(4))] {
        bob.send(mark("message:read", &room.id, json!({"seq": sent}))).await;
        if let Some(seq) = told {
            assert_told(&ann, "message:read", &room.id, &room.users[1].id, seq).await;
        }
    }
    ann.barrier().await;
    let told: Vec<Value> = ann
        .frames
        .all()
        .into_iter()
        .filter(|it| it["type"] == "message:read")
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
}

#[tokio::test]
async fn a_mark_above_the_head_is_clamped_to_it() {
    let (room, [ann, bob], _) = three().await;
    bob.send(mark("message:read", &room.id, json!({"seq": 1_000_000})))
        .await;
    assert_told(&ann, "message:read", &room.id, &room.users[1].id, 4).await;
    ann.say(&room.id, "four").await;
    bob.send(mark("message:read", &room.id, json!({"seq": 5}))).await;
    assert_told(&ann, "message:read", &room.id, &room.users[1].id, 5).await;
}

#[tokio::test]
async fn both_marks_or_none_or_one_of_the_wrong_type_is_invalid() {
    let (room, [_, bob], acks) = three().await;
    let server_id = &acks[0]["server_id"];
    for wrong in [
        json!({"seq": 2, "server_id": server_id}),
        json!({}),
        json!({"seq": "2"}),
        json!({"seq": -1}),
        json!({"seq": 1.5}),
        json!({"seq": {"$gt": 0}}),
        json!({"server_id": 7}),
    ] {
        bob.send(mark("message:read", &room.id, wrong.clone())).await;
        assert_eq!(bob.expect_error("invalid").await["ref"], "mark", "{wrong}");
    }
    bob.send(json!({"type": "message:read", "seq": 2, "ref": "mark"})).await;
    assert_eq!(bob.expect_error("invalid").await["ref"], "mark");
}

#[tokio::test]
async fn a_mark_in_an_absent_or_foreign_conversation_is_not_found_alike() {
    let (room, [ann, _], _) = three().await;
    let eve = shared().await.user("eve").await.connect().await;
    let mut told = Vec::new();
    for conversation in [room.id.as_str(), "g00000000000000000000000000000000", "nonsense"] {
        eve.send(mark("message:read", conversation, json!({"seq": 2}))).await;
        told.push(eve.expect_error("not_found").await);
    }
    assert!(told.iter().all(|it| *it == told[0]), "{told:?}");
    ann.barrier().await;
    assert!(ann.frames.all().iter().all(|it| it["type"] != "message:read"));
}

#[tokio::test]
async fn a_mark_at_a_message_of_another_conversation_is_refused() {
    let (room, [ann, bob], _) = three().await;
    let (_, _, elsewhere) = three().await;
    bob.send(mark(
        "message:read",
        &room.id,
        json!({"server_id": elsewhere[0]["server_id"]}),
    ))
    .await;
    let error = bob.expect("error").await;
    assert!(
        matches!(error["code"].as_str(), Some("not_found" | "invalid")),
        "{error}"
    );
    ann.barrier().await;
    assert!(ann.frames.all().iter().all(|it| it["type"] != "message:read"));
}

#[tokio::test]
async fn late_and_doubled_marks_of_two_devices_on_two_nodes_never_go_back() {
    let (room, [ann, phone], _) = three().await;
    let tablet = room.users[1].connect().await;
    for number in 5..=40 {
        room.users[0].api.say(&room.id, &number.to_string()).await;
    }
    // Each device on its own goes up and down: 4, 3, 4, 6, 5, 6, 8, …
    for seq in (4..=40_u64).step_by(2) {
        for it in [seq, seq - 1, seq] {
            phone.send(mark("message:read", &room.id, json!({"seq": it}))).await;
            tablet
                .send(mark("message:read", &room.id, json!({"seq": it - 1})))
                .await;
        }
    }
    ann.frames
        .frame("the highest", |it| it["type"] == "message:read" && it["seq"] == 40)
        .await;
    let told: Vec<u64> = ann
        .frames
        .all()
        .iter()
        .filter(|it| it["type"] == "message:read")
        .filter_map(|it| it["seq"].as_u64())
        .collect();
    assert!(told.is_sorted_by(|one, other| one < other), "{told:?}");
    for node in [0, 1] {
        assert_eq!(room.users[1].api_at(node).conversation(&room.id).await["read_seq"], 40);
    }
}

#[tokio::test]
async fn a_mark_in_a_conversation_that_one_has_left_is_not_found() {
    let room = shared().await.group(["ann", "bob"]).await;
    let bob = &room.users[1];
    let (anns, bobs) = (room.users[0].connect().await, bob.connect_at(1).await);
    let ack = anns.say(&room.id, "one").await;
    bob.api.remove(&room.id, &bob.id).await;
    for more in [json!({"seq": 2}), json!({"server_id": ack["server_id"]})] {
        bobs.send(mark("message:read", &room.id, more)).await;
        assert_eq!(bobs.expect_error("not_found").await["ref"], "mark");
    }
    anns.barrier().await;
    assert_eq!(anns.frames.count("message:read"), 0);
}

#[tokio::test]
async fn a_mark_at_a_message_that_is_not_there_is_refused() {
    let (room, [ann, bob], _) = three().await;
    for server_id in [
        format!("{}-99", room.id),
        format!("{}-0", room.id),
        room.id.clone(),
        "x".repeat(5_000),
    ] {
        bob.send(mark("message:read", &room.id, json!({"server_id": server_id})))
            .await;
        let error = bob.expect("error").await;
        assert!(
            matches!(error["code"].as_str(), Some("not_found" | "invalid")),
            "{error}"
        );
    }
    bob.send(mark("message:read", &room.id, json!({"seq": 4}))).await;
    assert_told(&ann, "message:read", &room.id, &room.users[1].id, 4).await;
    assert_eq!(ann.frames.count("message:read"), 1);
}

#[tokio::test]
async fn a_delivery_below_what_was_read_is_told_to_nobody() {
    let room = shared().await.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect_at(1).await);
    for text in ["two", "three", "four"] {
        ann.say(&room.id, text).await;
    }
    bob.send(mark("message:read", &room.id, json!({"seq": 4}))).await;
    assert_told(&ann, "message:read", &room.id, &room.users[1].id, 4).await;
    bob.send(mark("message:delivered", &room.id, json!({"seq": 2}))).await;
    ann.say(&room.id, "five").await;
    bob.send(mark("message:delivered", &room.id, json!({"seq": 5}))).await;
    assert_told(&ann, "message:delivered", &room.id, &room.users[1].id, 5).await;
    assert_eq!(ann.frames.count("message:delivered"), 1);
}
