//! A full node that dies: cheap to find out, cheap to tell.

use std::time::Instant;

use super::names::{SECOND, place, user};
use super::world::{LEASE, World};

const USERS: usize = 15_000;

#[test]
fn fifteen_thousand_who_leave_at_once_are_told_in_full_messages() {
    let mut world = World::new(1, 1);
    for n in 0..USERS {
        let name = format!("user{n}");
        world.nodes[0].open(&user(&name));
        world.nodes[0].subscribe(&place(u8::try_from(n % 200).unwrap(), &name));
    }
    world.run(SECOND);
    let (messages, signals) = (world.messages, world.told.len());
    world.nodes[0].alive = false;
    let started = Instant::now();
    world.run(LEASE + SECOND * 5);
    assert_eq!(world.told.len() - signals, 2 * USERS);
    assert_eq!(world.messages - messages, 2 * USERS / 500);
    // A square of so many would take minutes, also on a slow machine.
    assert!(started.elapsed() < SECOND * 20, "{:?}", started.elapsed());
}
