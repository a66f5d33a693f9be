//! Which devices users are connected from, and who does not want to be disturbed.

use protocol::client_frame::{AppState, ChosenStatus};
use protocol::rpc::UserConnections;

use super::names::{SECOND, user};
use super::world::{LEASE, World};

fn told(world: &World, name: &str) -> Option<UserConnections> {
    let mut told = world.replicas[0].core.connections(&[user(name)]).users;
    assert!(told.len() <= 1);
    told.pop()
}

fn devices(world: &World, name: &str) -> Vec<(String, AppState)> {
    told(world, name).map_or_else(Vec::new, |it| it.devices)
}

#[test]
fn an_app_that_goes_into_the_background_is_told_of_so() {
    let mut world = World::new(1, 1);
    world.nodes[0].open_on(&user("ada"), "phone");
    world.run(SECOND);
    assert_eq!(devices(&world, "ada"), [("phone".into(), AppState::Foreground)]);
    world.nodes[0].set_state(&user("ada"), AppState::Background);
    world.run(SECOND);
    assert_eq!(devices(&world, "ada"), [("phone".into(), AppState::Background)]);
}

#[test]
fn devices_on_other_nodes_stay_when_one_dies() {
    let mut world = World::new(2, 1);
    world.nodes[0].open_on(&user("ada"), "phone");
    world.nodes[1].open_on(&user("ada"), "web");
    world.run(SECOND);
    assert_eq!(devices(&world, "ada").len(), 2);
    world.nodes[0].alive = false;
    world.run(LEASE + SECOND);
    assert_eq!(devices(&world, "ada"), [("web".into(), AppState::Foreground)]);
}

#[test]
fn who_is_in_his_grace_is_connected_from_nowhere_and_was_so_lately() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.run(SECOND);
    world.nodes[0].close(&user("ada"));
    world.run(SECOND);
    assert_eq!(world.told_of("ada"), ["online"]);
    let ada = UserConnections {
        user_id: user("ada"),
        dnd: false,
        devices: Vec::new(),
        lately: true,
    };
    assert_eq!(told(&world, "ada"), Some(ada));
    world.run(SECOND * 3);
    assert_eq!(told(&world, "ada"), None);
}

#[test]
fn who_is_invisible_is_connected_all_the_same() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.choose(&user("ada"), ChosenStatus::Invisible);
    world.run(SECOND);
    assert_eq!(devices(&world, "ada").len(), 1);
}

#[test]
fn who_does_not_want_to_be_disturbed_is_told_of_also_while_he_is_offline() {
    let mut world = World::new(1, 1);
    world.choose(&user("ada"), ChosenStatus::Dnd);
    world.choose(&user("bob"), ChosenStatus::Away);
    world.run(SECOND);
    let ada = UserConnections {
        user_id: user("ada"),
        dnd: true,
        devices: Vec::new(),
        lately: false,
    };
    assert_eq!((told(&world, "ada"), told(&world, "bob")), (Some(ada), None));
}
