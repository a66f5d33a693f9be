//! Who was removed, or left: his own `member:removed` is the last that he gets of a conversation, on all devices, live
//! and by resume; then it is as if it had never been.

use serde_json::{Value, json};

use crate::harness::{Client, Room, is_durable, shared};

/// Bob with three devices on both nodes, removed from a room of three that goes on without him; the devices.
async fn removed() -> (Room<3>, Vec<Client>) {
    let room = shared().await.group(["ann", "bob", "eve"]).await;
    let mut devices = Vec::new();
    for node in [0, 1, 0] {
        devices.push(room.users[1].connect_at(node).await);
    }
    let [ann, bob, _] = &room.users;
    ann.api.say(&room.id, "while he was here").await;
    assert_eq!(ann.api_at(1).remove(&room.id, &bob.id).await.status, 204);
    go_on_without_him(&room).await;
    (room, devices)
}

/// Messages, a change and a receipt, none of them for Bob.
async fn go_on_without_him(room: &Room<3>) {
    let [ann, _, eve] = &room.users;
    let (anns, eves) = (ann.connect().await, eve.connect().await);
    let ack = anns.say(&room.id, "after he was gone").await;
    ann.api.rename(&room.id, "without bob").await.ok();
    eves.send(json!({"type": "message:read", "conversation_id": room.id, "seq": ack["seq"]}))
        .await;
    anns.expect("message:read").await;
}

/// Something else happens to Bob; afterwards whatever else was on its way has come.
async fn fence(room: &Room<3>, devices: &[Client]) {
    let [_, bob, eve] = &room.users;
    let other = eve.api.direct(&bob.id).await;
    for device in devices {
        let passes = |it: &Value| it["type"] == "conversation:created" && it["conversation_id"] == other.as_str();
        device.frames.frame("the fence", passes).await;
    }
}

/// The frames of the room that a device got, `conversation_id` and all.
fn of_room(device: &Client, room: &str) -> Vec<Value> {
    let mut frames = device.frames.all();
    frames.retain(|it| it["conversation_id"] == room);
    frames
}

#[tokio::test]
async fn his_removal_is_the_last_that_any_of_his_devices_gets() {
    let (room, devices) = removed().await;
    fence(&room, &devices).await;
    for device in &devices {
        let frames = of_room(device, &room.id);
        let kinds: Vec<&Value> = frames
            .iter()
            .filter(|it| it["seq"] != 1)
            .map(|it| &it["type"])
            .collect();
        assert_eq!(kinds, ["message:incoming", "member:removed"], "{frames:?}");
    }
}

#[tokio::test]
async fn his_removal_is_the_last_that_a_resume_brings() {
    let room = shared().await.group(["ann", "bob", "eve"]).await;
    let [ann, bob, _] = &room.users;
    let cursor = bob.connect().await.settled_cursor().await;
    ann.api.say(&room.id, "while he was here").await;
    ann.api.remove(&room.id, &bob.id).await;
    go_on_without_him(&room).await;
    let again = bob.socket().node(1).resume(&cursor).connect().await;
    again.expect("checkpoint").await;
    let kinds = |frames: &[Value]| frames.iter().map(|it| it["type"].clone()).collect::<Vec<_>>();
    assert_eq!(
        kinds(&of_room(&again, &room.id)),
        ["message:incoming", "member:removed"]
    );
    let (since, _) = bob.api.since(&cursor, 1).await;
    assert_eq!(kinds(&since), ["message:incoming", "member:removed"]);
}

#[tokio::test]
async fn a_resume_from_after_his_removal_brings_nothing() {
    let room = shared().await.group(["ann", "bob", "eve"]).await;
    let [ann, bob, _] = &room.users;
    let socket = bob.connect().await;
    ann.api.remove(&room.id, &bob.id).await;
    assert_eq!(socket.next_event().await["type"], "member:removed");
    let cursor = socket.settled_cursor().await;
    go_on_without_him(&room).await;
    let again = bob.socket().node(1).resume(&cursor).connect().await;
    again.expect("checkpoint").await;
    assert_eq!(of_room(&again, &room.id), Vec::<Value>::new());
}

#[tokio::test]
async fn every_read_of_it_is_404_on_every_node() {
    let (room, _) = removed().await;
    let bob = &room.users[1];
    for node in [0, 1] {
        let api = bob.api_at(node);
        for path in ["", "/messages", "/members"] {
            api.get(&format!("/v1/conversations/{}{path}", room.id))
                .await
                .assert_problem(404, "not_found");
        }
        let list = api.get("/v1/conversations").await.ok();
        assert_eq!(list["conversations"], json!([]));
    }
}

