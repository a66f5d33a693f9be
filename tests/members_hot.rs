//! Changes of a group in which messages come without a pause, through every replica.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Change, Client, Deployment};

/// The contract's time for an answer, and the machine's own delay.
const SOON: Duration = Duration::from_millis(2_500);
const MEMBERS: usize = 5_000;
const REMOVALS: usize = 80;

/// Sends until told to stop, a few messages at a time.
async fn talk(socket: &Client, room: &str, stop: &AtomicBool) -> usize {
    let mut sent = 0;
    while !stop.load(Ordering::SeqCst) {
        socket.say_all(room, (0..10).map(|it| it.to_string())).await;
        sent += 10;
    }
    sent
}

#[tokio::test]
async fn changes_of_a_large_group_get_through_where_messages_come_without_a_pause() {
    let start = Deployment::start().replicas("connection=2,message=3");
    let deployment = start.env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0").launch().await;
    let ann = deployment.user("ann").await;
    let others: Vec<String> = (0..MEMBERS).map(|it| format!("{}-{it}", ann.id)).collect();
    let body = json!({"type": "group", "members": others});
    let created = ann.api.post("/v1/conversations", &body).await.ok();
    let room = created["conversation_id"].as_str().unwrap();
    let mut sockets = Vec::new();
    for number in 0..6 {
        sockets.push(ann.connect_at(number % 2).await);
    }
    let stop = AtomicBool::new(false);
    let changes = async {
        let mut times = Vec::new();
        for (number, member) in others.iter().take(REMOVALS).enumerate() {
            let api = ann.api_at(number % 2);
            let began = Instant::now();
            let reply = api.change_patiently(room, Change::Remove(member)).await;
            times.push(began.elapsed());
            // After an `unavailable` that was done all the same there is nobody to remove.
            assert!(matches!(reply.status, 204 | 404), "{} {}", reply.status, reply.body);
        }
        stop.store(true, Ordering::SeqCst);
        times
    };
    let talks = futures_util::future::join_all(sockets.iter().map(|it| talk(it, room, &stop)));
    let (mut times, sent) = tokio::join!(changes, talks);
    assert!(sent.iter().sum::<usize>() > 500, "messages came all the time: {sent:?}");
    let shown = ann.api.get_patiently(&format!("/v1/conversations/{room}")).await;
    assert_eq!(shown["member_count"], MEMBERS + 1 - REMOVALS, "each of them is done");
    times.sort();
    assert!(times[REMOVALS / 2] < SOON, "the median of {times:?}");
}
