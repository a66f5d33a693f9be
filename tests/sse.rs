//! `GET /v1/events`: the events of a socket as Server-Sent Events, for whoever can do no better.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{
    Client, Deployment, Lag, PATIENCE, Room, Sse, User, What, is_durable, process, shared, tuned, until,
};

/// A direct room, Ann's socket, and Bob's stream at the other node.
async fn streaming() -> (Room<2>, Client, Sse) {
    let room = shared().await.direct().await;
    let ann = room.users[0].connect().await;
    let bob = Sse::open(&room.users[1].api_at(1), None).await;
    (room, ann, bob)
}

/// Waits until the stream has ended.
async fn ended(stream: &Sse, patience: Duration) -> Instant {
    let end = |what: &What| matches!(what, What::End(_)).then_some(());
    stream.frames.wait("the end of the stream", patience, end).await.1
}

#[tokio::test]
async fn it_is_an_event_stream_that_no_proxy_may_hold_back() {
    let (_, _, stream) = streaming().await;
    assert_eq!(stream.status, 200);
    assert!(stream.header("content-type").starts_with("text/event-stream"));
    let cache = stream.header("cache-control");
    assert!(cache.contains("no-cache") || cache.contains("no-store"), "{cache}");
    assert_eq!(stream.header("x-accel-buffering"), "no");
    assert_eq!(stream.header("content-encoding"), "");
}

#[tokio::test]
async fn an_event_is_named_as_its_frame_and_carries_the_frame_of_a_socket() {
    let (room, ann, stream) = streaming().await;
    let socket = room.users[1].connect().await;
    ann.say(&room.id, "hello").await;
    assert_eq!(
        stream.expect("message:incoming").await,
        socket.expect_text("hello").await
    );
    assert!(!stream.last_id().is_empty());
}

#[tokio::test]
async fn without_an_id_it_begins_now() {
    let room = shared().await.direct().await;
    room.users[0].api.say(&room.id, "before").await;
    // The answer to a read that began later has it: then it was before.
    room.users[1].api.history(&room.id, "").await.ok();
    let stream = Sse::open(&room.users[1].api, None).await;
    room.users[0].api.say(&room.id, "after").await;
    stream.expect_text("after").await;
}

#[tokio::test]
async fn own_sends_come_as_incoming() {
    let (room, _, stream) = streaming().await;
    let ack = room.users[1].api.say(&room.id, "my own").await;
    let event = stream.expect_text("my own").await;
    assert_eq!(
        (&event["type"], &event["seq"]),
        (&json!("message:incoming"), &ack["seq"])
    );
}

#[tokio::test]
async fn receipts_come_and_live_signals_do_not() {
    let (room, ann, stream) = streaming().await;
    let tablet = room.users[1].connect().await;
    tablet.subscribe(&room.id).await;
    let ack = room.users[1].api.say(&room.id, "read me").await;
    ann.subscribe(&room.id).await;
    ann.send_room("typing:start", &room.id).await;
    tablet
        .expect_signal("typing:started", &room.id, &room.users[0].id)
        .await;
    ann.send(json!({"type": "message:read", "conversation_id": room.id, "seq": ack["seq"]}))
        .await;
    let told = stream.expect("message:read").await;
    assert_eq!(
        (&told["user_id"], &told["seq"]),
        (&json!(room.users[0].id), &ack["seq"])
    );
    let known = |it: &Value| {
        let kind = it["type"].as_str().unwrap();
        is_durable(it) || matches!(kind, "message:read" | "message:delivered" | "resync")
    };
    let all = stream.frames.all();
    assert_eq!(all.iter().find(|it| !known(it)), None);
}

#[tokio::test]
async fn nothing_on_it_is_anything_but_a_named_event_with_a_frame_or_a_comment() {
    let (room, ann, stream) = streaming().await;
    for number in 0..50 {
        ann.say(&room.id, &format!("{number}\nwith a line\r\nor two\u{2028}"))
            .await;
    }
    until("all fifty", crate::harness::PATIENCE, async || {
        (stream.events().len() >= 50).then_some(())
    })
    .await;
    let entries = stream.frames.entries();
    let strange = entries
        .iter()
        .find(|it| !matches!(it.what, What::Frame(_) | What::Ping));
    assert!(strange.is_none(), "{strange:?}");
}

