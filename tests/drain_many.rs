//! A node with ten thousand sessions is asked to end: how evenly they are told, and how quickly they are elsewhere. By
//! hand, for its figures: `cargo test -p parley --test system drain_many -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;

use crate::harness::{Client, Deployment, User};

/// Each takes a file of this process, and one of the node's; either may have 20,000.
const SESSIONS: usize = 9_000;
const USERS: usize = 90;
/// Opened at a time.
const TOGETHER: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);

/// Told to go, and ready elsewhere.
struct Moved {
    told: Instant,
    back: Instant,
    pause: Duration,
    stays: Client,
}

/// As an app does: told to go, it comes back when it was asked to, with its cursor.
async fn moves(user: &User, socket: Client) -> Moved {
    let told = |it: &serde_json::Value| it["type"] == "draining";
    let (frame, at) = socket.frames.frame_within("draining", PATIENCE, told).await;
    let pause = Duration::from_millis(frame["reconnect_after_ms"].as_u64().expect("milliseconds"));
    tokio::time::sleep_until((at + pause).into()).await;
    let stays = user.socket().node(1).resume(&socket.cursor()).connect().await;
    Moved {
        told: at,
        back: Instant::now(),
        pause,
        stays,
    }
}

/// How many fall into each tenth of a second.
fn tenths(times: impl Iterator<Item = Instant>, first: Instant) -> Vec<usize> {
    let mut counts = Vec::new();
    for at in times {
        let tenth = (at - first).as_millis() as usize / 100;
        counts.resize(counts.len().max(tenth + 1), 0);
        counts[tenth] += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and most of the files that a process may open"]
async fn nine_thousand_sessions_are_told_over_their_window_and_move_to_the_other_node() {
    let start = Deployment::start().separate().replicas("connection=2");
    let start = start.env("PARLEY_CONNECTION__DRAIN_WINDOW_MS", "5000");
    let deployment = start.launch().await;
    let mut users = Vec::new();
    for _ in 0..USERS {
        users.push(deployment.user("ann").await);
    }
    let opening = Instant::now();
    let opened = iter(0..SESSIONS).map(async |number| (number % USERS, users[number % USERS].connect().await));
    let sockets: Vec<(usize, Client)> = opened.buffer_unordered(TOGETHER).collect().await;
    println!("{SESSIONS} sockets opened in {:?}", opening.elapsed());
    let asked = Instant::now();
    deployment.ask_to_end("connection-0");
    let moving = sockets.into_iter().map(|(user, socket)| moves(&users[user], socket));
    let moved = futures_util::future::join_all(moving).await;

    let told = tenths(moved.iter().map(|it| it.told), asked);
    println!("told in each tenth of a second: {told:?}");
    println!(
        "back in each tenth of a second: {:?}",
        tenths(moved.iter().map(|it| it.back), asked)
    );
    let mut away: Vec<Duration> = moved.iter().map(|it| it.back - it.told - it.pause).collect();
    away.sort();
    println!(
        "from when a client came back until `ready`: half {:?}, 99 of 100 {:?}",
        away[SESSIONS / 2],
        away[SESSIONS * 99 / 100]
    );
    // Two thousand a second, and as many again where the machine was late.
    assert!(told.iter().all(|count| *count <= 400), "{told:?}");
    assert!(moved.iter().all(|it| it.stays.ready["resumed"] == true));
}