#[tokio::test]
async fn every_change_of_it_is_404() {
    let (room, _) = removed().await;
    let [ann, bob, eve] = &room.users;
    for reply in [
        bob.api
            .send(
                &room.id,
                &json!({"client_id": crate::harness::client_id(), "text": "x"}),
            )
            .await,
        bob.api.rename(&room.id, "mine").await,
        bob.api.add(&room.id, &[&bob.id]).await,
        bob.api.remove(&room.id, &eve.id).await,
        bob.api.remove(&room.id, &bob.id).await,
        bob.api.set_role(&room.id, &ann.id, "member").await,
    ] {
        reply.assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn every_frame_for_it_is_not_found_on_every_device() {
    let (room, devices) = removed().await;
    for device in &devices {
        device.expect("member:removed").await;
        device.expect_no_such_room(&room.id).await;
        for kind in ["message:read", "message:delivered", "typing:start", "subscribe"] {
            let frame = json!({"type": kind, "conversation_id": room.id, "seq": 2, "ref": kind});
            device.send(frame).await;
            assert_eq!(device.expect_error("not_found").await["ref"], kind);
        }
    }
}

#[tokio::test]
async fn who_left_gets_his_leaving_last_and_then_nothing() {
    let room = shared().await.group(["ann", "bob", "eve"]).await;
    let bob = &room.users[1];
    let devices = [bob.connect().await, bob.connect_at(1).await];
    assert_eq!(bob.api.remove(&room.id, &bob.id).await.status, 204);
    go_on_without_him(&room).await;
    fence(&room, &devices).await;
    for device in &devices {
        let frames = of_room(device, &room.id);
        assert_eq!(
            frames.last().map(|it| &it["type"]),
            Some(&json!("member:removed")),
            "{frames:?}"
        );
    }
    bob.api.history(&room.id, "").await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn who_is_added_again_is_told_as_a_new_member_is() {
    let (room, devices) = removed().await;
    let [ann, bob, _] = &room.users;
    ann.api.add(&room.id, &[&bob.id]).await.ok();
    ann.api.say(&room.id, "welcome back").await;
    for device in &devices {
        let is_back = |it: &Value| it["type"] == "member:added";
        let back = device.frames.frame("his addition", is_back).await;
        assert_eq!(back["conversation"]["conversation_id"], room.id.as_str(), "{back}");
        assert_eq!(back["conversation"]["name"], "without bob", "{back}");
    }
    for device in &devices {
        device
            .frames
            .frame("what follows", |it| it["text"] == "welcome back")
            .await;
    }
}

#[tokio::test]
async fn who_is_added_again_reads_also_what_was_said_meanwhile() {
    let (room, _) = removed().await;
    let [ann, bob, _] = &room.users;
    ann.api.add(&room.id, &[&bob.id]).await.ok();
    let history = bob.api.history_forwards(&room.id, 50).await;
    let texts: Vec<&Value> = history.iter().map(|it| &it["text"]).collect();
    assert_eq!(texts, ["while he was here", "after he was gone"]);
}

#[tokio::test]
async fn a_resume_over_a_removal_and_an_addition_leaves_out_what_was_between() {
    let room = shared().await.group(["ann", "bob", "eve"]).await;
    let [ann, bob, _] = &room.users;
    let cursor = bob.connect().await.settled_cursor().await;
    ann.api.say(&room.id, "one").await;
    ann.api.remove(&room.id, &bob.id).await;
    go_on_without_him(&room).await;
    ann.api.add(&room.id, &[&bob.id]).await.ok();
    ann.api.say(&room.id, "two").await;
    let again = bob.socket().node(1).resume(&cursor).connect().await;
    again.expect("checkpoint").await;
    let frames = of_room(&again, &room.id);
    let seqs: Vec<&Value> = frames.iter().filter(|it| is_durable(it)).map(|it| &it["seq"]).collect();
    assert_eq!(seqs, [2, 3, 6, 7], "{frames:?}");
    assert_eq!(
        frames[2]["conversation"]["conversation_id"],
        room.id.as_str(),
        "{frames:?}"
    );
}

#[tokio::test]
async fn the_members_read_on_and_have_no_gap() {
    let (room, _) = removed().await;
    let eve = room.users[2].connect().await;
    assert_eq!(room.users[0].api.say(&room.id, "and on").await["seq"], 6);
    eve.expect_text("and on").await;
    let history = room.users[2].api.history_forwards(&room.id, 50).await;
    assert_eq!(history.len(), 3, "{history:?}");
}