#[tokio::test]
async fn it_goes_on_exactly_after_the_last_id_on_any_node() {
    let (room, ann, stream) = streaming().await;
    for number in 0..20 {
        ann.say(&room.id, &number.to_string()).await;
    }
    // Cut after any of the events: what follows is what it had not.
    for number in 0..20 {
        stream.expect_text(&number.to_string()).await;
    }
    let bob = &room.users[1];
    let mut id = stream.last_id();
    drop(stream);
    let mut expected = 20;
    for round in 0..4 {
        for number in 0..7 {
            ann.say(&room.id, &(expected + number).to_string()).await;
        }
        let again = Sse::open(&bob.api_at(round % 2), Some(&id)).await;
        // Read only a part of them, and go on from the last one that was read.
        for _ in 0..5 {
            again.expect_text(&expected.to_string()).await;
            expected += 1;
        }
        id = id_of(&again, expected - 1);
        // The rest comes again on the next.
        let rest = Sse::open(&bob.api, Some(&id)).await;
        for _ in 0..2 {
            rest.expect_text(&expected.to_string()).await;
            expected += 1;
        }
        id = id_of(&rest, expected - 1);
    }
    ann.say(&room.id, "the end").await;
    let last = Sse::open(&bob.api, Some(&id)).await;
    last.expect_text("the end").await;
    assert_eq!(last.events().len(), 1, "{:?}", last.events());
}

/// The id that came with a text.
fn id_of(stream: &Sse, text: usize) -> String {
    stream
        .id_of(|it| it["text"] == text.to_string().as_str())
        .expect("an event has an id")
}

#[tokio::test]
async fn ids_cursors_and_checkpoints_are_one() {
    let (room, ann, stream) = streaming().await;
    let bob = &room.users[1];
    let socket = bob.connect().await;
    ann.say(&room.id, "one").await;
    stream.expect_text("one").await;
    socket.expect_text("one").await;
    let (id, checkpoint) = (stream.last_id(), socket.settled_cursor().await);
    ann.say(&room.id, "two").await;
    // A stream from a checkpoint, a socket from an id, `since` from both.
    Sse::open(&bob.api, Some(&checkpoint)).await.expect_text("two").await;
    bob.socket().resume(&id).connect().await.expect_text("two").await;
    for cursor in [&id, &checkpoint] {
        let (events, _) = bob.api.since(cursor, 10).await;
        assert_eq!(events.iter().map(|it| &it["text"]).collect::<Vec<_>>(), ["two"]);
    }
}

#[tokio::test]
async fn a_refused_id_is_200_then_resync_then_live() {
    let room = shared().await.direct().await;
    for wrong in ["garbage", "0", "AAAA"] {
        let stream = Sse::open(&room.users[1].api_at(1), Some(wrong)).await;
        assert_eq!(stream.status, 200);
        assert_eq!(stream.expect("resync").await["reason"], "bad_cursor");
        room.users[0].api.say(&room.id, wrong).await;
        stream.expect_text(wrong).await;
    }
}

#[tokio::test]
async fn after_a_resync_the_id_is_one_to_go_on_from() {
    let room = shared().await.direct().await;
    let stream = Sse::open(&room.users[1].api, Some("garbage")).await;
    stream.expect("resync").await;
    let id = stream.last_id();
    drop(stream);
    room.users[0].api.say(&room.id, "after").await;
    let again = Sse::open(&room.users[1].api, Some(&id)).await;
    again.expect_text("after").await;
    assert_eq!(again.frames.count("resync"), 0);
}

