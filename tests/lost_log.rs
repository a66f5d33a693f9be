//! When the log does not go back far enough, or is another one: the client is told, never left in silence.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Broker, Client, Deployment, Room, What, client_id, forgetful, message};

/// A room whose second member saw one message and missed one, both forgotten by the log since; his cursor.
async fn forgotten(deployment: &Deployment) -> (Room<2>, String) {
    let room = deployment.direct().await;
    let bob = room.users[1].connect().await;
    room.users[0].api.say(&room.id, "seen").await;
    bob.expect_text("seen").await;
    let cursor = bob.settled_cursor().await;
    bob.kill().await;
    room.users[0].api.say(&room.id, "missed").await;
    Broker::of(deployment).await.forgets(&room.id).await;
    (room, cursor)
}

/// The same, with nodes that hold nothing in memory either.
async fn forgotten_by_all() -> (Deployment, Room<2>, String) {
    let start = Deployment::start().env("PARLEY_STREAM__DUPLICATE_WINDOW", "2s");
    let mut deployment = start.env("PARLEY_STREAM__MAX_AGE", "3s").launch().await;
    let (room, cursor) = forgotten(&deployment).await;
    deployment.restart().await;
    (deployment, room, cursor)
}

async fn assert_refused(socket: &Client, reason: &str) {
    assert_eq!(socket.ready["resumed"], false, "{}", socket.ready);
    assert_eq!(socket.expect("resync").await["reason"], reason);
}

#[tokio::test]
async fn a_cursor_from_before_the_log_is_expired_and_the_socket_is_live() {
    let (_deployment, room, cursor) = forgotten_by_all().await;
    let socket = room.users[1].socket().resume(&cursor).connect().await;
    assert_refused(&socket, "expired").await;
    room.users[0].api.say(&room.id, "live").await;
    socket.expect_text("live").await;
    socket.assert_quiet().await;
}

#[tokio::test]
async fn a_cursor_or_a_time_from_before_the_log_is_410_over_http() {
    let (_deployment, room, cursor) = forgotten_by_all().await;
    for since in [cursor.as_str(), "2001-01-01T00:00:00.000Z"] {
        let reply = room.users[1].api.query("/v1/messages", &[("since", since)]).await;
        reply.assert_problem(410, "resync");
    }
}

#[tokio::test]
async fn a_time_that_the_log_still_reaches_is_good_though_older_entries_are_gone() {
    let (room, _) = forgotten(forgetful().await).await;
    let ack = room.users[0].api.say(&room.id, "recent").await;
    let time = ack["timestamp"].as_str().unwrap();
    let page = room.users[1].api.query("/v1/messages", &[("since", time)]).await.ok();
    assert_eq!(page["events"][0]["text"], "recent", "{page}");
}

#[tokio::test]
async fn a_conversation_that_the_log_forgot_goes_on_where_it_was() {
    let (room, _) = forgotten(forgetful().await).await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect_at(1).await);
    assert_eq!(ann.say(&room.id, "and on").await["seq"], 4);
    assert_eq!(bob.expect_text("and on").await["seq"], 4);
    let history = room.users[1].api_at(1).history_forwards(&room.id, 50).await;
    let texts: Vec<_> = history.iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["seen", "missed", "and on"]);
}

#[tokio::test]
async fn a_retry_of_what_the_log_forgot_gets_the_original_answer() {
    let deployment = forgetful().await;
    let room = deployment.direct().await;
    let ann = room.users[0].connect().await;
    let id = client_id();
    ann.send(message(&id, &room.id, "once")).await;
    let original = ann.wait_ack(&id).await;
    Broker::of(deployment).await.forgets(&room.id).await;
    let mut again = message(&id, &room.id, "once");
    again["retry"] = json!(true);
    ann.send(again).await;
    let ack = ann.wait_ack(&id).await;
    assert_eq!(
        (&ack["seq"], &ack["timestamp"]),
        (&original["seq"], &original["timestamp"])
    );
    assert_eq!(
        (&ack["server_id"], &ack["duplicate"]),
        (&original["server_id"], &json!(true))
    );
}

#[tokio::test]
async fn a_cursor_at_the_head_stays_good_however_much_is_forgotten() {
    let start = Deployment::start()
        .env("PARLEY_STREAM__DUPLICATE_WINDOW", "2s")
        .env("PARLEY_STREAM__MAX_AGE", "3s");
    let deployment = start.launch().await;
    let room = deployment.direct().await;
    let bob = room.users[1].connect().await;
    room.users[0].api.say(&room.id, "seen").await;
    bob.expect_text("seen").await;
    let head = bob.settled_cursor().await;
    bob.kill().await;
    Broker::of(&deployment).await.forgets(&room.id).await;
    let again = room.users[1].socket().resume(&head).connect().await;
    assert_eq!(again.ready["resumed"], true, "nothing was missed");
    again.assert_quiet().await;
    assert_eq!(room.users[1].api.since(&head, 100).await.0, Vec::<Value>::new());
}

