//! Several replicas: they know the same, and each thing is told once.

use std::time::Duration;

use super::names::{SECOND, place, user};
use super::world::{Health, World};

fn crowd() -> Vec<String> {
    (0..40).map(|n| format!("user{n}")).collect()
}

#[test]
fn each_transition_is_told_once() {
    let mut world = World::new(2, 3);
    for (n, name) in crowd().iter().enumerate() {
        world.nodes[n % 2].open(&user(name));
        world.nodes[n % 2].subscribe(&place(1, name));
    }
    world.run(SECOND * 10);
    for name in crowd() {
        assert_eq!(world.told_of(&name), ["online", "joined"]);
    }
}

#[test]
fn the_replicas_share_the_work() {
    let mut world = World::new(1, 2);
    for name in crowd() {
        world.nodes[0].open(&user(&name));
    }
    world.run(SECOND * 5);
    let by_first = world.told.iter().filter(|it| it.1 == 0).count();
    assert!((5..=35).contains(&by_first), "{by_first} of 40");
}

#[test]
fn what_a_killed_owner_did_not_tell_another_tells_within_two_seconds() {
    let mut world = World::new(1, 2);
    world.set_health(1, Health::Killed);
    let killed = world.elapsed();
    for name in crowd() {
        world.nodes[0].open(&user(&name));
    }
    world.run(Duration::from_millis(2_200));
    for name in crowd() {
        assert_eq!(world.told_of(&name), ["online"]);
    }
    assert!(world.told.iter().all(|(at, _, _)| *at > killed));
}

#[test]
fn a_replica_that_takes_leave_is_replaced_at_once() {
    let mut world = World::new(1, 2);
    world.stop_replica(1);
    world.tick();
    for name in crowd() {
        world.nodes[0].open(&user(&name));
    }
    world.run(Duration::from_millis(300));
    assert_eq!(world.told.len(), 40);
}

#[test]
fn a_replica_that_starts_tells_nothing_of_what_was_so() {
    let mut world = World::new(2, 1);
    for (n, name) in crowd().iter().enumerate() {
        world.nodes[n % 2].open(&user(name));
        world.nodes[n % 2].subscribe(&place(1, name));
    }
    world.run(SECOND * 2);
    let before = world.told.len();
    world.set_health(0, Health::Killed);
    world.run(SECOND);
    let replica = world.start_replica();
    world.run(SECOND * 20);
    assert_eq!(world.told[before..], []);
    assert_eq!(world.known(replica), world.known(0));
}

#[test]
fn a_replica_that_joins_others_takes_its_share_without_a_word() {
    let mut world = World::new(2, 1);
    for (n, name) in crowd().iter().enumerate() {
        world.nodes[n % 2].open(&user(name));
    }
    world.run(SECOND * 2);
    world.start_replica();
    world.run(SECOND * 5);
    for name in crowd() {
        world.nodes[0].close(&user(&name));
    }
    world.run(SECOND * 10);
    let told: Vec<_> = crowd().iter().map(|name| world.told_of(name).len()).collect();
    assert!(told.iter().all(|count| *count <= 2), "{told:?}");
    assert!(world.told.iter().any(|it| it.1 == 1));
}
