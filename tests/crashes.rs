//! kill -9 of every kind of process in the middle of a storm: nothing that was acked is lost, doubled or out of order.

use std::time::Duration;

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::faults::Victims;
use crate::harness::{Deployment, Storm, process};

/// Acks to wait for between two faults.
const BETWEEN: usize = 300;

async fn launch() -> Deployment {
    let start = Deployment::start().separate().replicas("connection=2,message=2");
    start.env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0").launch().await
}

/// Kills those processes one after the other while the storm goes on, each when the one before is back.
async fn assert_survives(victims: &[&str]) {
    let deployment = launch().await;
    let storm = Storm::gather(&deployment).await;
    let faults = async {
        storm.acked(BETWEEN).await;
        for victim in victims {
            let old = deployment.kill(victim);
            deployment.restarted(victim, old).await;
            storm.acked(BETWEEN).await;
        }
    };
    storm.during(faults).await;
    storm.check().await;
}

#[tokio::test]
async fn killing_connection_nodes_loses_nothing() {
    assert_survives(&["connection-0", "connection-1", "connection-0", "connection-1"]).await;
}

#[tokio::test]
async fn killing_message_services_loses_nothing() {
    assert_survives(&["message-0", "message-1", "message-0", "message-1"]).await;
}

#[tokio::test]
async fn killing_nats_loses_nothing() {
    assert_survives(&["nats", "nats", "nats"]).await;
}

#[tokio::test]
async fn killing_mongod_loses_nothing() {
    assert_survives(&["mongod", "mongod", "mongod"]).await;
}

/// What is killed, and the milliseconds until the next: by a seed that is printed, and that this variable sets.
const SEED: &str = "PARLEY_TEST_SEED";

fn schedule() -> Vec<(&'static str, u64)> {
    const NAMES: [&str; 7] = [
        "connection-0",
        "connection-1",
        "message-0",
        "message-1",
        "presence-0",
        "nats",
        "mongod",
    ];
    let given = std::env::var(SEED).ok();
    let seed = given.map_or_else(rand::random, |it| it.parse().expect("a seed is a number"));
    println!("{SEED}={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    (0..8)
        .map(|_| (NAMES[rng.random_range(0..NAMES.len())], rng.random_range(200..1_500)))
        .collect()
}

#[tokio::test]
async fn killing_all_kinds_at_random_loses_nothing() {
    let deployment = launch().await;
    let storm = Storm::gather(&deployment).await;
    let faults = async {
        let mut victims = Victims::default();
        storm.acked(BETWEEN).await;
        for (name, pause_ms) in schedule() {
            println!("kill {name}, then {pause_ms} ms");
            victims.kill(&deployment, name);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        victims.back(&deployment).await;
        storm.acked(BETWEEN).await;
    };
    storm.during(faults).await;
    storm.check().await;
}

#[tokio::test]
async fn pausing_any_process_loses_nothing() {
    let deployment = launch().await;
    let storm = Storm::gather(&deployment).await;
    let faults = async {
        storm.acked(BETWEEN).await;
        for name in ["message-0", "nats", "connection-1", "mongod"] {
            deployment.pause(name);
            // Longer than any deadline inside: requests are given up while their work goes on.
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            deployment.unpause(name);
            storm.acked(BETWEEN / 2).await;
        }
    };
    storm.during(faults).await;
    storm.check().await;
}

#[tokio::test]
async fn killing_up_and_starting_it_again_loses_nothing() {
    let mut deployment = launch().await;
    let room = deployment.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect_at(1).await);
    let cursor = bob.settled_cursor().await;
    let mut ids = Vec::new();
    for number in 0..100 {
        ids.push(ann.send_message(&room.id, &number.to_string()).await);
    }
    ann.wait_ack(&ids[50]).await;
    process::signal(deployment.up_pid(), Signal::SIGKILL);
    deployment.ended(Duration::from_secs(5)).await;
    // What was acked before the end, in whatever order it was read.
    let entries = ann.frames.all();
    let acks: Vec<_> = entries.iter().filter(|it| it["type"] == "message:ack").collect();
    deployment.assert_nothing_left(Duration::from_secs(5));
    deployment.start_again().await;
    let again = room.users[1].socket().resume(&cursor).connect().await;
    for ack in &acks {
        let same = |it: &serde_json::Value| it["type"] == "message:incoming" && it["client_id"] == ack["client_id"];
        let event = again.frames.frame("an acked message", same).await;
        assert_eq!((&event["seq"], &event["server_id"]), (&ack["seq"], &ack["server_id"]));
    }
    deployment.verify().await;
    let history = room.users[0].api.history_forwards(&room.id, 200).await;
    let seqs: Vec<u64> = history.iter().filter_map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, (2..seqs.len() as u64 + 2).collect::<Vec<_>>());
    assert!(seqs.len() >= acks.len());
}

#[tokio::test]
async fn a_node_that_goes_away_says_so_and_its_clients_resume_elsewhere() {
    let deployment = launch().await;
    let room = deployment.direct().await;
    let (ann, bob) = (room.users[0].connect_at(1).await, room.users[1].connect().await);
    ann.say(&room.id, "before").await;
    bob.expect_text("before").await;
    process::signal(deployment.pid("connection-0"), Signal::SIGTERM);
    let draining = bob.expect("draining").await;
    assert!(draining["reconnect_after_ms"].is_u64(), "{draining}");
    bob.expect_close(1001, Duration::from_secs(11)).await;
    let cursor = bob.cursor();
    ann.say(&room.id, "after").await;
    let again = room.users[1].socket().node(1).resume(&cursor).connect().await;
    assert_eq!(again.ready["resumed"], true);
    again.frames.frame("what was missed", |it| it["text"] == "after").await;
}