/// A live socket is told that its log is gone.
async fn assert_told(socket: &Client) {
    let resync = |what: &What| match what {
        What::Frame(it) if it["type"] == "resync" => Some(it["reason"].clone()),
        _ => None,
    };
    let (reason, _) = socket.frames.wait("resync", Duration::from_secs(20), resync).await;
    assert_eq!(reason, "other_log");
}

/// A deployment with a room, both members live on different nodes, two messages sent, and the second's cursor.
async fn talking() -> (Deployment, Room<2>, [Client; 2], String) {
    let deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let room = deployment.direct().await;
    let sockets = [room.users[0].connect().await, room.users[1].connect_at(1).await];
    for text in ["one", "two"] {
        sockets[0].say(&room.id, text).await;
        sockets[1].expect_text(text).await;
    }
    let cursor = sockets[1].settled_cursor().await;
    // What is not stored yet would be lost with the log, which no promise covers.
    deployment.verify().await;
    (deployment, room, sockets, cursor)
}

#[tokio::test]
async fn when_the_log_is_made_anew_every_live_socket_is_told_and_goes_on() {
    let (deployment, room, sockets, cursor) = talking().await;
    let broker = Broker::of(&deployment).await;
    join_all(
        broker
            .log_streams()
            .await
            .iter()
            .map(async |it| broker.make_anew(it).await),
    )
    .await;
    for socket in &sockets {
        assert_told(socket).await;
    }
    let again = room.users[1].socket().resume(&cursor).connect().await;
    assert_refused(&again, "other_log").await;
    // Where the log has nothing of a conversation, its seq goes on from MongoDB's head.
    let ack = sockets[0].say_patiently(&room.id, "three").await;
    assert_eq!(ack["seq"], 4);
    for socket in [&sockets[1], &again] {
        socket.expect_text("three").await;
    }
    let texts = async || {
        let history = room.users[0].api.history_forwards(&room.id, 50).await;
        history
            .iter()
            .map(|it| it["text"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts().await, ["one", "two", "three"]);
}

#[tokio::test]
async fn when_one_stream_of_the_log_is_made_anew_nobody_is_left_in_silence() {
    let (deployment, room, sockets, cursor) = talking().await;
    let broker = Broker::of(&deployment).await;
    // The one that holds the conversation.
    let mut holder = None;
    for stream in broker.log_streams().await {
        if broker.info(&stream).await["state"]["messages"] != 0 {
            holder = Some(stream);
        }
    }
    broker.make_anew(&holder.expect("the messages are somewhere")).await;
    assert_told(&sockets[1]).await;
    let again = room.users[1].socket().resume(&cursor).connect().await;
    assert_refused(&again, "other_log").await;
    sockets[0].say_patiently(&room.id, "three").await;
    sockets[1].expect_text("three").await;
}

#[tokio::test]
async fn a_purged_log_is_an_expired_one() {
    let (mut deployment, room, sockets, cursor) = talking().await;
    let broker = Broker::of(&deployment).await;
    sockets[0].say(&room.id, "three").await;
    sockets[1].expect_text("three").await;
    deployment.verify().await;
    for stream in broker.log_streams().await {
        broker.purge(&stream).await;
    }
    let again = room.users[1].socket().resume(&cursor).connect().await;
    // A node may still have it all in memory. If not, it says so.
    match again.ready["resumed"].as_bool() {
        Some(true) => drop(again.expect_text("three").await),
        _ => assert_refused(&again, "expired").await,
    }
    sockets[0].say_patiently(&room.id, "four").await;
    again.expect_text("four").await;
    sockets[1].expect_text("four").await;
    drop((sockets, again));
    deployment.restart().await;
    let again = room.users[1].socket().resume(&cursor).connect().await;
    assert_refused(&again, "expired").await;
}

#[tokio::test]
async fn who_was_removed_stays_removed_where_the_log_was_purged() {
    let deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let room = deployment.group(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    // So that each replica has heard of him.
    for number in 0..8 {
        bob.api.say(&room.id, &number.to_string()).await;
    }
    assert_eq!(ann.api.remove(&room.id, &bob.id).await.status, 204);
    deployment.verify().await;
    let broker = Broker::of(&deployment).await;
    for stream in broker.log_streams().await {
        broker.purge(&stream).await;
    }
    for number in 0..8 {
        let message = json!({"client_id": client_id(), "text": number.to_string()});
        let reply = bob.api.send(&room.id, &message).await;
        reply.assert_problem(404, "not_found");
    }
    assert_eq!(ann.api.say(&room.id, "and on").await["seq"], 11);
}
