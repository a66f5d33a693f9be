//! MongoDB or NATS away: what still works, what is refused and how fast, and that all is there afterwards.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Client, Deployment, Lag, Room, Start, client_id, is_durable, message, until};

/// The contract's two seconds for `unavailable`, and the machine's own delay.
const HTTP_PATIENCE: Duration = Duration::from_millis(2_500);
/// How soon a send must be refused while NATS is away.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(3);

fn two_nodes() -> Start {
    Deployment::start().replicas("connection=2,message=2")
}

async fn sockets(room: &Room<2>) -> (Client, Client) {
    (room.users[0].connect().await, room.users[1].connect_at(1).await)
}

/// Sends and delivery go on, for sockets that were there and for new ones.
async fn assert_talking(room: &Room<2>, ann: &Client, bob: &Client) {
    for number in 0..10 {
        let lag = Lag::beside(&room.users[0].api);
        let began = Instant::now();
        let text = format!("meanwhile {number}");
        ann.say(&room.id, &text).await;
        bob.expect_text(&text).await;
        lag.assert_within(Duration::from_secs(2), began.elapsed(), &text);
    }
    let new = room.users[1].connect().await;
    new.say(&room.id, "from a new socket").await;
    ann.expect_text("from a new socket").await;
    bob.expect_text("from a new socket").await;
    ann.say(&room.id, "to a new socket").await;
    new.expect_text("to a new socket").await;
    bob.expect_text("to a new socket").await;
}

async fn assert_reads_unavailable(room: &Room<2>) {
    for path in [
        format!("/v1/conversations/{}/messages", room.id),
        "/v1/conversations".into(),
    ] {
        let lag = Lag::beside(&room.users[1].api);
        let reply = room.users[1].api.get(&path).await;
        reply.assert_problem(503, "unavailable");
        lag.assert_within(HTTP_PATIENCE, reply.took, &path);
    }
}

/// History is there again and holds everything, and the two copies agree.
async fn assert_all_there(deployment: &Deployment, room: &Room<2>, head: &Value) {
    let api = &room.users[1].api;
    until("history to answer again", Duration::from_secs(30), async || {
        (api.history(&room.id, "limit=1").await.status == 200).then_some(())
    })
    .await;
    let history = api.history_forwards(&room.id, 200).await;
    let seqs: Vec<u64> = history.iter().filter_map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, (2..=head.as_u64().unwrap()).collect::<Vec<_>>());
    deployment.verify().await;
}

#[tokio::test]
async fn while_mongodb_is_dead_messages_are_acked_and_delivered_and_stored_later() {
    let deployment = two_nodes().no_restart().launch().await;
    let room = deployment.direct().await;
    let (ann, bob) = sockets(&room).await;
    let mongod = deployment.kill_for_good("mongod");
    assert_talking(&room, &ann, &bob).await;
    assert_reads_unavailable(&room).await;
    let _mongod = mongod.revive();
    let last = ann.say(&room.id, "back").await;
    assert_all_there(&deployment, &room, &last["seq"]).await;
}

#[tokio::test]
async fn while_mongodb_hangs_messages_are_acked_and_delivered_and_stored_later() {
    let deployment = two_nodes().launch().await;
    let room = deployment.direct().await;
    let (ann, bob) = sockets(&room).await;
    deployment.pause("mongod");
    assert_talking(&room, &ann, &bob).await;
    assert_reads_unavailable(&room).await;
    deployment.unpause("mongod");
    let last = ann.say(&room.id, "back").await;
    assert_all_there(&deployment, &room, &last["seq"]).await;
}

#[tokio::test]
async fn while_mongodb_hangs_a_resume_is_served_from_the_log() {
    let deployment = two_nodes().launch().await;
    let room = deployment.direct().await;
    let (ann, bob) = sockets(&room).await;
    let cursor = bob.settled_cursor().await;
    bob.kill().await;
    deployment.pause("mongod");
    for number in 0..20 {
        ann.say(&room.id, &number.to_string()).await;
    }
    let again = room.users[1].socket().resume(&cursor).connect().await;
    for number in 0..20 {
        again.expect_text(&number.to_string()).await;
    }
    let (events, _) = room.users[1].api.since(&cursor, 7).await;
    assert_eq!(
        events.iter().filter(|it| is_durable(it)).count(),
        20,
        "nor does HTTP need MongoDB for this"
    );
    deployment.unpause("mongod");
}

#[tokio::test]
async fn a_retry_older_than_the_window_waits_for_mongodb() {
    let deployment = two_nodes().env("PARLEY_STREAM__DUPLICATE_WINDOW", "1s").launch().await;
    let room = deployment.direct().await;
    let (ann, _bob) = sockets(&room).await;
    let id = client_id();
    ann.send(message(&id, &room.id, "once")).await;
    let original = ann.wait_ack(&id).await;
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    deployment.pause("mongod");
    let lag = Lag::beside(&room.users[0].api);
    let began = Instant::now();
    let mut retry = message(&id, &room.id, "once");
    retry["retry"] = json!(true);
    ann.send(retry.clone()).await;
    ann.wait_error(&id, "unavailable").await;
    lag.assert_within(REFUSAL_PATIENCE, began.elapsed(), "`unavailable`");
    deployment.unpause("mongod");
    let again = ann.send_patiently(retry).await;
    assert_eq!(
        (&again["seq"], &again["timestamp"]),
        (&original["seq"], &original["timestamp"])
    );
}

