//! Rooms: who subscribes to one is told, live and never again, who is in it.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Client, Lag, PATIENCE, Room, SIGNALS, is_durable, shared, until};
use crate::presence::{GONE, GRACE};

/// A group, and a socket of each member at alternating nodes, of which the first is subscribed.
async fn watched<const N: usize>(names: [&str; N]) -> (Room<N>, [Client; N]) {
    let room = shared().await.group(names).await;
    let mut sockets = Vec::new();
    for (number, user) in room.users.iter().enumerate() {
        sockets.push(user.connect_at(number % 2).await);
    }
    sockets[0].subscribe(&room.id).await;
    let sockets = sockets
        .try_into()
        .unwrap_or_else(|_| unreachable!("one socket for each name"));
    (room, sockets)
}

/// The users that a `subscribed` lists, in alphabetical order.
fn present(subscribed: &Value) -> Vec<String> {
    let list = subscribed["present"].as_array().unwrap();
    let mut users: Vec<String> = list
        .iter()
        .map(|it| it["user_id"].as_str().unwrap().to_owned())
        .collect();
    users.sort();
    users
}

fn sorted<const N: usize>(users: [&String; N]) -> Vec<String> {
    let mut users = users.map(String::clone).to_vec();
    users.sort();
    users
}

#[tokio::test]
async fn subscribed_has_every_field_of_the_contract() {
    let (room, [ann, ..]) = watched(["ann", "bob"]).await;
    ann.say(&room.id, "two").await;
    ann.send(json!({"type": "subscribe", "conversation_id": room.id, "ref": 1}))
        .await;
    let answer = ann.expect("subscribed").await;
    let expected = json!({
        "type": "subscribed", "conversation_id": room.id, "seq": 2,
        "present": [{"user_id": room.users[0].id, "status": "online"}], "present_count": 1, "typing": [], "ref": 1,
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn subscribed_lists_who_is_subscribed_on_every_node_oneself_included() {
    let (room, [_, bob, eve]) = watched(["ann", "bob", "eve"]).await;
    let [anns, bobs, eves] = &room.users;
    assert_eq!(present(&bob.subscribe(&room.id).await), sorted([&anns.id, &bobs.id]));
    let answer = eve.subscribe(&room.id).await;
    assert_eq!(present(&answer), sorted([&anns.id, &bobs.id, &eves.id]));
    assert_eq!(answer["present_count"], 3);
}

#[tokio::test]
async fn the_first_socket_of_a_user_that_subscribes_is_told_to_the_others() {
    let (room, [ann, bob, eve]) = watched(["ann", "bob", "eve"]).await;
    eve.subscribe(&room.id).await;
    bob.subscribe(&room.id).await;
    let user = &room.users[1].id;
    for socket in [&ann, &eve] {
        let told = socket.expect_signal("user:joined", &room.id, user).await;
        assert_eq!(
            told,
            json!({"type": "user:joined", "conversation_id": room.id, "user_id": user})
        );
    }
}

#[tokio::test]
async fn unsubscribing_is_answered_and_told_to_the_others() {
    let (room, [ann, bob]) = watched(["ann", "bob"]).await;
    bob.subscribe(&room.id).await;
    ann.expect_signal("user:joined", &room.id, &room.users[1].id).await;
    let answer = bob.unsubscribe(&room.id).await;
    assert_eq!(answer["conversation_id"], room.id.as_str());
    let told = ann.expect_signal("user:left", &room.id, &room.users[1].id).await;
    assert_eq!(
        told,
        json!({"type": "user:left", "conversation_id": room.id, "user_id": room.users[1].id})
    );
}

#[tokio::test]
async fn nobody_is_told_of_his_own_coming_by_the_socket_that_comes() {
    let (room, [ann, bob, eve]) = watched(["ann", "bob", "eve"]).await;
    bob.subscribe(&room.id).await;
    ann.expect_signal("user:joined", &room.id, &room.users[1].id).await;
    eve.subscribe(&room.id).await;
    bob.expect_signal("user:joined", &room.id, &room.users[2].id).await;
    assert_eq!(bob.signals_of("user:joined", &room.users[1].id), [] as [Value; 0]);
}

#[tokio::test]
async fn a_user_with_two_sockets_comes_with_the_first_and_goes_with_the_last() {
    let (room, [ann, phone, eve]) = watched(["ann", "bob", "eve"]).await;
    let [_, bob, eves] = &room.users;
    let tablet = bob.connect().await;
    phone.subscribe(&room.id).await;
    tablet.subscribe(&room.id).await;
    phone.unsubscribe(&room.id).await;
    // Eve's coming and going is the fence behind what must not be told of Bob.
    eve.subscribe(&room.id).await;
    ann.expect_signal("user:joined", &room.id, &eves.id).await;
    eve.unsubscribe(&room.id).await;
    ann.expect_signal("user:left", &room.id, &eves.id).await;
    assert_eq!(ann.signals_of("user:joined", &bob.id).len(), 1);
    assert_eq!(ann.signals_of("user:left", &bob.id).len(), 0);
    tablet.unsubscribe(&room.id).await;
    ann.expect_signal("user:left", &room.id, &bob.id).await;
}

#[tokio::test]
async fn when_a_subscribed_socket_dies_its_user_has_left() {
    let (room, [ann, bob]) = watched(["ann", "bob"]).await;
    bob.subscribe(&room.id).await;
    let lag = Lag::beside(&room.users[0].api);
    let died = Instant::now();
    bob.kill().await;
    ann.expect_signal("user:left", &room.id, &room.users[1].id).await;
    lag.assert_within(GONE, died.elapsed(), "his leaving");
    assert_eq!(present(&ann.subscribe(&room.id).await), [room.users[0].id.clone()]);
}

#[tokio::test]
async fn who_comes_back_before_he_was_missed_has_not_left() {
    let (room, [ann, bob, eve]) = watched(["ann", "bob", "eve"]).await;
    eve.subscribe(&room.id).await;
    bob.subscribe(&room.id).await;
    ann.expect_signal("user:joined", &room.id, &room.users[1].id).await;
    let again = room.users[1].connect().await;
    let died = Instant::now();
    bob.kill().await;
    again.subscribe(&room.id).await;
    let missing = died.elapsed();
    eve.kill().await;
    ann.expect_signal("user:left", &room.id, &room.users[2].id).await;
    let left = ann.signals_of("user:left", &room.users[1].id);
    assert!(
        left.is_empty() || missing >= GRACE,
        "{left:?} though back after {missing:?}"
    );
}

#[tokio::test]
async fn after_unsubscribing_no_signal_comes() {
    let (room, [ann, bob, eve]) = watched(["ann", "bob", "eve"]).await;
    eve.subscribe(&room.id).await;
    eve.unsubscribe(&room.id).await;
    let before = eve.signals().len();
    bob.subscribe(&room.id).await;
    bob.send_room("typing:start", &room.id).await;
    ann.expect_signal("typing:started", &room.id, &room.users[1].id).await;
    ann.say(&room.id, "the fence").await;
    eve.expect_text("the fence").await;
    assert_eq!(eve.signals().len(), before);
}

#[tokio::test]
async fn without_a_subscription_durable_events_come_and_signals_do_not() {
    let (room, [ann, bob, eve]) = watched(["ann", "bob", "eve"]).await;
    bob.subscribe(&room.id).await;
    bob.send_room("typing:start", &room.id).await;
    ann.expect_signal("typing:started", &room.id, &room.users[1].id).await;
    ann.say(&room.id, "for all").await;
    eve.expect_text("for all").await;
    eve.send(json!({"type": "message:read", "conversation_id": room.id, "seq": 2}))
        .await;
    bob.expect("message:read").await;
    assert_eq!(eve.signals(), [] as [Value; 0]);
}

#[tokio::test]
async fn a_subscription_is_of_one_room() {
    let (room, [ann, bob]) = watched(["ann", "bob"]).await;
    let other = room.users[0].api.group(&[&room.users[1].id]).await;
    bob.subscribe(&other).await;
    bob.subscribe(&room.id).await;
    ann.expect_signal("user:joined", &room.id, &room.users[1].id).await;
    let joined = ann.signals_of("user:joined", &room.users[1].id);
    assert_eq!(joined.len(), 1, "{joined:?}");
}

#[tokio::test]
async fn a_subscription_ends_with_its_socket_and_no_resume_brings_it_back() {
    let (room, [ann, bob]) = watched(["ann", "bob"]).await;
    bob.subscribe(&room.id).await;
    let cursor = bob.settled_cursor().await;
    bob.kill().await;
    let again = room.users[1].socket().resume(&cursor).connect().await;
    let tablet = room.users[1].connect().await;
    tablet.subscribe(&room.id).await;
    ann.send_room("typing:start", &room.id).await;
    tablet
        .expect_signal("typing:started", &room.id, &room.users[0].id)
        .await;
    ann.say(&room.id, "the fence").await;
    again.expect_text("the fence").await;
    assert_eq!(again.signals(), [] as [Value; 0]);
}

#[tokio::test]
async fn subscribing_again_is_answered_and_told_to_nobody() {
    let (room, [ann, bob, eve]) = watched(["ann", "bob", "eve"]).await;
    for _ in 0..3 {
        bob.subscribe(&room.id).await;
    }
    eve.subscribe(&room.id).await;
    ann.expect_signal("user:joined", &room.id, &room.users[2].id).await;
    assert_eq!(ann.signals_of("user:joined", &room.users[1].id).len(), 1);
    bob.unsubscribe(&room.id).await;
    ann.expect_signal("user:left", &room.id, &room.users[1].id).await;
}

#[tokio::test]
async fn absent_and_foreign_rooms_are_not_found_alike() {
    let (room, _) = watched(["ann", "bob"]).await;
    let eve = shared().await.user("eve").await.connect().await;
    for kind in ["subscribe", "typing:start", "typing:stop"] {
        let mut told = Vec::new();
        for id in [room.id.as_str(), "g00000000000000000000000000000000", "nonsense", ""] {
            eve.send(json!({"type": kind, "conversation_id": id, "ref": kind}))
                .await;
            told.push(eve.expect_error("not_found").await);
        }
        assert!(told.iter().all(|it| *it == told[0] && it["ref"] == kind), "{told:?}");
    }
}

#[tokio::test]
async fn a_frame_without_a_room_is_invalid() {
    let (_, [ann, _]) = watched(["ann", "bob"]).await;
    for kind in ["subscribe", "unsubscribe", "typing:start", "typing:stop"] {
        for wrong in [
            json!({}),
            json!({"conversation_id": 7}),
            json!({"conversation_id": {"$ne": 1}}),
        ] {
            let mut frame = wrong;
            frame
                .as_object_mut()
                .unwrap()
                .extend([("type".into(), json!(kind)), ("ref".into(), json!(kind))]);
            ann.send(frame).await;
            assert_eq!(ann.expect_error("invalid").await["ref"], kind);
        }
    }
}

#[tokio::test]
async fn the_subscription_of_a_removed_member_ends() {
    let (room, [ann, bob, eve]) = watched(["ann", "bob", "eve"]).await;
    for socket in [&bob, &eve] {
        socket.subscribe(&room.id).await;
    }
    room.users[0].api.remove(&room.id, &room.users[1].id).await;
    assert_eq!(bob.next_event().await["type"], "member:removed");
    ann.expect_signal("user:left", &room.id, &room.users[1].id).await;
    let before = bob.signals().len();
    ann.send_room("typing:start", &room.id).await;
    eve.expect_signal("typing:started", &room.id, &room.users[0].id).await;
    // Something else for Bob, behind which the signal would have come.
    let other = room.users[0].api.direct(&room.users[1].id).await;
    let fence = |it: &Value| is_durable(it) && it["conversation_id"] == other.as_str();
    bob.frames.frame("the fence", fence).await;
    assert_eq!(bob.signals().len(), before);
}

#[tokio::test]
async fn signals_are_never_stored() {
    let (room, [ann, bob]) = watched(["ann", "bob"]).await;
    let cursor = ann.settled_cursor().await;
    bob.subscribe(&room.id).await;
    bob.send_room("typing:start", &room.id).await;
    ann.expect_signal("typing:started", &room.id, &room.users[1].id).await;
    ann.kill().await;
    let again = room.users[0].socket().node(1).resume(&cursor).connect().await;
    again.expect("checkpoint").await;
    let (events, _) = room.users[0].api.since(&cursor, 10).await;
    let is_signal = |it: &Value| SIGNALS.iter().any(|kind| it["type"] == *kind);
    assert!(!again.frames.all().iter().chain(&events).any(is_signal));
}

#[tokio::test]
async fn in_a_storm_of_subscribing_every_frame_is_answered_in_order_and_the_last_one_counts() {
    let (room, [ann, bob]) = watched(["ann", "bob"]).await;
    for number in 0..400 {
        let kind = if number % 2 == 0 { "subscribe" } else { "unsubscribe" };
        bob.send(json!({"type": kind, "conversation_id": room.id, "ref": number}))
            .await;
    }
    bob.frames.frame("the last answer", |it| it["ref"] == 399).await;
    let answers = bob.frames.all();
    let refs: Vec<u64> = answers.iter().filter_map(|it| it["ref"].as_u64()).collect();
    assert_eq!(refs, (0..400).collect::<Vec<_>>());
    // A frame may be `unavailable` to a machine that stalls, and is sent again then if it is the one that counts.
    let refused: Vec<&Value> = answers.iter().filter(|it| it["type"] == "error").collect();
    assert!(refused.iter().all(|it| it["code"] == "unavailable"), "{refused:?}");
    println!("{} of 400 unavailable", refused.len());
    if refused.last().is_some_and(|it| it["ref"] == 399) {
        bob.unsubscribe(&room.id).await;
    }
    // The others are told a few of them, and in the end that he is gone.
    let is_gone = async || {
        let answer = ann.subscribe(&room.id).await;
        (present(&answer) == [room.users[0].id.clone()]).then_some(())
    };
    until("the last frame to count", PATIENCE, is_gone).await;
    let of_bob = |it: &Value| it["user_id"] == room.users[1].id.as_str() && it["conversation_id"] == room.id.as_str();
    let last_is_left = async || {
        let last = ann.signals().into_iter().rfind(of_bob);
        last.is_none_or(|it| it["type"] == "user:left").then_some(())
    };
    until("the last signal to be that he left", PATIENCE, last_is_left).await;
    let told = ann.signals().into_iter().filter(of_bob).count();
    assert!(told <= 200, "told {told} times");
}
