//! Entries of the log that a newer version of the server wrote, in a rolling deployment.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Broker, Deployment, Room, client_id, until};

async fn group() -> (Deployment, Room<2>, Broker) {
    let deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let room = deployment.group(["ann", "bob"]).await;
    // So that each replica has heard of it.
    for number in 0..8 {
        room.users[0].api.say(&room.id, &number.to_string()).await;
    }
    let broker = Broker::of(&deployment).await;
    (deployment, room, broker)
}

/// An event of an unknown type as the group's tenth.
fn unknown(room: &Room<2>) -> Value {
    let timestamp = "2100-01-01T00:00:00.000Z";
    json!({"type": "conversation:locked", "conversation_id": room.id, "seq": 10, "timestamp": timestamp})
}

#[tokio::test]
async fn behind_an_unknown_change_that_tells_no_members_nothing_is_decided() {
    let (_deployment, room, broker) = group().await;
    let entry = json!({"v": 1, "state_at": 0, "prev": 1, "frame": unknown(&room)});
    broker.append(&room.id, &entry).await;
    let [ann, _] = &room.users;
    for node in [0, 1, 0, 1] {
        let api = ann.api_at(node);
        api.rename(&room.id, "who may?")
            .await
            .assert_problem(503, "unavailable");
        let message = json!({"client_id": client_id(), "text": "may I?"});
        api.send(&room.id, &message).await.assert_problem(503, "unavailable");
    }
}

#[tokio::test]
async fn behind_an_unknown_change_that_tells_all_members_those_count() {
    let (_deployment, room, broker) = group().await;
    let [ann, bob] = &room.users;
    let created_at = "2026-11-22T10:15:30.123Z";
    let snapshot = json!({"type": "group", "created_at": created_at, "members": [[bob.id, "owner", 1]], "new": true});
    let entry = json!({"v": 1, "state_at": 0, "prev": 1, "snapshot": snapshot, "frame": unknown(&room)});
    broker.append(&room.id, &entry).await;
    for node in [0, 1, 0, 1] {
        let message = json!({"client_id": client_id(), "text": "may I?"});
        ann.api_at(node)
            .send(&room.id, &message)
            .await
            .assert_problem(404, "not_found");
    }
    assert_eq!(bob.api.say(&room.id, "mine").await["seq"], 11);
}

#[tokio::test]
async fn an_unknown_event_is_where_its_conversation_stands() {
    let (_deployment, room, broker) = group().await;
    broker
        .append(&room.id, &json!({"v": 1, "state_at": 1, "frame": unknown(&room)}))
        .await;
    until(
        "the projection to have passed it",
        Duration::from_secs(10),
        async || {
            let shown = room.users[1].api.conversation(&room.id).await;
            (shown["seq"] == 10).then_some(())
        },
    )
    .await;
    assert_eq!(room.users[0].api.say(&room.id, "next").await["seq"], 11);
}
