//! Several replicas: they know the same, and each thing is told once.

use std::time::Duration;

use protocol::server_frame::{Presence, Status};
use protocol::signal::{Signal, Signals};

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
    // Just after a beat: that it is dead is known in nearly three seconds only.
    world.run(Duration::from_millis(150));
    world.set_health(1, Health::Killed);
    for name in crowd() {
        world.nodes[0].open(&user(&name));
    }
    world.run(Duration::from_millis(2_200));
    for name in crowd() {
        assert_eq!(world.told_of(&name), ["online"]);
    }
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
fn what_waits_for_a_replica_that_takes_leave_is_told_at_once() {
    let mut world = World::new(1, 2);
    world.set_health(1, Health::Paused);
    for name in crowd() {
        world.nodes[0].open(&user(&name));
    }
    world.run(Duration::from_millis(300));
    assert!(world.told.len() < 40);
    world.stop_replica(1);
    world.run(Duration::from_millis(100));
    assert_eq!(world.told.len(), 40);
}

/// The first replica hears that somebody is online.
fn hear_online(world: &mut World, from: &str, name: &str) {
    let presence = Presence {
        user_id: user(name),
        status: Status::Online,
        last_seen: None,
    };
    let session_id = None;
    let signals = vec![Signal::Presence { presence, session_id }];
    let core = &mut world.replicas[0].core;
    core.on_signals(Some(from), Signals { signals }, world.now);
}

#[test]
fn a_contradiction_waits_for_the_report_that_may_be_on_its_way() {
    let mut world = World::new(1, 1);
    hear_online(&mut world, "another", "ada");
    world.run(Duration::from_millis(400));
    world.nodes[0].open(&user("ada"));
    world.run(SECOND * 5);
    assert_eq!(world.told, []);
}

#[test]
fn what_another_replica_tells_wrongly_is_set_right() {
    let mut world = World::new(1, 1);
    hear_online(&mut world, "another", "ada");
    world.run(SECOND);
    assert_eq!(world.told_of("ada"), ["offline"]);
}

#[test]
fn an_own_signal_that_comes_back_late_is_not_contradicted() {
    let mut world = World::new(1, 1);
    hear_online(&mut world, "replica0", "ada");
    world.run(SECOND * 5);
    assert_eq!(world.told, []);
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
