//! Where receipts are seen besides live: by resume, in `since`, and with a conversation and its members.

use serde_json::{Value, json};

use crate::harness::shared;
use crate::receipts::{assert_told, mark, three};

#[tokio::test]
async fn marks_are_shown_with_the_members() {
    let (room, [ann, bob], _) = three().await;
    for (kind, seq) in [("message:delivered", 4), ("message:read", 3)] {
        bob.send(mark(kind, &room.id, json!({"seq": seq}))).await;
        assert_told(&ann, kind, &room.id, &room.users[1].id, seq).await;
    }
    let path = format!("/v1/conversations/{}", room.id);
    let seen_by_ann = room.users[0].api.get(&path).await.ok();
    let members = seen_by_ann["members"].as_array().unwrap();
    let bobs = members
        .iter()
        .find(|it| it["user_id"] == room.users[1].id.as_str())
        .unwrap();
    assert_eq!((&bobs["read_seq"], &bobs["delivered_seq"]), (&json!(3), &json!(4)));
    assert_eq!(room.users[1].api_at(1).get(&path).await.ok()["read_seq"], 3);
}

#[tokio::test]
async fn a_read_on_one_device_clears_unread_on_all() {
    let (room, [ann, phone], _) = three().await;
    let bob = &room.users[1];
    assert_eq!(bob.api_at(1).conversation(&room.id).await["unread"], 3);
    phone.send(mark("message:read", &room.id, json!({"seq": 4}))).await;
    assert_told(&ann, "message:read", &room.id, &bob.id, 4).await;
    for node in [0, 1] {
        let shown = bob.api_at(node).conversation(&room.id).await;
        assert_eq!((&shown["unread"], &shown["read_seq"]), (&json!(0), &json!(4)));
    }
}

#[tokio::test]
async fn since_brings_the_marks_that_changed() {
    let (room, [ann, bob], _) = three().await;
    let cursor = ann.settled_cursor().await;
    bob.send(mark("message:read", &room.id, json!({"seq": 3}))).await;
    assert_told(&ann, "message:read", &room.id, &room.users[1].id, 3).await;
    let (events, _) = room.users[0].api_at(1).since(&cursor, 10).await;
    let told: Vec<(&Value, &Value)> = events.iter().map(|it| (&it["type"], &it["seq"])).collect();
    assert_eq!(told, [(&json!("message:read"), &json!(3))]);
}

#[tokio::test]
async fn who_has_read_and_who_has_received_a_message_can_be_asked() {
    let room = shared().await.group(["ann", "bob", "eve", "joe"]).await;
    let ann = room.users[0].connect().await;
    for text in ["one", "two", "three"] {
        ann.say(&room.id, text).await;
    }
    // Bob has read all, Eve received all and read one, Joe nothing.
    let marks = [
        (1, "message:delivered", 4),
        (1, "message:read", 4),
        (2, "message:delivered", 4),
        (2, "message:read", 2),
    ];
    for (user, kind, seq) in marks {
        let socket = room.users[user].connect_at(1).await;
        socket.send(mark(kind, &room.id, json!({"seq": seq}))).await;
        assert_told(&ann, kind, &room.id, &room.users[user].id, seq).await;
    }
    let asked = async |query: &str| {
        let mut all = room.users[3].api.members(&room.id, query).await;
        all.retain(|it| it["user_id"] != room.users[0].id.as_str());
        let name = |it: &Value| it["user_id"].as_str().unwrap().split('-').next().unwrap().to_owned();
        all.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(asked("read=4").await, ["bob"]);
    assert_eq!(asked("read=2&limit=1").await, ["bob", "eve"]);
    assert_eq!(asked("delivered=4").await, ["bob", "eve"]);
    assert_eq!(asked("").await, ["bob", "eve", "joe"]);
}

#[tokio::test]
async fn who_has_read_has_received_too() {
    let (room, [ann, bob], _) = three().await;
    bob.send(mark("message:read", &room.id, json!({"seq": 3}))).await;
    assert_told(&ann, "message:read", &room.id, &room.users[1].id, 3).await;
    let received = room.users[0].api.members(&room.id, "delivered=3").await;
    assert!(
        received.iter().any(|it| it["user_id"] == room.users[1].id.as_str()),
        "{received:?}"
    );
}

#[tokio::test]
async fn every_kind_of_mark_is_told_to_each_of_100_members() {
    // As many as there may be for everybody to be told.
    let [ann, bob] = shared().await.users(["ann", "bob"]).await;
    let others: Vec<String> = (0..98).map(|it| format!("{}-{it}", ann.id)).collect();
    let mut members: Vec<&str> = others.iter().map(String::as_str).collect();
    members.push(&bob.id);
    let id = ann.api.group(&members).await;
    ann.api.say(&id, "one").await;
    let (silent, bobs) = (bob.connect().await, bob.connect_at(1).await);
    let anns = ann.connect_at(1).await;
    for kind in ["message:delivered", "message:read"] {
        anns.send(mark(kind, &id, json!({"seq": 2}))).await;
        for socket in [&silent, &bobs] {
            assert_told(socket, kind, &id, &ann.id, 2).await;
        }
    }
}

#[tokio::test]
async fn a_resume_brings_the_marks_that_changed_before_its_checkpoint() {
    let (room, [ann, bob], _) = three().await;
    let cursor = ann.settled_cursor().await;
    ann.kill().await;
    // Another device hears of it, so that it is certain to have happened.
    let desktop = room.users[0].connect_at(1).await;
    for (kind, seq) in [("message:delivered", 4), ("message:read", 3)] {
        bob.send(mark(kind, &room.id, json!({"seq": seq}))).await;
        assert_told(&desktop, kind, &room.id, &room.users[1].id, seq).await;
    }
    let again = room.users[0].socket().resume(&cursor).connect().await;
    again.expect("checkpoint").await;
    let frames = again.frames.all();
    let checkpoint = frames.iter().position(|it| it["type"] == "checkpoint").unwrap();
    for (kind, seq) in [("message:delivered", 4), ("message:read", 3)] {
        let found = frames[..checkpoint].iter().find(|it| it["type"] == kind);
        assert_eq!(
            found.map(|it| &it["seq"]),
            Some(&json!(seq)),
            "{kind} before the checkpoint: {frames:?}"
        );
    }
}
