//! Changing a group: its name and its members. Each change is an event of the conversation, live, by resume and in
//! `since` alike, and takes the next `seq`.

use serde_json::{Value, json};

use crate::harness::{Client, Room, User, is_durable, shared};

/// A group, and a socket of each member at alternating nodes.
async fn gathering<const N: usize>(names: [&str; N]) -> (Room<N>, Vec<Client>) {
    let room = shared().await.group(names).await;
    let mut sockets = Vec::new();
    for (number, user) in room.users.iter().enumerate() {
        sockets.push(user.connect_at(number % 2).await);
    }
    (room, sockets)
}

/// Every socket gets this next, with one time for all.
async fn assert_all_told(sockets: &[Client], event: Value) {
    let mut times = Vec::new();
    for socket in sockets {
        let mut told = socket.next_event().await;
        times.push(told.as_object_mut().unwrap().remove("timestamp"));
        assert_eq!(told, event);
    }
    assert!(times[0].as_ref().is_some_and(Value::is_string), "{times:?}");
    assert!(times.iter().all(|it| *it == times[0]), "{times:?}");
}

/// The roles of the members in their order.
fn roles(conversation: &Value) -> Vec<(String, String)> {
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let members = conversation["members"].as_array().unwrap();
    members
        .iter()
        .map(|it| (text(&it["user_id"]), text(&it["role"])))
        .collect()
}

#[tokio::test]
async fn a_rename_is_told_to_every_member() {
    let (room, sockets) = gathering(["ann", "bob", "eve"]).await;
    let [ann, ..] = &room.users;
    let shown = ann.api.rename(&room.id, "lunch").await.ok();
    assert_eq!((&shown["name"], &shown["seq"]), (&json!("lunch"), &json!(2)));
    assert_all_told(
        &sockets,
        json!({"type": "conversation:updated", "conversation_id": room.id, "seq": 2, "by": ann.id, "name": "lunch"}),
    )
    .await;
}

#[tokio::test]
async fn a_rename_is_seen_by_every_read_that_begins_after_its_answer() {
    let (room, _) = gathering(["ann", "bob"]).await;
    for number in 0..10 {
        let name = format!("name {number}");
        room.users[0].api_at(number % 2).rename(&room.id, &name).await.ok();
        let shown = room.users[1].api_at((number + 1) % 2).conversation(&room.id).await;
        assert_eq!(shown["name"], name);
    }
}

#[tokio::test]
async fn a_name_is_trimmed() {
    let (room, _) = gathering(["ann"]).await;
    let shown = room.users[0].api.rename(&room.id, " \t lunch at noon \n").await.ok();
    assert_eq!(shown["name"], "lunch at noon");
}

