//! Replicas that start: not ready before they know all.

use protocol::server_frame::Status;

use super::names::{SECOND, user};
use super::world::{Health, LEASE, World};

#[test]
fn a_first_replica_is_ready_within_a_second() {
    let mut world = World::new(2, 0);
    world.start_replica();
    world.run(SECOND);
    assert!(world.replicas[0].core.is_ready());
}

#[test]
fn a_replica_waits_for_a_node_that_lived_and_does_not_answer() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.run(SECOND * 3);
    world.set_health(0, Health::Killed);
    world.nodes[0].stopped = true;
    let replica = world.start_replica();
    world.run(SECOND * 8);
    assert!(!world.replicas[replica].core.is_ready());
    world.nodes[0].stopped = false;
    world.run(SECOND * 3);
    assert!(world.replicas[replica].core.is_ready());
    assert_eq!(world.known_status(replica, "ada"), Status::Online);
}

#[test]
fn a_replica_waits_a_lease_at_most() {
    let mut world = World::new(1, 1);
    world.run(SECOND * 3);
    world.set_health(0, Health::Killed);
    world.nodes[0].stopped = true;
    let replica = world.start_replica();
    world.run(LEASE + SECOND);
    assert!(world.replicas[replica].core.is_ready());
}

#[test]
fn a_replica_does_not_wait_a_lease_for_nodes_that_are_gone() {
    let mut world = World::new(3, 1);
    world.run(SECOND * 3);
    for node in &mut world.nodes {
        node.alive = false;
    }
    world.set_health(0, Health::Killed);
    let replica = world.start_replica();
    world.run(SECOND * 3);
    assert!(world.replicas[replica].core.is_ready());
    assert!(SECOND * 3 < LEASE);
}

#[test]
fn a_replica_that_is_not_ready_says_nothing() {
    let mut world = World::new(1, 0);
    world.nodes[0].open(&user("ada"));
    let replica = world.start_replica();
    world.set_health(replica, Health::Cut);
    world.run(SECOND * 30);
    assert!(!world.replicas[replica].core.is_ready());
    assert_eq!(world.told, []);
}

#[test]
fn a_dead_node_is_not_waited_for_by_replicas_that_start_later() {
    let mut world = World::new(1, 1);
    world.run(SECOND * 3);
    assert!(world.stored.contains("node0"));
    world.nodes[0].alive = false;
    world.run(LEASE + SECOND * 5);
    assert!(world.stored.is_empty());
}
