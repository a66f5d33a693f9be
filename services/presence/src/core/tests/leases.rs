//! Nodes that die.

use super::names::{SECOND, place, user};
use super::world::{LEASE, World};

#[test]
fn a_dead_node_takes_exactly_its_own_users() {
    let mut world = World::new(2, 1);
    world.nodes[0].open(&user("ada"));
    world.nodes[1].open(&user("bob"));
    world.nodes[1].subscribe(&place(1, "bob"));
    world.run(SECOND);
    world.nodes[0].alive = false;
    world.run(LEASE + SECOND * 5);
    assert_eq!(world.told_of("ada"), ["online", "offline"]);
    assert_eq!(world.told_of("bob"), ["online", "joined"]);
}

#[test]
fn a_dead_nodes_users_are_offline_within_a_lease_and_the_grace() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.run(SECOND);
    world.nodes[0].alive = false;
    let killed = world.elapsed();
    world.run(SECOND * 20);
    let (at, _, _) = world.told.last().unwrap();
    assert!(*at - killed <= LEASE + SECOND * 7 / 2, "{:?}", *at - killed);
}

#[test]
fn a_user_on_two_nodes_stays_online_when_one_dies() {
    let mut world = World::new(2, 2);
    for node in &mut world.nodes {
        node.open(&user("ada"));
        node.subscribe(&place(1, "ada"));
    }
    world.run(SECOND);
    world.nodes[0].alive = false;
    world.run(SECOND * 20);
    assert_eq!(world.told_of("ada"), ["online", "joined"]);
}

#[test]
fn users_of_a_dead_node_were_last_seen_when_it_was_last_heard() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.run(SECOND);
    let killed = world.now.time.as_millis();
    world.nodes[0].alive = false;
    world.run(SECOND * 20);
    let seen = world.seen[&user("ada")].as_millis();
    assert!((killed - 2_100..=killed).contains(&seen), "{}", seen - killed);
}

#[test]
fn a_node_that_ends_in_good_order_leaves_at_once() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.run(SECOND);
    let ended = world.elapsed();
    world.end_node(0);
    world.run(SECOND * 5);
    let (at, _, _) = world.told.last().unwrap();
    assert_eq!(world.told_of("ada"), ["online", "offline"]);
    assert!(*at - ended <= SECOND * 7 / 2, "{:?}", *at - ended);
}

#[test]
fn a_node_that_was_thought_dead_comes_back_with_all_it_has() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.run(SECOND);
    world.nodes[0].alive = false;
    world.run(SECOND * 20);
    world.nodes[0].alive = true;
    world.run(SECOND * 3);
    assert_eq!(world.told_of("ada"), ["online", "offline", "online"]);
}