/// A send is refused soon, by socket and by HTTP, and the socket stays.
async fn assert_sends_unavailable(room: &Room<2>, ann: &Client) {
    let lag = Lag::beside(&room.users[0].api);
    let began = Instant::now();
    let id = ann.send_message(&room.id, "into the void").await;
    ann.wait_error(&id, "unavailable").await;
    lag.assert_within(REFUSAL_PATIENCE, began.elapsed(), "`unavailable`");
    let lag = Lag::beside(&room.users[0].api);
    let reply = room.users[0]
        .api
        .send(&room.id, &json!({"client_id": client_id(), "text": "void"}))
        .await;
    reply.assert_problem(503, "unavailable");
    lag.assert_within(HTTP_PATIENCE, reply.took, "503");
    ann.barrier().await;
}

#[tokio::test]
async fn while_nats_is_dead_sends_are_refused_and_the_sockets_stay_and_all_resumes() {
    let deployment = two_nodes().no_restart().launch().await;
    let room = deployment.direct().await;
    let (ann, bob) = sockets(&room).await;
    ann.say(&room.id, "before").await;
    bob.expect_text("before").await;
    let nats = deployment.kill_for_good("nats");
    assert_sends_unavailable(&room, &ann).await;
    assert_reads_unavailable(&room).await;
    bob.barrier().await;
    let _nats = nats.revive();
    let ack = ann.say_patiently(&room.id, "after").await;
    let event = bob
        .frames
        .frame("the message after the outage", |it| it["text"] == "after")
        .await;
    assert_eq!(event["seq"], ack["seq"]);
    assert_dense(&bob);
    assert!(!ann.has_ended() && !bob.has_ended());
    deployment.verify().await;
}

/// What a socket got since it opened has no gap and no repetition.
fn assert_dense(socket: &Client) {
    let events = socket.frames.all();
    let seqs: Vec<u64> = events
        .iter()
        .filter(|it| is_durable(it))
        .filter_map(|it| it["seq"].as_u64())
        .collect();
    assert!(seqs.windows(2).all(|it| it[0] + 1 == it[1]), "{seqs:?}");
}

#[tokio::test]
async fn when_nats_is_paused_in_the_middle_of_publishing_one_client_id_is_one_message() {
    let deployment = two_nodes()
        .env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0")
        .launch()
        .await;
    let room = deployment.direct().await;
    let (ann, bob) = sockets(&room).await;
    let mut ids = Vec::new();
    for number in 0..300 {
        if number == 100 {
            deployment.pause("nats");
        }
        ids.push((ann.send_message(&room.id, &number.to_string()).await, number));
    }
    // Every send is answered while NATS hangs: most with `unavailable`.
    let mut answers = Vec::new();
    for (id, _) in &ids {
        answers.push(ann.frames.frame("an answer", |it| it["client_id"] == id.as_str()).await);
    }
    deployment.unpause("nats");
    let mut seqs = Vec::new();
    for ((id, number), answer) in ids.iter().zip(answers) {
        let mut retry = message(id, &room.id, &number.to_string());
        retry["retry"] = json!(true);
        let acked = answer["type"] == "message:ack";
        let ack = if acked { answer } else { ann.send_patiently(retry).await };
        seqs.push(ack["seq"].as_u64().unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (2..302).collect::<Vec<_>>(), "one seq for each client id");
    for _ in 0..300 {
        bob.next_event().await;
    }
    bob.assert_quiet().await;
    assert_dense(&bob);
    deployment.verify().await;
}

#[tokio::test]
async fn while_the_message_service_hangs_sends_are_refused_and_a_retry_is_one_message() {
    let deployment = Deployment::start().separate().replicas("connection=2").launch().await;
    let room = deployment.direct().await;
    let (ann, bob) = sockets(&room).await;
    let mut ids = Vec::new();
    for number in 0..60 {
        if number == 20 {
            deployment.pause("message-0");
        }
        ids.push(ann.send_message(&room.id, &number.to_string()).await);
    }
    let lag = Lag::beside(&room.users[0].api);
    let began = Instant::now();
    let mut answers = Vec::new();
    for id in &ids {
        answers.push(ann.frames.frame("an answer", |it| it["client_id"] == id.as_str()).await);
    }
    // Not one after the other: forty times the patience for one would be minutes.
    lag.assert_within(3 * REFUSAL_PATIENCE, began.elapsed(), "all answers");
    deployment.unpause("message-0");
    for (id, answer) in ids.iter().zip(&answers).filter(|(_, it)| it["type"] != "message:ack") {
        assert_eq!(answer["code"], "unavailable", "{answer}");
        let mut retry = message(id, &room.id, "again");
        retry["retry"] = json!(true);
        ann.send_patiently(retry).await;
    }
    let mut seen: Vec<Value> = bob
        .next_events(60)
        .await
        .iter()
        .map(|it| it["client_id"].clone())
        .collect();
    bob.assert_quiet().await;
    assert_dense(&bob);
    seen.sort_by_key(Value::to_string);
    seen.dedup();
    assert_eq!(seen.len(), 60, "each client id once");
}

#[tokio::test]
async fn with_stored_acks_nothing_is_acked_that_mongodb_does_not_hold() {
    let deployment = two_nodes().env("PARLEY_STREAM__ACK", "stored").launch().await;
    let room = deployment.direct().await;
    let (ann, bob) = sockets(&room).await;
    ann.say(&room.id, "one").await;
    bob.expect_text("one").await;
    deployment.pause("mongod");
    let lag = Lag::beside(&room.users[0].api);
    let began = Instant::now();
    let id = ann.send_message(&room.id, "two").await;
    ann.wait_error(&id, "unavailable").await;
    lag.assert_within(REFUSAL_PATIENCE, began.elapsed(), "`unavailable`");
    deployment.unpause("mongod");
    let mut retry = message(&id, &room.id, "two");
    retry["retry"] = json!(true);
    assert_eq!(ann.send_patiently(retry).await["seq"], 3);
    bob.expect_text("two").await;
    bob.assert_quiet().await;
}
