//! Presence: how users appear to those who share a room with them and have subscribed to it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Client, Lag, Room, shared, tuned};

/// Ann, subscribed to a room with the others, who are not connected yet.
pub async fn watched<const N: usize>(names: [&str; N]) -> (Room<N>, Client) {
    let room = shared().await.group(names).await;
    let ann = room.users[0].connect().await;
    ann.subscribe(&room.id).await;
    (room, ann)
}

/// The contract's five seconds for who is gone, and the machine's own delay.
pub const GONE: Duration = Duration::from_millis(5_500);

#[tokio::test]
async fn who_comes_is_told_online() {
    let (room, ann) = watched(["ann", "bob"]).await;
    let _bob = room.users[1].connect_at(1).await;
    let told = ann.expect_status(&room.users[1].id, "online").await;
    assert_eq!(
        told,
        json!({"type": "presence", "user_id": room.users[1].id, "status": "online"})
    );
}

#[tokio::test]
async fn who_goes_is_told_offline_within_five_seconds_and_when_he_was_last_seen() {
    let (room, ann) = watched(["ann", "bob"]).await;
    let bob = room.users[1].connect_at(1).await;
    ann.expect_status(&room.users[1].id, "online").await;
    let clock = room.users[0].api.say(&room.id, "what time is it").await;
    let lag = Lag::beside(&room.users[0].api);
    let gone = Instant::now();
    bob.kill().await;
    let told = ann.expect_status(&room.users[1].id, "offline").await;
    lag.assert_within(GONE, gone.elapsed(), "his going");
    let seen = told["last_seen"].as_str().expect("last_seen");
    assert!(
        seen >= clock["timestamp"].as_str().unwrap() && seen.len() == 24,
        "{told}"
    );
    let listed = room.users[0].api.presence(&[&room.users[1].id]).await.ok();
    assert_eq!(
        listed["presence"],
        json!([{"user_id": room.users[1].id, "status": "offline", "last_seen": seen}])
    );
}

#[tokio::test]
async fn of_several_devices_only_the_first_and_the_last_count() {
    let (room, ann) = watched(["ann", "bob", "eve"]).await;
    let [_, bob, eve] = &room.users;
    let phone = bob.connect().await;
    ann.expect_status(&bob.id, "online").await;
    let tablet = bob.connect_at(1).await;
    phone.kill().await;
    // Eve comes and goes after it: behind her the phone's end would have been told.
    let eves = eve.connect().await;
    ann.expect_status(&eve.id, "online").await;
    eves.kill().await;
    ann.expect_status(&eve.id, "offline").await;
    assert_eq!(ann.statuses_of(&bob.id), ["online"]);
    tablet.kill().await;
    ann.expect_status(&bob.id, "offline").await;
}

#[tokio::test]
async fn only_who_is_subscribed_to_a_shared_room_is_told() {
    let (room, ann) = watched(["ann", "bob", "eve"]).await;
    let [_, bob, eve] = &room.users;
    // Eve shares a room with Bob and is subscribed to another one, with Joe, who is the fence.
    let joe = shared().await.user("joe").await;
    let other = eve.api.group(&[&joe.id]).await;
    let eves = eve.connect().await;
    eves.subscribe(&other).await;
    let bobs = bob.connect().await;
    ann.expect_status(&bob.id, "online").await;
    bobs.set_status("dnd").await;
    ann.expect_status(&bob.id, "dnd").await;
    let _joe = joe.connect().await;
    eves.expect_status(&joe.id, "online").await;
    assert_eq!(eves.statuses_of(&bob.id), [""; 0]);
    assert_eq!(ann.statuses_of(&joe.id), [""; 0]);
}

#[tokio::test]
async fn of_two_shared_rooms_one_is_enough_and_the_change_is_told_once() {
    let (room, ann) = watched(["ann", "bob", "eve"]).await;
    let [anns, bob, eve] = &room.users;
    let other = anns.api.direct(&bob.id).await;
    ann.subscribe(&other).await;
    let bobs = bob.connect_at(1).await;
    bobs.set_status("dnd").await;
    ann.expect_status(&bob.id, "dnd").await;
    let eves = eve.connect_at(1).await;
    eves.set_status("dnd").await;
    ann.expect_status(&eve.id, "dnd").await;
    let told = ann.statuses_of(&bob.id);
    assert_eq!(told.iter().filter(|it| *it == "dnd").count(), 1, "{told:?}");
}

#[tokio::test]
async fn after_unsubscribing_no_status_is_told() {
    let (room, ann) = watched(["ann", "bob"]).await;
    let bob = &room.users[1];
    let tablet = room.users[0].connect().await;
    tablet.subscribe(&room.id).await;
    ann.unsubscribe(&room.id).await;
    let bobs = bob.connect().await;
    bobs.set_status("dnd").await;
    tablet.expect_status(&bob.id, "dnd").await;
    ann.barrier().await;
    assert_eq!(ann.statuses_of(&bob.id), [""; 0]);
}

