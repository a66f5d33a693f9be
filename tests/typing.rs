//! Who is writing: told live to a room's subscribers, and over by itself five seconds after the last start.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Client, Lag, PATIENCE, Room, shared, until};

/// A group of three at alternating nodes; the first two are subscribed, the third is not.
async fn writing() -> (Room<3>, [Client; 3]) {
    let room = shared().await.group(["ann", "bob", "eve"]).await;
    let [ann, bob, eve] = &room.users;
    let sockets = [ann.connect().await, bob.connect_at(1).await, eve.connect_at(1).await];
    for socket in &sockets[..2] {
        socket.subscribe(&room.id).await;
    }
    (room, sockets)
}

#[tokio::test]
async fn a_start_and_a_stop_are_told_to_the_subscribers_on_every_node() {
    let (room, [ann, bob, eve]) = writing().await;
    for (sent, told) in [("typing:start", "typing:started"), ("typing:stop", "typing:stopped")] {
        eve.send_room(sent, &room.id).await;
        for socket in [&ann, &bob] {
            let frame = socket.expect_signal(told, &room.id, &room.users[2].id).await;
            assert_eq!(
                frame,
                json!({"type": told, "conversation_id": room.id, "user_id": room.users[2].id})
            );
        }
    }
    // Who sends needs no subscription, and is told nothing.
    eve.assert_quiet().await;
    assert_eq!(eve.signals(), [] as [Value; 0]);
}

#[tokio::test]
async fn the_users_other_sockets_are_told_and_the_socket_itself_is_not() {
    let (room, [ann, phone, _]) = writing().await;
    let tablet = room.users[1].connect().await;
    tablet.subscribe(&room.id).await;
    phone.send_room("typing:start", &room.id).await;
    for socket in [&ann, &tablet] {
        socket
            .expect_signal("typing:started", &room.id, &room.users[1].id)
            .await;
    }
    ann.send_room("typing:start", &room.id).await;
    phone.expect_signal("typing:started", &room.id, &room.users[0].id).await;
    assert_eq!(phone.signals_of("typing:started", &room.users[1].id).len(), 0);
}

