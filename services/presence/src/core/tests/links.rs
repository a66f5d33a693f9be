//! Replicas that cannot hear: silence must not be taken for death.

use super::names::{SECOND, user};
use super::world::{Health, LEASE, World};

fn quiet_world(replicas: usize) -> World {
    let mut world = World::new(1, replicas);
    world.nodes[0].open(&user("ada"));
    world.run(SECOND);
    world
}

#[test]
fn no_lease_ends_while_the_own_link_is_down() {
    let mut world = quiet_world(1);
    world.set_health(0, Health::Cut);
    world.run(SECOND * 60);
    world.set_health(0, Health::Well);
    world.run(SECOND * 20);
    assert_eq!(world.told_of("ada"), ["online"]);
}

#[test]
fn a_node_that_died_meanwhile_has_a_whole_lease_after_the_link_is_back() {
    let mut world = quiet_world(1);
    world.set_health(0, Health::Cut);
    world.run(SECOND * 60);
    world.nodes[0].alive = false;
    world.set_health(0, Health::Well);
    let back = world.elapsed();
    world.run(SECOND * 20);
    let (at, _, _) = world.told.last().unwrap();
    assert_eq!(world.told_of("ada"), ["online", "offline"]);
    assert!(*at >= back + LEASE, "{:?}", *at - back);
}

#[test]
fn a_link_that_is_silent_without_being_down_ends_no_lease() {
    let mut world = quiet_world(1);
    // The server is stopped: the client has not noticed, and nothing comes, not even the replica's own beats.
    world.replicas[0].health = Health::Cut;
    world.run(SECOND * 60);
    world.replicas[0].health = Health::Well;
    world.run(SECOND * 20);
    assert_eq!(world.told_of("ada"), ["online"]);
}

#[test]
fn a_replica_that_was_paused_ends_no_lease() {
    let mut world = quiet_world(1);
    world.set_health(0, Health::Paused);
    world.run(SECOND * 60);
    world.set_health(0, Health::Well);
    world.run(SECOND * 20);
    assert_eq!(world.told_of("ada"), ["online"]);
}

#[test]
fn a_replica_that_was_paused_does_not_tell_what_was_so_long_ago() {
    let mut world = quiet_world(2);
    world.nodes[0].open(&user("bob"));
    world.set_health(0, Health::Paused);
    world.set_health(1, Health::Paused);
    // Bob goes and comes while nobody listens; all of it waits in the buffers.
    world.run(SECOND);
    world.nodes[0].close(&user("ada"));
    world.run(SECOND * 20);
    world.nodes[0].open(&user("ada"));
    world.run(SECOND * 20);
    world.set_health(0, Health::Well);
    world.set_health(1, Health::Well);
    world.run(SECOND * 10);
    assert_eq!(world.told_of("ada"), ["online"]);
}

#[test]
fn what_was_missed_while_the_link_was_down_is_told_when_it_is_back() {
    let mut world = quiet_world(1);
    world.set_health(0, Health::Cut);
    world.nodes[0].close(&user("ada"));
    world.nodes[0].open(&user("bob"));
    world.run(SECOND * 5);
    world.set_health(0, Health::Well);
    world.run(SECOND * 6);
    assert_eq!(world.told_of("ada"), ["online", "offline"]);
    assert_eq!(world.told_of("bob"), ["online"]);
}
