//! Reports that go astray.

use protocol::server_frame::Status;

use super::names::{SECOND, place, user};
use super::world::{Fate, World};

#[test]
fn a_lost_report_is_noticed_by_the_next_beat() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.fates.push_back(Fate::Lost);
    world.run(SECOND * 4);
    assert_eq!(world.known_status(0, "ada"), Status::Online);
}

#[test]
fn somebody_who_left_in_a_lost_report_has_left() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.nodes[0].subscribe(&place(1, "ada"));
    world.run(SECOND);
    world.nodes[0].unsubscribe(&place(1, "ada"));
    world.fates.push_back(Fate::Lost);
    world.run(SECOND * 7);
    assert_eq!(world.told_of("ada"), ["online", "joined", "left"]);
}

#[test]
fn a_doubled_report_changes_nothing() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.fates.push_back(Fate::Doubled);
    world.run(SECOND * 4);
    assert_eq!(world.told_of("ada"), ["online"]);
}

#[test]
fn a_report_that_was_overtaken_does_not_undo_the_later_one() {
    let mut world = World::new(1, 1);
    world.nodes[0].open(&user("ada"));
    world.fates.push_back(Fate::Overtaken);
    world.tick();
    world.nodes[0].close(&user("ada"));
    world.run(SECOND * 8);
    assert_eq!(world.known_status(0, "ada"), Status::Offline);
}

#[test]
fn reports_in_the_middle_of_a_snapshot_are_not_lost() {
    let mut world = World::new(1, 1);
    for n in 0..20 {
        world.nodes[0].open(&user(&format!("user{n}")));
    }
    world.fates.push_back(Fate::Lost);
    world.tick();
    // Each of these is a report of its own, while the snapshot is asked for and comes.
    for n in 0..20 {
        world.nodes[0].close(&user(&format!("user{n}")));
        world.nodes[0].open(&user(&format!("late{n}")));
        world.tick();
    }
    world.run(SECOND * 8);
    let known = world.known(0);
    assert_eq!(known.users.len(), 20);
    assert!(known.users.keys().all(|user| user.as_str().starts_with("late")));
}

#[test]
fn an_answer_takes_in_the_report_that_it_asks_for() {
    let mut world = World::new(1, 1);
    world.run(SECOND);
    world.nodes[0].open(&user("ada"));
    world.fates.push_back(Fate::Lost);
    world.tick();
    let report = ("node0".to_owned(), world.nodes[0].number());
    assert!(!world.replicas[0].core.is_current(Some(&report), world.now));
    world.run(SECOND * 4);
    assert!(world.replicas[0].core.is_current(Some(&report), world.now));
}