#[tokio::test]
async fn what_is_so_already_is_no_event() {
    let (room, sockets) = gathering(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    for reply in [
        ann.api.rename(&room.id, "a group").await,
        ann.api.add(&room.id, &[&bob.id]).await,
        ann.api.add(&room.id, &[&bob.id, &ann.id, &bob.id]).await,
        ann.api.set_role(&room.id, &bob.id, "member").await,
    ] {
        assert_eq!((reply.status, &reply.body["seq"]), (200, &json!(1)), "{}", reply.body);
    }
    ann.api.say(&room.id, "the next event").await;
    assert_eq!(sockets[1].expect_text("the next event").await["seq"], 2);
}

#[tokio::test]
async fn an_addition_is_told_to_every_member_and_names_who_is_new() {
    let (room, sockets) = gathering(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    let [eve, joe] = shared().await.users(["eve", "joe"]).await;
    let shown = ann.api.add(&room.id, &[&eve.id, &bob.id, &joe.id, &eve.id]).await.ok();
    assert_eq!(shown["seq"], 2);
    assert_all_told(
        &sockets,
        json!({"type": "member:added", "conversation_id": room.id, "seq": 2, "by": ann.id, "user_ids": [eve.id, joe.id]}),
    )
    .await;
    let expected = [
        (&ann.id, "owner"),
        (&bob.id, "member"),
        (&eve.id, "member"),
        (&joe.id, "member"),
    ];
    assert_eq!(roles(&shown), expected.map(|(user, role)| (user.clone(), role.into())));
}

/// What the new member was told of the conversation is what he reads of it.
fn assert_welcome(event: &Value, room: &Value) {
    assert_eq!(event["type"], "member:added", "{event}");
    let given = &event["conversation"];
    assert_eq!(given["seq"], event["seq"], "{event}");
    for field in ["conversation_id", "type", "name", "created_at", "read_seq"] {
        assert!(!room[field].is_null(), "{room}");
        assert_eq!(given[field], room[field], "{field}: {event}");
    }
    assert_eq!(roles(given), roles(room));
    assert!(given["unread"].is_u64(), "{event}");
}

#[tokio::test]
async fn only_the_new_members_own_event_carries_the_conversation() {
    let (room, _) = gathering(["ann", "bob"]).await;
    let eve = shared().await.user("eve").await;
    let (bobs, eves) = (
        room.users[1].connect().await,
        [eve.connect().await, eve.connect_at(1).await],
    );
    room.users[0].api.add(&room.id, &[&eve.id]).await.ok();
    let shown = eve.api.conversation(&room.id).await;
    for socket in &eves {
        assert_welcome(&socket.next_event().await, &shown);
    }
    assert_eq!(bobs.next_event().await.get("conversation"), None);
}

#[tokio::test]
async fn a_resume_and_since_bring_the_conversation_with_the_addition_too() {
    let (room, _) = gathering(["ann", "bob"]).await;
    let eve = shared().await.user("eve").await;
    let cursor = eve.connect().await.settled_cursor().await;
    room.users[0].api.add(&room.id, &[&eve.id]).await.ok();
    let shown = eve.api.conversation(&room.id).await;
    let again = eve.socket().node(1).resume(&cursor).connect().await;
    assert_welcome(&again.next_event().await, &shown);
    let (events, _) = eve.api.since(&cursor, 100).await;
    assert_welcome(&events[0], &shown);
}

#[tokio::test]
async fn a_new_member_gets_what_happens_from_his_addition_on() {
    let (room, _) = gathering(["ann", "bob"]).await;
    let eve = shared().await.user("eve").await;
    let sockets = [eve.connect().await, eve.connect_at(1).await];
    let cursor = sockets[0].settled_cursor().await;
    let [ann, _] = &room.users;
    ann.api.say(&room.id, "before").await;
    ann.api.add(&room.id, &[&eve.id]).await.ok();
    ann.api.say(&room.id, "after").await;
    let resumed = eve.socket().resume(&cursor).connect().await;
    for socket in sockets.iter().chain([&resumed]) {
        assert_eq!(socket.next_event().await["type"], "member:added");
        assert_eq!(socket.expect_text("after").await["seq"], 4);
        socket.assert_quiet().await;
    }
}

#[tokio::test]
async fn a_new_member_reads_the_history_from_the_start() {
    let (room, _) = gathering(["ann", "bob"]).await;
    let eve = shared().await.user("eve").await;
    for text in ["one", "two"] {
        room.users[0].api.say(&room.id, text).await;
    }
    room.users[0].api.add(&room.id, &[&eve.id]).await.ok();
    let history = eve.api_at(1).history_forwards(&room.id, 50).await;
    let texts: Vec<&str> = history.iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["one", "two"]);
    assert_eq!(eve.api.conversation(&room.id).await["unread"], 2);
}

#[tokio::test]
async fn a_new_member_may_talk_at_once_on_every_node() {
    let (room, sockets) = gathering(["ann", "bob"]).await;
    for node in [0, 1, 0, 1] {
        let eve = shared().await.user("eve").await;
        let socket = eve.connect_at(node).await;
        room.users[0]
            .api_at((node + 1) % 2)
            .add(&room.id, &[&eve.id])
            .await
            .ok();
        socket.say(&room.id, "hello from a newcomer").await;
        assert_eq!(sockets[1].next_event().await["type"], "member:added");
        sockets[1].expect_text("hello from a newcomer").await;
    }
}

#[tokio::test]
async fn a_removal_is_told_to_every_member_and_to_who_is_removed() {
    let (room, sockets) = gathering(["ann", "bob", "eve"]).await;
    let [ann, _, eve] = &room.users;
    assert_eq!(ann.api.remove(&room.id, &eve.id).await.status, 204);
    assert_all_told(
        &sockets,
        json!({"type": "member:removed", "conversation_id": room.id, "seq": 2, "by": ann.id, "user_ids": [eve.id]}),
    )
    .await;
    assert_eq!(roles(&ann.api.conversation(&room.id).await).len(), 2);
}

#[tokio::test]
async fn leaving_is_a_removal_by_oneself() {
    let (room, sockets) = gathering(["ann", "bob"]).await;
    let [_, bob] = &room.users;
    assert_eq!(bob.api.remove(&room.id, &bob.id).await.status, 204);
    assert_all_told(
        &sockets,
        json!({"type": "member:removed", "conversation_id": room.id, "seq": 2, "by": bob.id, "user_ids": [bob.id]}),
    )
    .await;
}

/// Everything that can happen to a group, once or twice, through both nodes.
async fn change_everything(room: &Room<3>, guest: &User) {
    let [ann, bob, eve] = &room.users;
    ann.api.say(&room.id, "one").await;
    ann.api_at(1).rename(&room.id, "lunch").await.ok();
    ann.api.set_role(&room.id, &bob.id, "admin").await.ok();
    bob.api_at(1).add(&room.id, &[&guest.id]).await.ok();
    guest.api.say(&room.id, "two").await;
    ann.api_at(1).update(&room.id, &json!({"history": "joined"})).await.ok();
    assert_eq!(bob.api.remove(&room.id, &eve.id).await.status, 204);
    assert_eq!(guest.api.remove(&room.id, &guest.id).await.status, 204);
    ann.api.say(&room.id, "three").await;
}

#[tokio::test]
async fn all_changes_come_densely_and_alike_live_by_resume_and_in_since() {
    let (room, sockets) = gathering(["ann", "bob", "eve"]).await;
    let guest = shared().await.user("guest").await;
    let cursor = sockets[1].settled_cursor().await;
    change_everything(&room, &guest).await;
    let live = sockets[1].next_events(9).await;
    let resumed = room.users[1].socket().node(0).resume(&cursor).connect().await;
    assert_eq!(resumed.next_events(9).await, live);
    resumed.assert_quiet().await;
    let (events, _) = room.users[1].api.since(&cursor, 4).await;
    let durable: Vec<&Value> = events.iter().filter(|it| is_durable(it)).collect();
    assert_eq!(durable, live.iter().collect::<Vec<_>>());
    let seqs: Vec<u64> = live.iter().filter_map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, (2..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn of_what_two_add_at_once_each_member_is_added_once() {
    let (room, sockets) = gathering(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    ann.api.set_role(&room.id, &bob.id, "admin").await.ok();
    assert_eq!(sockets[0].next_event().await["type"], "conversation:updated");
    for round in 0..8 {
        let new = format!("{}-{round}", room.id);
        let elsewhere = bob.api_at(1);
        let new = [&*new];
        let (one, other) = tokio::join!(ann.api.add(&room.id, &new), elsewhere.add(&room.id, &new));
        assert_eq!((one.status, other.status), (200, 200), "{} {}", one.body, other.body);
        let event = sockets[0].next_event().await;
        assert_eq!((&event["seq"], &event["user_ids"]), (&json!(round + 3), &json!(new)));
    }
    sockets[0].assert_quiet().await;
}

#[tokio::test]
async fn the_pages_of_members_have_each_member_once_in_the_order_in_which_they_came() {
    let (room, _) = gathering(["ann"]).await;
    let ann = &room.users[0];
    let new: Vec<String> = (0..25).map(|it| format!("{}-{it:02}", ann.id)).collect();
    for batch in new.chunks(10) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        ann.api.add(&room.id, &batch).await.ok();
    }
    let members = ann.api.members(&room.id, "limit=4").await;
    let ids: Vec<&str> = members.iter().map(|it| it["user_id"].as_str().unwrap()).collect();
    let expected: Vec<&str> = std::iter::once(&ann.id).chain(&new).map(String::as_str).collect();
    assert_eq!(ids, expected);
    assert_eq!(members[0]["role"], "owner");
}