#[tokio::test]
async fn who_subscribes_sees_who_is_writing_already() {
    let (room, [ann, bob, eve]) = writing().await;
    eve.send_room("typing:start", &room.id).await;
    for socket in [&ann, &bob] {
        socket
            .expect_signal("typing:started", &room.id, &room.users[2].id)
            .await;
    }
    for node in [0, 1] {
        until(&format!("eve to be writing at node {node}"), PATIENCE, async || {
            let late = room.users[0].connect_at(node).await;
            // Otherwise it might end meanwhile.
            eve.send_room("typing:start", &room.id).await;
            (late.subscribe(&room.id).await["typing"] == json!([room.users[2].id])).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_first_subscriber_of_a_node_sees_who_is_writing_too() {
    let room = shared().await.group(["ann", "bob"]).await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    let neighbour = room.users[0].connect().await;
    let elsewhere = room.users[0].connect_at(1).await;
    neighbour.subscribe(&room.id).await;
    let began = Instant::now();
    bob.send_room("typing:start", &room.id).await;
    neighbour
        .expect_signal("typing:started", &room.id, &room.users[1].id)
        .await;
    let typing = elsewhere.subscribe(&room.id).await["typing"].clone();
    assert!(
        typing == json!([room.users[1].id]) || began.elapsed() > Duration::from_millis(4_500),
        "{typing}, though it is not over yet"
    );
    drop(ann);
}

/// How long after `since` the watcher was told that a user stopped.
async fn stopped_after(watcher: &Client, room: &Room<3>, user: usize, since: Instant) -> Duration {
    let user = &room.users[user].id;
    let stopped = |it: &Value| it["type"] == "typing:stopped" && it["user_id"] == user.as_str();
    let (_, at) = watcher.frames.frame_within("typing:stopped", PATIENCE, stopped).await;
    at - since
}

/// Five seconds, and what the machine may take longer.
const OVER: Duration = Duration::from_millis(6_200);

fn assert_five_seconds(after: Duration, lag: &Lag) {
    assert!(after >= Duration::from_millis(4_500), "{after:?}");
    lag.assert_within(OVER, after, "the end");
}

#[tokio::test]
async fn without_a_stop_it_ends_after_five_seconds_also_when_the_socket_is_gone() {
    let (room, [ann, bob, eve]) = writing().await;
    let lag = Lag::beside(&room.users[0].api);
    let began = Instant::now();
    bob.send_room("typing:start", &room.id).await;
    eve.send_room("typing:start", &room.id).await;
    ann.expect_signal("typing:started", &room.id, &room.users[1].id).await;
    ann.expect_signal("typing:started", &room.id, &room.users[2].id).await;
    eve.kill().await;
    assert_five_seconds(stopped_after(&ann, &room, 1, began).await, &lag);
    // A socket that is gone may be told at once.
    lag.assert_within(OVER, stopped_after(&ann, &room, 2, began).await, "hers");
    assert_eq!(
        room.users[0].connect().await.subscribe(&room.id).await["typing"],
        json!([])
    );
}

#[tokio::test]
async fn another_start_makes_it_last_five_seconds_from_then_on() {
    let (room, [ann, bob, _]) = writing().await;
    bob.send_room("typing:start", &room.id).await;
    ann.expect_signal("typing:started", &room.id, &room.users[1].id).await;
    // One start a second is taken; and the first one's end is so far that it does not come before the second is taken.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let lag = Lag::beside(&room.users[0].api);
    let again = Instant::now();
    bob.send_room("typing:start", &room.id).await;
    assert_five_seconds(stopped_after(&ann, &room, 1, again).await, &lag);
}

#[tokio::test]
async fn after_a_stop_the_end_of_the_five_seconds_is_not_told_again() {
    let (room, [ann, bob, eve]) = writing().await;
    bob.send_room("typing:start", &room.id).await;
    ann.expect_signal("typing:started", &room.id, &room.users[1].id).await;
    bob.send_room("typing:stop", &room.id).await;
    // Eve's five seconds begin after Bob's: their end is behind what must not come.
    eve.send_room("typing:start", &room.id).await;
    stopped_after(&ann, &room, 2, Instant::now()).await;
    assert_eq!(ann.signals_of("typing:stopped", &room.users[1].id).len(), 1);
}

#[tokio::test]
async fn who_has_left_or_was_removed_is_not_found() {
    let (room, [ann, bob, eve]) = writing().await;
    let [anns, bobs, eves] = &room.users;
    bobs.api.remove(&room.id, &bobs.id).await;
    anns.api.remove(&room.id, &eves.id).await;
    for (socket, user) in [(&bob, bobs), (&eve, eves)] {
        let gone = |it: &Value| it["type"] == "member:removed" && it["user_ids"] == json!([user.id]);
        socket.frames.frame("his removal", gone).await;
        for kind in ["typing:start", "typing:stop"] {
            socket.send_room(kind, &room.id).await;
            assert_eq!(socket.expect_error("not_found").await["ref"], kind);
        }
    }
    ann.barrier().await;
    assert_eq!(ann.frames.count("typing:started"), 0);
}

#[tokio::test]
async fn a_storm_of_starts_is_told_as_few_and_hinders_nobody() {
    let (room, [ann, bob, eve]) = writing().await;
    let began = Instant::now();
    for _ in 0..1_000 {
        bob.send_room("typing:start", &room.id).await;
    }
    eve.say(&room.id, "beside the storm").await;
    ann.expect_text("beside the storm").await;
    let took = began.elapsed();
    bob.send_room("typing:stop", &room.id).await;
    ann.expect_signal("typing:stopped", &room.id, &room.users[1].id).await;
    let told = ann.signals_of("typing:started", &room.users[1].id).len();
    let most = 2 + took.as_secs() as usize;
    assert!((1..=most).contains(&told), "told {told} times in {took:?}");
}

#[tokio::test]
async fn a_storm_of_starts_and_stops_is_told_as_few_and_ends_as_it_ended() {
    let (room, [ann, bob, eve]) = writing().await;
    let began = Instant::now();
    for _ in 0..500 {
        bob.send_room("typing:start", &room.id).await;
        bob.send_room("typing:stop", &room.id).await;
    }
    bob.barrier().await;
    let took = began.elapsed();
    eve.send_room("typing:start", &room.id).await;
    ann.expect_signal("typing:started", &room.id, &room.users[2].id).await;
    let of_bob = |it: &Value| {
        let typing = it["type"].as_str().is_some_and(|it| it.starts_with("typing:"));
        typing && it["user_id"] == room.users[1].id.as_str()
    };
    let mut told = ann.signals();
    told.retain(of_bob);
    // One start a second, and the stop that belongs to it.
    let most = 2 * (2 + took.as_secs() as usize);
    assert!(told.len() <= most, "told {} times in {took:?}", told.len());
    assert_eq!(
        told.last().map(|it| &it["type"]),
        Some(&json!("typing:stopped")),
        "{told:?}"
    );
}