#[tokio::test]
async fn a_bad_token_is_401() {
    let ann = shared().await.user("ann").await;
    for token in ["", "garbage"] {
        let reply = ann.api.with_token(token).get("/v1/events").await;
        reply.assert_problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_token_in_the_query_is_taken_only_where_it_is_switched_on() {
    for (deployment, status) in [(shared().await, 401), (tuned().await, 200)] {
        let room = deployment.direct().await;
        let path = format!("/v1/events?token={}", room.users[1].token);
        let stream = Sse::open_path(&room.users[1].api.with_token(""), &path, None).await;
        assert_eq!(stream.status, status);
        if status == 200 {
            room.users[0].api.say(&room.id, "hello").await;
            stream.expect_text("hello").await;
        }
    }
}

#[tokio::test]
async fn it_ends_with_its_token() {
    let deployment = shared().await;
    let ann = deployment.user("ann").await;
    let lag = Lag::beside(&ann.api);
    let made = Instant::now();
    let token = deployment.token_with(&ann.id, &["--ttl", "2s"]).await;
    let began = Instant::now();
    let stream = Sse::open(&ann.api.with_token(&token), None).await;
    assert_eq!(stream.status, 200);
    let ended = ended(&stream, 2 * PATIENCE).await;
    assert!(ended - made >= Duration::from_millis(900), "{:?}", ended - made);
    lag.assert_within(Duration::from_millis(8_500), ended - began, "the end");
}

#[tokio::test]
async fn a_removed_member_gets_his_removal_last() {
    let deployment = shared().await;
    let room = deployment.group(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    let stream = Sse::open(&bob.api_at(1), None).await;
    ann.api.remove(&room.id, &bob.id).await;
    ann.api.say(&room.id, "without bob").await;
    let other = ann.api.direct(&bob.id).await;
    let fence = |it: &Value| it["conversation_id"] == other.as_str();
    stream.frames.frame("the fence", fence).await;
    let mut frames = stream.events();
    frames.retain(|it| it["conversation_id"] == room.id.as_str());
    assert_eq!(
        frames.iter().map(|it| &it["type"]).collect::<Vec<_>>(),
        ["member:removed"]
    );
}

#[tokio::test]
async fn a_slow_reader_is_not_cut_and_loses_nothing() {
    const MESSAGES: usize = 1_000;
    let room = tuned().await.direct().await;
    let ann = room.users[0].connect().await;
    let stream = Sse::open(&room.users[1].api_at(1), None).await;
    stream.read(false);
    // 16 MB: no buffer holds them.
    let text = "\u{1F40C}".repeat(3_900);
    ann.say_all(&room.id, (0..MESSAGES).map(|it| format!("{it} {text}")))
        .await;
    stream.read(true);
    until("all to come", Duration::from_secs(40), async || {
        (stream.events().len() >= MESSAGES).then_some(())
    })
    .await;
    let seqs: Vec<u64> = stream.events().iter().filter_map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, (2..MESSAGES as u64 + 2).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_node_that_goes_away_ends_it_and_it_goes_on_elsewhere() {
    let deployment = Deployment::start().separate().replicas("connection=2").launch().await;
    let room = deployment.direct().await;
    let [ann, bob] = &room.users;
    let stream = Sse::open(&bob.api_at(1), None).await;
    ann.api.say(&room.id, "before").await;
    stream.expect_text("before").await;
    process::signal(deployment.pid("connection-1"), Signal::SIGTERM);
    ended(&stream, Duration::from_secs(11)).await;
    let id = stream.last_id();
    ann.api.say(&room.id, "after").await;
    let again = Sse::open(&bob.api, Some(&id)).await;
    again.expect_text("after").await;
}

/// The contract's comment in every fifteen seconds, and the machine's own delay.
#[tokio::test]
async fn a_comment_comes_every_fifteen_seconds() {
    let ann: User = shared().await.user("ann").await;
    let lag = Lag::beside(&ann.api);
    let began = Instant::now();
    let stream = Sse::open(&ann.api, None).await;
    let comment = |what: &What| matches!(what, What::Ping).then_some(());
    let mut last = began;
    // One may come at the beginning.
    while last - began < Duration::from_secs(14) {
        let (_, at) = stream
            .frames
            .wait("a comment", Duration::from_secs(15) + PATIENCE, comment)
            .await;
        lag.assert_within(Duration::from_millis(16_500), at - last, "a comment");
        last = at;
    }
}

#[tokio::test]
async fn of_clients_that_hang_up_while_they_are_let_in_nobody_stays_online() {
    let room = shared().await.direct().await;
    let [ann, bob] = &room.users;
    for number in 0..400_u64 {
        let patience = Duration::from_micros(number * 10);
        let _ = timeout(patience, Sse::open(&bob.api, None)).await;
    }
    until("bob to be offline", Duration::from_secs(15), async || {
        let list = ann.api.presence(&[&bob.id]).await.ok();
        (list["presence"][0]["status"] == "offline").then_some(())
    })
    .await;
}
