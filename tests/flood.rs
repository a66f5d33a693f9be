//! A flood: limited for who sends it, unnoticed by everybody else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Client, Lag, PATIENCE, Reply, client_id, message, shared};

/// Sends without waiting, and the answers in the order of the sends.
async fn flood(socket: &Client, room: &str, count: usize) -> Vec<Value> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(socket.send_message(room, &format!("flood {number}")).await);
    }
    let mut answers = Vec::new();
    for id in &ids {
        answers.push(
            socket
                .frames
                .frame("an answer", |it| it["client_id"] == id.as_str())
                .await,
        );
    }
    answers
}

#[tokio::test]
async fn past_the_burst_sends_are_rate_limited_and_told_when_to_try_again() {
    let room = shared().await.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    let began = Instant::now();
    let answers = flood(&ann, &room.id, 400).await;
    let (acks, errors): (Vec<&Value>, Vec<&Value>) = answers.iter().partition(|it| it["type"] == "message:ack");
    // A burst of twice the fifty, and fifty for each second that it took.
    let most = 100 + (began.elapsed().as_secs_f64() * 50.0) as usize + 5;
    assert!(
        (100..=most).contains(&acks.len()),
        "{} of 400 accepted, at most {most} expected",
        acks.len()
    );
    for error in &errors {
        assert_eq!(error["code"], "rate_limited", "{error}");
        assert!(
            error["retry_after_ms"]
                .as_u64()
                .is_some_and(|it| (1..=10_000).contains(&it)),
            "{error}"
        );
    }
    let seqs: Vec<u64> = acks.iter().filter_map(|it| it["seq"].as_u64()).collect();
    assert_eq!(
        seqs,
        (2..acks.len() as u64 + 2).collect::<Vec<_>>(),
        "the accepted ones are dense and in order"
    );
    for ack in &acks {
        assert_eq!(bob.next_event().await["client_id"], ack["client_id"]);
    }
    bob.assert_quiet().await;
}

#[tokio::test]
async fn after_the_time_told_sends_are_taken_again() {
    let room = shared().await.direct().await;
    let ann = room.users[0].connect().await;
    let answers = flood(&ann, &room.id, 300).await;
    let wait = answers
        .iter()
        .rev()
        .find_map(|it| it["retry_after_ms"].as_u64())
        .expect("some were limited");
    tokio::time::sleep(Duration::from_millis(wait)).await;
    ann.say(&room.id, "in time").await;
}

#[tokio::test]
async fn a_flood_of_one_session_is_not_felt_by_another() {
    let room = shared().await.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    let other_room = shared().await.direct().await;
    let (eve, joe) = (other_room.users[0].connect().await, other_room.users[1].connect().await);
    let talk = async {
        let mut times = Vec::new();
        for number in 0..20 {
            let began = Instant::now();
            eve.say(&other_room.id, &number.to_string()).await;
            joe.expect_text(&number.to_string()).await;
            times.push(began.elapsed());
        }
        times.sort();
        times
    };
    let (_, times) = tokio::join!(flood(&ann, &room.id, 1_000), talk);
    assert!(
        times[times.len() / 2] < Duration::from_secs(1),
        "the median for a message beside a flood: {times:?}"
    );
    bob.say(&room.id, "also the other member of the flooded room").await;
}

#[tokio::test]
async fn nothing_but_refused_sends_for_ten_seconds_closes_with_4429() {
    let ann = shared().await.user("ann").await;
    let socket = ann.connect().await;
    let lag = Lag::beside(&ann.api);
    let began = Instant::now();
    let mut sent = HashMap::new();
    let mut tick = tokio::time::interval(Duration::from_millis(3));
    // A pause of the machine's lets sends through again, and the ten seconds begin anew.
    while !socket.has_ended() && began.elapsed() < Duration::from_secs(60) {
        tick.tick().await;
        let id = client_id();
        let frame = message(&id, "g00000000000000000000000000000000", "x").to_string();
        sent.insert(id, Instant::now());
        if socket.try_send_text(&frame).await.is_err() {
            break;
        }
    }
    let closed = socket.expect_close(4429, PATIENCE).await;
    let answers = socket.frames.all();
    let taken = answers.iter().filter(|it| it["code"] != "rate_limited");
    let last = taken.filter_map(|it| sent.get(it["client_id"].as_str()?)).max();
    let after = closed - *last.expect("the first ones are not refused for their number");
    assert!(after >= Duration::from_millis(9_500), "{after:?}");
    lag.assert_within(Duration::from_secs(13), after, "the close");
}

#[tokio::test]
async fn a_flood_over_http_is_429() {
    let room = shared().await.direct().await;
    let is_limited = |it: &Reply| it.status == 429;
    let send = |number: usize| {
        let body = json!({"client_id": client_id(), "text": number.to_string()});
        async {
            let body = body;
            room.users[0].api.send(&room.id, &body).await
        }
    };
    let mut replies = Vec::new();
    // Twice the burst at once; once more where the machine took so long over them that they were none too many.
    while !replies.iter().any(is_limited) && replies.len() < 4_000 {
        let sent = replies.len();
        replies.extend(join_all((0..200).map(|it| send(sent + it))).await);
    }
    let limited: Vec<_> = replies.iter().filter(|it| is_limited(it)).collect();
    assert!(
        !limited.is_empty(),
        "{} sends without a pause and none was limited",
        replies.len()
    );
    for reply in &limited {
        reply.assert_problem(429, "rate_limited");
        assert!(reply.body["retry_after_ms"].is_u64(), "{}", reply.body);
    }
    assert!(replies.iter().all(|it| matches!(it.status, 201 | 429)));
    let accepted = replies.iter().filter(|it| it.status == 201).count();
    assert_eq!(room.users[1].api.history_forwards(&room.id, 200).await.len(), accepted);
}
