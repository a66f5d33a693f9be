//! Replicas that cannot hear: silence must not be taken for death.

use std::time::Duration;

use super::names::{SECOND, user};
use super::world::{Health, LEASE, TICK, World};

fn quiet_world(replicas: usize) -> World {
    let mut world = World::new(1, replicas);
    world.nodes[0].open(&user("ada"));
    world.nodes[0].open(&user("bob"));
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
    world.set_health(0, Health::Paused);
    world.set_health(1, Health::Paused);
    world.run(SECOND);
    world.nodes[0].close(&user("ada"));
    world.run(SECOND * 2);
    world.nodes[0].idle(&user("bob"), true);
    world.tick();
    world.nodes[0].idle(&user("bob"), false);
    world.nodes[0].open(&user("ada"));
    world.run(SECOND * 3);
    // All of it waits in buffers, and is read little by little.
    world.hears_most = 2;
    world.set_health(0, Health::Well);
    world.set_health(1, Health::Well);
    world.run(SECOND * 10);
    assert_eq!(
        (world.told_of("ada"), world.told_of("bob")),
        (vec!["online".into()], vec!["online".into()])
    );
}

#[test]
fn what_was_missed_while_the_link_was_down_is_told_within_a_second_of_its_return() {
    let mut world = quiet_world(1);
    world.set_health(0, Health::Cut);
    world.nodes[0].close(&user("ada"));
    world.nodes[0].open(&user("eve"));
    // The next beat that is not asked for is nearly two seconds away.
    world.run(Duration::from_millis(4_200));
    world.set_health(0, Health::Well);
    world.run(SECOND);
    assert_eq!(world.told_of("eve"), ["online"]);
    world.run(SECOND * 5);
    assert_eq!(world.told_of("ada"), ["online", "offline"]);
}

#[test]
fn a_replica_whose_link_is_back_does_not_take_the_others_for_dead() {
    for offset in 0..20 {
        let mut world = quiet_world(2);
        world.run(TICK * offset);
        world.set_health(0, Health::Cut);
        world.run(SECOND * 10);
        world.set_health(0, Health::Well);
        world.run(Duration::from_millis(700));
        let names: Vec<_> = (0..20).map(|n| format!("user{n}")).collect();
        for name in &names {
            world.nodes[0].open(&user(name));
        }
        world.run(SECOND * 5);
        assert!(names.iter().all(|name| world.told_of(name) == ["online"]));
    }
}
