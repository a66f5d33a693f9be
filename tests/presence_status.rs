//! The status that a user chooses, and invisibility.

use serde_json::{Value, json};

use crate::presence::watched;

#[tokio::test]
async fn a_status_that_is_set_is_told_and_the_last_one_set_on_any_device_wins() {
    let (room, ann) = watched(["ann", "bob"]).await;
    let bob = &room.users[1];
    let (phone, tablet) = (bob.connect().await, bob.connect_at(1).await);
    ann.expect_status(&bob.id, "online").await;
    for (device, status) in [(&phone, "dnd"), (&tablet, "away"), (&phone, "online"), (&tablet, "dnd")] {
        device.set_status(status).await;
        ann.expect_status(&bob.id, status).await;
        assert_eq!(room.users[0].api.status_of(&bob.id).await, status);
    }
    assert_eq!(ann.statuses_of(&bob.id), ["online", "dnd", "away", "online", "dnd"]);
}

#[tokio::test]
async fn the_socket_that_sets_a_status_is_not_told_and_the_users_other_sockets_are() {
    let (room, _ann) = watched(["ann", "bob", "eve"]).await;
    let [_, bob, eve] = &room.users;
    let (phone, tablet) = (bob.connect().await, bob.connect_at(1).await);
    phone.subscribe(&room.id).await;
    tablet.subscribe(&room.id).await;
    phone.set_status("dnd").await;
    tablet.expect_status(&bob.id, "dnd").await;
    let eves = eve.connect().await;
    eves.set_status("dnd").await;
    phone.expect_status(&eve.id, "dnd").await;
    assert!(!phone.statuses_of(&bob.id).contains(&"dnd".into()));
}

#[tokio::test]
async fn the_same_status_again_is_told_to_nobody() {
    let (room, ann) = watched(["ann", "bob"]).await;
    let bob = room.users[1].connect().await;
    bob.set_status("dnd").await;
    ann.expect_status(&room.users[1].id, "dnd").await;
    for _ in 0..3 {
        bob.set_status("dnd").await;
    }
    bob.set_status("away").await;
    ann.expect_status(&room.users[1].id, "away").await;
    let told = ann.statuses_of(&room.users[1].id);
    assert_eq!(told.iter().filter(|it| *it == "dnd").count(), 1, "{told:?}");
}

#[tokio::test]
async fn a_status_outlives_the_sockets() {
    let (room, ann) = watched(["ann", "bob"]).await;
    let bob = &room.users[1];
    let phone = bob.connect().await;
    phone.set_status("dnd").await;
    ann.expect_status(&bob.id, "dnd").await;
    phone.kill().await;
    ann.expect_status(&bob.id, "offline").await;
    let before = ann.statuses_of(&bob.id).len();
    let _again = bob.connect_at(1).await;
    ann.expect_status(&bob.id, "dnd").await;
    assert_eq!(ann.statuses_of(&bob.id).len(), before + 1, "nothing else in between");
}

#[tokio::test]
async fn a_status_that_nobody_can_set_is_invalid() {
    let (room, ann) = watched(["ann", "bob"]).await;
    let bob = room.users[1].connect().await;
    ann.expect_status(&room.users[1].id, "online").await;
    for status in [
        json!("offline"),
        json!("busy"),
        json!(""),
        json!(7),
        json!(null),
        json!({"$ne": 1}),
    ] {
        bob.send(json!({"type": "presence:set", "status": status, "ref": "set"}))
            .await;
        assert_eq!(bob.expect_error("invalid").await["ref"], "set", "{status}");
    }
    bob.send(json!({"type": "presence:set", "ref": "set"})).await;
    assert_eq!(bob.expect_error("invalid").await["ref"], "set");
    bob.set_status("dnd").await;
    ann.expect_status(&room.users[1].id, "dnd").await;
    assert_eq!(ann.statuses_of(&room.users[1].id), ["online", "dnd"]);
}

#[tokio::test]
async fn invisible_is_told_as_offline_and_shown_as_offline() {
    let (room, ann) = watched(["ann", "bob"]).await;
    let [anns, bob] = &room.users;
    let phone = bob.connect_at(1).await;
    ann.expect_status(&bob.id, "online").await;
    phone.set_status("invisible").await;
    ann.expect_status(&bob.id, "offline").await;
    assert_eq!(anns.api.status_of(&bob.id).await, "offline");
    // Nor does another device show him.
    let tablet = bob.connect().await;
    tablet.barrier().await;
    phone.set_status("dnd").await;
    ann.expect_status(&bob.id, "dnd").await;
    assert_eq!(ann.statuses_of(&bob.id), ["online", "offline", "dnd"]);
}

#[tokio::test]
async fn who_is_invisible_sends_no_signal() {
    let (room, ann) = watched(["ann", "bob", "eve"]).await;
    let [_, bob, eve] = &room.users;
    let phone = bob.connect_at(1).await;
    ann.expect_status(&bob.id, "online").await;
    phone.set_status("invisible").await;
    ann.expect_status(&bob.id, "offline").await;
    let eves = eve.connect_at(1).await;
    eves.set_status("dnd").await;
    ann.expect_status(&eve.id, "dnd").await;
    phone.subscribe(&room.id).await;
    phone.send_room("typing:start", &room.id).await;
    // Eve does the same later, from the same node.
    eves.subscribe(&room.id).await;
    eves.send_room("typing:start", &room.id).await;
    ann.expect_signal("user:joined", &room.id, &eve.id).await;
    ann.expect_signal("typing:started", &room.id, &eve.id).await;
    let told = ann.signals();
    let of_bob = told
        .iter()
        .filter(|it| it["user_id"] == bob.id.as_str() && it["type"] != "presence");
    assert_eq!(of_bob.count(), 0, "{told:?}");
    let present = ann.subscribe(&room.id).await["present"].to_string();
    assert!(!present.contains(&bob.id) && present.contains(&eve.id), "{present}");
}

#[tokio::test]
async fn who_turns_invisible_leaves_the_room_for_the_others_and_comes_back_to_it() {
    let (room, ann) = watched(["ann", "bob"]).await;
    let bob = &room.users[1];
    let phone = bob.connect_at(1).await;
    phone.subscribe(&room.id).await;
    ann.expect_signal("user:joined", &room.id, &bob.id).await;
    phone.set_status("invisible").await;
    ann.expect_signal("user:left", &room.id, &bob.id).await;
    phone.set_status("online").await;
    ann.expect_signal("user:joined", &room.id, &bob.id).await;
    ann.expect_status(&bob.id, "online").await;
}

#[tokio::test]
async fn subscribed_tells_the_statuses_of_who_is_there() {
    let (room, ann) = watched(["ann", "bob"]).await;
    let bob = room.users[1].connect_at(1).await;
    // It is not answered.
    bob.set_status("dnd").await;
    ann.expect_status(&room.users[1].id, "dnd").await;
    let other = room.users[0].connect().await;
    bob.subscribe(&room.id).await;
    let of_bob = |answer: Value| {
        let list = answer["present"].as_array().unwrap().clone();
        list.into_iter()
            .find(|it| it["user_id"] == room.users[1].id.as_str())
            .unwrap()["status"]
            .clone()
    };
    assert_eq!(of_bob(other.subscribe(&room.id).await), "dnd");
}
