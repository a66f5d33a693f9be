//! Generated histories: whatever happens, in the end every replica and every client knows what is so.

use std::time::Duration;

use proptest::prelude::*;
use protocol::UserId;
use protocol::client_frame::{AppState, ChosenStatus};
use protocol::rpc::LookAround;

use super::names::{SECOND, place, user};
use super::world::{Fate, Health, World};
use crate::core::rooms::Place;

const NODES: usize = 2;
const USERS: usize = 3;
const ROOMS: u8 = 2;

#[derive(Debug, Clone)]
enum Step {
    Open(usize, usize, &'static str),
    Close(usize, usize),
    Idle(usize, usize, bool),
    State(usize, usize, AppState),
    Subscribe(usize, usize, u8),
    Unsubscribe(usize, usize, u8),
    Choose(usize, ChosenStatus),
    Fates(Vec<Fate>),
    KillNode(usize),
    EndNode(usize),
    Health(usize, Health),
    Look(usize, u8),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (node, user, room) = (0..NODES, 0..USERS, 0..ROOMS);
    let chosen = prop::sample::select(vec![
        ChosenStatus::Online,
        ChosenStatus::Away,
        ChosenStatus::Dnd,
        ChosenStatus::Invisible,
    ]);
    let device = prop::sample::select(vec!["phone", "web"]);
    let state = prop::sample::select(vec![AppState::Foreground, AppState::Background]);
    let fate = prop::sample::select(vec![Fate::Lost, Fate::Doubled, Fate::Overtaken]);
    let health = prop::sample::select(vec![Health::Well, Health::Paused, Health::Cut]);
    let wait = prop::sample::select(vec![50, 50, 200, 1_000, 4_000, 15_000]);
    let step = prop_oneof![
        4 => (node.clone(), user.clone(), device).prop_map(|(n, u, device)| Step::Open(n, u, device)),
        2 => (node.clone(), user.clone(), state).prop_map(|(n, u, state)| Step::State(n, u, state)),
        3 => (node.clone(), user.clone()).prop_map(|(n, u)| Step::Close(n, u)),
        1 => (node.clone(), user.clone(), any::<bool>()).prop_map(|(n, u, idle)| Step::Idle(n, u, idle)),
        3 => (node.clone(), user.clone(), room.clone()).prop_map(|(n, u, r)| Step::Subscribe(n, u, r)),
        2 => (0..2_usize, room.clone()).prop_map(|(r, room)| Step::Look(r, room)),
        1 => (node.clone(), user.clone(), room).prop_map(|(n, u, r)| Step::Unsubscribe(n, u, r)),
        1 => (user, chosen).prop_map(|(u, status)| Step::Choose(u, status)),
        2 => prop::collection::vec(fate, 1..6).prop_map(Step::Fates),
        1 => node.clone().prop_map(Step::KillNode),
        1 => node.prop_map(Step::EndNode),
        1 => (0..2_usize, health).prop_map(|(r, health)| Step::Health(r, health)),
        5 => wait.prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

fn users() -> Vec<UserId> {
    (0..USERS).map(|n| user(&format!("user{n}"))).collect()
}

fn places() -> Vec<Place> {
    let pairs = (0..ROOMS).flat_map(|room| (0..USERS).map(move |n| (room, n)));
    pairs.map(|(room, n)| place(room, &format!("user{n}"))).collect()
}

fn play(world: &mut World, steps: Vec<Step>) {
    let users = users();
    for step in steps {
        match step {
            Step::Open(node, user, device) if world.nodes[node].alive => {
                world.nodes[node].open_on(&users[user], device);
            }
            Step::State(node, user, state) => world.nodes[node].set_state(&users[user], state),
            Step::Close(node, user) if world.nodes[node].alive => world.nodes[node].close(&users[user]),
            Step::Idle(node, user, idle) => world.nodes[node].idle(&users[user], idle),
            Step::Subscribe(node, user, room) if world.nodes[node].alive => {
                world.nodes[node].subscribe(&place(room, users[user].as_str()));
            }
            Step::Unsubscribe(node, user, room) if world.nodes[node].alive => {
                world.nodes[node].unsubscribe(&place(room, users[user].as_str()));
            }
            Step::Choose(user, status) => world.choose(&users[user], status),
            Step::Fates(fates) => world.fates.extend(fates),
            Step::KillNode(node) => world.nodes[node].alive = false,
            Step::EndNode(node) if world.nodes[node].alive => world.end_node(node),
            Step::Health(replica, health) => world.set_health(replica, health),
            Step::Look(replica, room) if replica < world.replicas.len() => {
                let request = LookAround {
                    conversation_id: Some(place(room, "user0").0),
                    users: users.clone(),
                    last_seen: false,
                    report: None,
                };
                world.look(replica, request);
            }
            Step::Wait(millis) => world.run(Duration::from_millis(millis)),
            Step::Look(..)
            | Step::Open(..)
            | Step::Close(..)
            | Step::Subscribe(..)
            | Step::Unsubscribe(..)
            | Step::EndNode(_) => {}
        }
    }
    world.fates.clear();
    for replica in 0..world.replicas.len() {
        world.set_health(replica, Health::Well);
    }
    world.run(SECOND * 60);
}

proptest! {
    #[test]
    fn in_the_end_every_replica_knows_what_is_so(steps in steps()) {
        let mut world = World::new(NODES, 2);
        play(&mut world, steps);
        let truth = world.truth(&users(), &places());
        prop_assert_eq!(world.known(0), world.known(1));
        prop_assert_eq!(world.known(0), truth);
    }

    #[test]
    fn in_the_end_every_replica_knows_which_devices_are_connected(steps in steps()) {
        let mut world = World::new(NODES, 2);
        play(&mut world, steps);
        let truth = world.devices(&users());
        prop_assert_eq!(&world.told_devices(0, &users()), &truth);
        prop_assert_eq!(&world.told_devices(1, &users()), &truth);
    }

    #[test]
    fn in_the_end_every_client_was_told_what_is_so(steps in steps()) {
        let mut world = World::new(NODES, 2);
        play(&mut world, steps);
        prop_assert_eq!(world.view(), world.truth(&users(), &places()));
    }

    #[test]
    fn in_the_end_a_replica_that_starts_knows_what_is_so_and_says_nothing(steps in steps()) {
        let mut world = World::new(NODES, 1);
        world.start_replica();
        play(&mut world, steps);
        let told = world.told.len();
        let replica = world.start_replica();
        world.run(SECOND * 5);
        prop_assert!(world.replicas[replica].core.is_ready());
        prop_assert_eq!(world.known(replica), world.truth(&users(), &places()));
        prop_assert_eq!(&world.told[told..], &[]);
    }

    // No reports are lost here: a node of which nothing is heard for a lease is dead, rightly.
    #[test]
    fn whose_sessions_and_choice_stay_is_never_told_of_again(steps in steps()) {
        let mut world = World::new(NODES + 1, 2);
        let bystander = user("bystander");
        world.nodes[NODES].open(&bystander);
        world.nodes[NODES].subscribe(&place(0, "bystander"));
        world.run(SECOND);
        play(&mut world, steps.into_iter().filter(|it| !matches!(it, Step::Fates(_))).collect());
        let told = world.told_of("bystander");
        let (mut online, mut joined) = (0, 0);
        for signal in &told {
            match signal.as_str() {
                "online" => online += 1,
                "joined" => joined += 1,
                other => prop_assert!(false, "told {other}"),
            }
        }
        prop_assert_eq!((online, joined), (1, 1));
    }
}
