//! Invisible looks offline, in every way.

use protocol::client_frame::ChosenStatus;
use protocol::rpc::{LookAround, Sight};
use protocol::server_frame::Status;

use super::names::{SECOND, place, room, user};
use super::world::World;

fn look(world: &mut World, name: &str) -> Sight {
    world.replicas[0].core.look_around(&LookAround {
        conversation_id: Some(room(1)),
        users: vec![user(name)],
        last_seen: true,
        report: None,
    })
}

fn world_with_ada() -> World {
    let mut world = World::new(2, 2);
    world.nodes[0].open(&user("ada"));
    world.nodes[0].subscribe(&place(1, "ada"));
    world.run(SECOND);
    world
}

#[test]
fn whoever_becomes_invisible_is_offline_and_gone_at_once() {
    let mut world = world_with_ada();
    world.choose(&user("ada"), ChosenStatus::Invisible);
    world.tick();
    assert_eq!(world.told_of("ada"), ["online", "joined", "offline", "left"]);
}

#[test]
fn what_an_invisible_user_does_is_not_told() {
    let mut world = world_with_ada();
    world.choose(&user("ada"), ChosenStatus::Invisible);
    world.run(SECOND);
    let before = world.told.len();
    world.nodes[1].open(&user("ada"));
    world.nodes[1].subscribe(&place(2, "ada"));
    world.nodes[0].idle(&user("ada"), true);
    world.run(SECOND * 5);
    world.nodes[0].close(&user("ada"));
    world.nodes[1].close(&user("ada"));
    world.run(SECOND * 10);
    assert_eq!(world.told[before..], []);
}

#[test]
fn an_invisible_user_was_last_seen_when_he_was_last_visible() {
    let mut world = world_with_ada();
    let hidden = world.now.time.as_millis();
    world.choose(&user("ada"), ChosenStatus::Invisible);
    world.run(SECOND * 30);
    world.nodes[0].close(&user("ada"));
    world.run(SECOND * 30);
    let seen = world.seen[&user("ada")].as_millis();
    assert!(seen - hidden <= 100, "{}", seen - hidden);
    assert_eq!(
        look(&mut world, "ada").presence[0].last_seen.map(|it| it.as_millis()),
        Some(seen)
    );
}

#[test]
fn an_invisible_user_is_not_present() {
    let mut world = world_with_ada();
    world.choose(&user("ada"), ChosenStatus::Invisible);
    world.run(SECOND);
    let sight = look(&mut world, "ada");
    assert_eq!((sight.present, sight.presence[0].status), (vec![], Status::Offline));
}

#[test]
fn whoever_is_visible_again_joins_again() {
    let mut world = world_with_ada();
    world.choose(&user("ada"), ChosenStatus::Invisible);
    world.run(SECOND);
    world.choose(&user("ada"), ChosenStatus::Online);
    world.run(SECOND);
    assert_eq!(world.told_of("ada")[4..], ["online", "joined"]);
    assert_eq!(look(&mut world, "ada").present, [user("ada")]);
}

#[test]
fn an_invisible_user_who_left_is_not_shown_when_his_choice_is_lost() {
    let mut world = world_with_ada();
    world.choose(&user("ada"), ChosenStatus::Invisible);
    world.run(SECOND);
    let before = world.told.len();
    world.nodes[0].close(&user("ada"));
    world.run(SECOND / 2);
    world.choose(&user("ada"), ChosenStatus::Online);
    world.run(SECOND * 5);
    assert_eq!(world.told[before..], []);
}
