//! What is told, and what is not.

use std::time::Duration;

use protocol::client_frame::ChosenStatus;
use protocol::rpc::LookAround;
use protocol::signal::Signal;

use super::names::{SECOND, place, user};
use super::world::World;

#[test]
fn whoever_is_back_within_the_grace_was_never_away() {
    let mut world = World::new(2, 2);
    world.nodes[0].open(&user("ada"));
    world.nodes[0].subscribe(&place(1, "ada"));
    world.run(SECOND);
    world.nodes[0].close(&user("ada"));
    world.run(Duration::from_millis(2_500));
    world.nodes[1].open(&user("ada"));
    world.nodes[1].subscribe(&place(1, "ada"));
    world.run(SECOND * 10);
    assert_eq!(world.told_of("ada"), ["online", "joined"]);
}

#[test]
fn offline_is_told_within_five_seconds_with_when_he_was_last_seen() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.run(SECOND);
    world.nodes[0].close(&user("ada"));
    let (closed_at, closed) = (world.elapsed(), world.now.time.as_millis());
    world.run(SECOND * 10);
    let (at, _, Signal::Presence { presence, .. }) = world.told.last().unwrap() else {
        panic!("no presence");
    };
    let seen = presence.last_seen.unwrap().as_millis();
    assert!(*at - closed_at <= SECOND * 4 && seen - closed <= 100, "{at:?} {seen}");
    assert_eq!(world.seen[&user("ada")].as_millis(), seen);
}

#[test]
fn leaving_a_room_is_told_at_once() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.nodes[0].subscribe(&place(1, "ada"));
    world.run(SECOND);
    world.nodes[0].unsubscribe(&place(1, "ada"));
    world.run(Duration::from_millis(200));
    assert_eq!(world.told_of("ada"), ["online", "joined", "left"]);
}

#[test]
fn a_user_is_away_when_all_his_sessions_are_idle() {
    let mut world = World::new(2, 1);
    for node in &mut world.nodes {
        node.open(&user("ada"));
    }
    world.run(SECOND);
    world.nodes[0].idle(&user("ada"), true);
    world.run(SECOND);
    assert_eq!(world.told_of("ada"), ["online"]);
    world.nodes[1].idle(&user("ada"), true);
    world.run(SECOND);
    world.nodes[0].idle(&user("ada"), false);
    world.run(SECOND);
    assert_eq!(world.told_of("ada"), ["online", "away", "online"]);
}

#[test]
fn a_chosen_status_names_the_session_that_chose_it() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.run(SECOND);
    world.choose(&user("ada"), ChosenStatus::Dnd);
    world.run(SECOND);
    let sessions = world.told.iter().map(|(_, _, signal)| match signal {
        Signal::Presence { session_id, .. } => session_id.as_deref(),
        _ => None,
    });
    assert_eq!(sessions.collect::<Vec<_>>(), [None, Some("session")]);
    assert_eq!(world.told_of("ada"), ["online", "dnd"]);
}

#[test]
fn a_phone_that_flaps_for_a_minute_is_not_noticed() {
    let mut world = World::new(2, 2);
    world.nodes[1].open(&user("bob"));
    for n in 0..60 {
        world.nodes[n % 2].open(&user("ada"));
        world.run(Duration::from_millis(500));
        world.nodes[n % 2].close(&user("ada"));
        world.run(Duration::from_millis(500));
    }
    assert_eq!(world.told_of("ada"), ["online"]);
}

#[test]
fn a_status_that_flips_for_a_minute_gives_a_bounded_number_of_signals() {
    let mut world = World::new(1, 2);
    world.nodes[0].open(&user("ada"));
    for n in 0..600 {
        let status = if n % 2 == 0 {
            ChosenStatus::Dnd
        } else {
            ChosenStatus::Online
        };
        world.choose(&user("ada"), status);
        world.run(Duration::from_millis(100));
    }
    world.choose(&user("ada"), ChosenStatus::Away);
    world.run(SECOND * 5);
    let told = world.told_of("ada");
    assert!(told.len() <= 42, "{}", told.len());
    assert_eq!(told.last().map(String::as_str), Some("away"));
}

#[test]
fn a_user_is_online_before_he_joins() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.nodes[0].subscribe(&place(1, "ada"));
    world.run(SECOND);
    assert_eq!(world.told_of("ada"), ["online", "joined"]);
}

#[test]
fn what_somebody_was_shown_who_asked_is_told_also_when_it_is_over_by_then() {
    let mut world = World::new(1, 2);
    let place = place(1, "ada");
    // So often that the next change waits.
    world.nodes[0].open(&user("ada"));
    for _ in 0..8 {
        world.nodes[0].subscribe(&place);
        world.run(Duration::from_millis(100));
        world.nodes[0].unsubscribe(&place);
        world.run(Duration::from_millis(100));
    }
    world.nodes[0].subscribe(&place);
    world.run(Duration::from_millis(100));
    let request = LookAround {
        conversation_id: Some(place.0.clone()),
        users: Vec::new(),
        last_seen: false,
        report: None,
    };
    let already = world.view().places.contains(&place);
    for replica in 0..2 {
        world.look(replica, request.clone());
    }
    assert!(!already && world.view().places.contains(&place));
    world.nodes[0].unsubscribe(&place);
    world.run(SECOND * 10);
    assert!(world.view().places.is_empty());
}
