//! Several devices of one user: they see the same, each other's doings too.

use serde_json::{Value, json};

use crate::harness::shared;
use crate::transports::{Ears, told};

/// Ten devices of one user: eight sockets at both nodes, a stream and a poller.
#[tokio::test]
async fn ten_devices_of_one_user_see_the_same() {
    let room = shared().await.group(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    let mut devices = Vec::new();
    for number in 0..8 {
        let socket = bob
            .socket()
            .node(number % 2)
            .device(&format!("device-{number}"))
            .connect()
            .await;
        socket.subscribe(&room.id).await;
        devices.push(socket);
    }
    let mut ears = Ears::of(bob).await;
    let anns = ann.connect().await;
    anns.subscribe(&room.id).await;
    // Each of them sends, and is acked; all others get it, as they get what Ann sends.
    for (number, device) in devices.iter().enumerate() {
        device.say(&room.id, &format!("from device {number}")).await;
        anns.say(&room.id, &format!("to device {number}")).await;
    }
    let last = |it: &Value| it["text"] == "to device 7";
    for device in &devices {
        device.frames.frame("the last message", last).await;
    }
    ears.hear("the last message", last).await;
    // One reads: unread is cleared for all, and all others are told.
    devices[3]
        .send(json!({"type": "message:read", "conversation_id": room.id, "seq": 17}))
        .await;
    let mark = |it: &Value| it["type"] == "message:read" && it["user_id"] == bob.id.as_str() && it["seq"] == 17;
    for (_, device) in devices.iter().enumerate().filter(|(number, _)| *number != 3) {
        device.frames.frame("the mark", mark).await;
    }
    ears.hear("the mark", mark).await;
    for node in [0, 1] {
        assert_eq!(bob.api_at(node).conversation(&room.id).await["unread"], 0);
    }
    // One sets a status: all others that are subscribed are told.
    devices[5].set_status("dnd").await;
    for (_, device) in devices.iter().enumerate().filter(|(number, _)| *number != 5) {
        device.expect_status(&bob.id, "dnd").await;
    }
    anns.expect_status(&bob.id, "dnd").await;

    let script = told(ears.socket.frames.all());
    assert_eq!(script.len(), 17, "{script:#?}");
    assert_eq!(told(ears.stream.frames.all()), script);
    assert_eq!(told(ears.poller.events), script);
    for (number, device) in devices.iter().enumerate() {
        let own = format!("from device {number}");
        let mut expected = script.clone();
        expected.retain(|it| it["text"] != own.as_str() && (number != 3 || it["type"] != "message:read"));
        let mut seen = told(device.frames.all());
        // Just made when the first of them connected.
        seen.retain(|it| it["type"] != "conversation:created");
        assert_eq!(seen, expected, "device {number}");
        assert_eq!(device.frames.count("message:ack"), 1);
    }
}

#[tokio::test]
async fn what_one_device_does_to_a_group_is_told_to_the_user_on_all_of_them() {
    let [ann, bob] = shared().await.users(["ann", "bob"]).await;
    let mut ears = Ears::of(&ann).await;
    let group = ann.api_at(1).group(&[&bob.id]).await;
    ann.api.rename(&group, "mine").await.ok();
    ann.api_at(1).set_role(&group, &bob.id, "admin").await.ok();
    assert_eq!(ann.api.remove(&group, &ann.id).await.status, 204);
    ears.hear("the leaving", |it| it["type"] == "member:removed").await;
    let script = told(ears.socket.frames.all());
    let seqs: Vec<&Value> = script.iter().map(|it| &it["seq"]).collect();
    assert_eq!(seqs, [1, 2, 3, 4], "{script:#?}");
    assert_eq!(told(ears.stream.frames.all()), script);
    assert_eq!(told(ears.poller.events), script);
}