#[tokio::test]
async fn who_is_no_member_any_more_is_told_of_no_more_and_who_is_new_is() {
    let (room, ann) = watched(["ann", "bob", "eve"]).await;
    let [anns, bob, eve] = &room.users;
    let joe = shared().await.user("joe").await;
    let sockets = [bob.connect().await, eve.connect().await, joe.connect_at(1).await];
    ann.expect_status(&bob.id, "online").await;
    ann.expect_status(&eve.id, "online").await;
    anns.api.remove(&room.id, &bob.id).await;
    anns.api.add(&room.id, &[&joe.id]).await.ok();
    ann.expect("member:added").await;
    for socket in &sockets {
        socket.set_status("dnd").await;
    }
    ann.expect_status(&joe.id, "dnd").await;
    ann.expect_status(&eve.id, "dnd").await;
    assert_eq!(ann.statuses_of(&bob.id), ["online"]);
}

/// How long whoever is gone may take to come back unnoticed.
pub const GRACE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_flapping_phone_is_told_a_few_times_at_most() {
    let (room, ann) = watched(["ann", "bob"]).await;
    let bob = &room.users[1];
    // Two signals more for each time that the machine did not let him come back before he was missed.
    let (mut since, mut more) = (Instant::now(), 0);
    for number in 0..20 {
        let phone = bob.connect_at(number % 2).await;
        phone.subscribe(&room.id).await;
        more += if since.elapsed() < GRACE { 0 } else { 2 };
        since = Instant::now();
        phone.kill().await;
    }
    ann.expect_status(&bob.id, "offline").await;
    let _fence = bob.connect().await;
    ann.expect_status(&bob.id, "online").await;
    let told = ann.statuses_of(&bob.id);
    assert!(told.len() <= 5 + more, "{told:?}");
    let rooms = ann.signals_of("user:joined", &bob.id).len() + ann.signals_of("user:left", &bob.id).len();
    assert!(rooms <= 4 + more, "{:?}", ann.signals());
}

/// The setting of [`tuned`].
const AWAY_AFTER: Duration = Duration::from_secs(4);

#[tokio::test]
async fn who_does_nothing_is_away_and_back_when_he_does_something() {
    let room = tuned().await.group(["ann", "bob"]).await;
    let ann = room.users[0].connect().await;
    ann.subscribe(&room.id).await;
    let began = Instant::now();
    let bob = room.users[1].connect_at(1).await;
    ann.expect_status(&room.users[1].id, "online").await;
    ann.expect_status(&room.users[1].id, "away").await;
    let after = began.elapsed();
    assert!(after >= AWAY_AFTER - Duration::from_millis(100), "{after:?}");
    bob.say(&room.id, "I am here").await;
    ann.expect_status(&room.users[1].id, "online").await;
    ann.expect_status(&room.users[1].id, "away").await;
}

#[tokio::test]
async fn who_is_active_on_one_device_is_not_away() {
    let room = tuned().await.group(["ann", "bob"]).await;
    let ann = room.users[0].connect().await;
    ann.subscribe(&room.id).await;
    let (_idle, active) = (room.users[1].connect().await, room.users[1].connect_at(1).await);
    ann.expect_status(&room.users[1].id, "online").await;
    let began = Instant::now();
    let (mut last, mut longest) = (began, Duration::ZERO);
    // Twice what makes one away.
    while began.elapsed() < 2 * AWAY_AFTER {
        let now = Instant::now();
        active.say(&room.id, "still here").await;
        // From one sign of life, at the earliest, to the next, at the latest.
        longest = longest.max(last.elapsed());
        last = now;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let told = ann.statuses_of(&room.users[1].id);
    assert!(
        told == ["online"] || longest >= AWAY_AFTER,
        "{told:?}, silent for {longest:?} at most"
    );
}

#[tokio::test]
async fn who_is_not_to_be_disturbed_is_not_away() {
    let room = tuned().await.group(["ann", "bob", "eve"]).await;
    let ann = room.users[0].connect().await;
    ann.subscribe(&room.id).await;
    let bob = room.users[1].connect().await;
    bob.set_status("dnd").await;
    ann.expect_status(&room.users[1].id, "dnd").await;
    let _eve = room.users[2].connect().await;
    ann.expect_status(&room.users[2].id, "away").await;
    let told: Vec<String> = ann.statuses_of(&room.users[1].id);
    assert!(!told.contains(&"away".to_owned()), "{told:?}");
}
