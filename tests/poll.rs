//! `GET /v1/events/poll`: the events of a socket by long polling, each from where the one before ended.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Lag, Poller, Room, is_durable, shared, tuned};

/// A direct room, and Bob's cursor behind its creation.
async fn polling() -> (Room<2>, String) {
    let room = shared().await.direct().await;
    let cursor = room.users[1].connect().await.settled_cursor().await;
    (room, cursor)
}

/// The texts of an answer.
fn texts(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().unwrap();
    events.iter().filter_map(|it| it["text"].as_str()).collect()
}

#[tokio::test]
async fn what_is_there_is_answered_at_once_as_since_answers_it() {
    let (room, cursor) = polling().await;
    for text in ["one", "two"] {
        room.users[0].api.say(&room.id, text).await;
    }
    let reply = room.users[1].api_at(1).poll(&cursor, 30_000).await;
    assert!(reply.took < Duration::from_secs(15), "it waited: {:?}", reply.took);
    let page = reply.ok();
    let since = room.users[1]
        .api
        .query("/v1/messages", &[("since", &cursor)])
        .await
        .ok();
    assert_eq!(page["events"], since["events"]);
    assert_eq!((texts(&page), &page["more"]), (vec!["one", "two"], &json!(false)));
    assert!(page["cursor"].is_string());
}

#[tokio::test]
async fn it_waits_for_the_first_event_and_answers_with_it() {
    let (room, cursor) = polling().await;
    let api = room.users[1].api_at(1);
    let speak = async {
        // Long enough for the poll to be under way: it would be answered all the same.
        tokio::time::sleep(Duration::from_millis(700)).await;
        room.users[0].api.say(&room.id, "at last").await;
        Instant::now()
    };
    let lag = Lag::beside(&api);
    let poll = async { (api.poll(&cursor, 30_000).await, Instant::now()) };
    let ((reply, answered), said) = tokio::join!(poll, speak);
    assert!(reply.took > Duration::from_millis(600), "{:?}", reply.took);
    let took = answered.saturating_duration_since(said);
    lag.assert_within(Duration::from_secs(1), took, "the answer");
    assert_eq!(texts(&reply.ok()), ["at last"]);
}

#[tokio::test]
async fn it_waits_for_a_receipt_too() {
    let (room, cursor) = polling().await;
    let ack = room.users[1].api.say(&room.id, "read me").await;
    let mut poller = Poller::new(&room.users[1].api, &cursor);
    poller.until("the message", |it| it["text"] == "read me").await;
    let ann = room.users[0].connect().await;
    ann.send(json!({"type": "message:read", "conversation_id": room.id, "seq": ack["seq"]}))
        .await;
    poller.until("the receipt", |it| it["type"] == "message:read").await;
}

#[tokio::test]
async fn when_nothing_happens_it_ends_with_its_time_and_a_cursor_that_goes_on() {
    let (room, cursor) = polling().await;
    let lag = Lag::beside(&room.users[1].api);
    let reply = room.users[1].api.poll(&cursor, 1_000).await;
    assert!(reply.took >= Duration::from_millis(900), "{:?}", reply.took);
    lag.assert_within(Duration::from_secs(2), reply.took, "a poll of one second");
    let page = reply.ok();
    assert_eq!((&page["events"], &page["more"]), (&json!([]), &json!(false)));
    room.users[0].api.say(&room.id, "later").await;
    let next = room.users[1]
        .api
        .poll(page["cursor"].as_str().unwrap(), 5_000)
        .await
        .ok();
    assert_eq!(texts(&next), ["later"]);
}

#[tokio::test]
async fn with_no_time_it_does_not_wait() {
    let (room, cursor) = polling().await;
    let lag = Lag::beside(&room.users[1].api);
    let reply = room.users[1].api.poll(&cursor, 0).await;
    lag.assert_within(Duration::from_secs(1), reply.took, "a poll of no time");
    assert_eq!(reply.ok()["events"], json!([]));
}

#[tokio::test]
async fn without_a_cursor_it_begins_now() {
    let room = shared().await.direct().await;
    let first = room.users[1].api.get("/v1/events/poll?timeout_ms=0").await.ok();
    assert_eq!(first["events"], json!([]));
    room.users[0].api.say(&room.id, "after").await;
    let next = room.users[1]
        .api
        .poll(first["cursor"].as_str().unwrap(), 5_000)
        .await
        .ok();
    assert_eq!(texts(&next), ["after"]);
}

#[tokio::test]
async fn what_is_no_cursor_is_410() {
    let room = shared().await.direct().await;
    for wrong in ["garbage", "0", "AAAA"] {
        let reply = room.users[1].api.poll(wrong, 30_000).await;
        reply.assert_problem(410, "resync");
        assert!(reply.took < Duration::from_secs(15), "it waited: {:?}", reply.took);
    }
}

#[tokio::test]
async fn a_time_that_is_no_number_is_invalid() {
    let (room, cursor) = polling().await;
    for wrong in ["soon", "-1", "1.5", ""] {
        let path = format!("/v1/events/poll?cursor={cursor}&timeout_ms={wrong}");
        room.users[1].api.get(&path).await.assert_problem(400, "invalid");
    }
}

#[tokio::test]
async fn without_a_token_it_is_401() {
    let (room, cursor) = polling().await;
    let nobody = room.users[1].api.with_token("");
    nobody.poll(&cursor, 1_000).await.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_run_of_polls_has_everything_once_and_in_order_while_others_send() {
    let (room, cursor) = polling().await;
    let ann = room.users[0].connect().await;
    const COUNT: usize = 150;
    let talk = async {
        for number in 0..COUNT {
            ann.say(&room.id, &number.to_string()).await;
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    };
    let run = async {
        let mut poller = Poller::new(&room.users[1].api_at(1), &cursor);
        let mut polls = 0;
        while poller.events.iter().filter(|it| is_durable(it)).count() < COUNT {
            assert!(polls < 1_000, "{} events in {polls} polls", poller.events.len());
            poller.once(5_000).await;
            polls += 1;
        }
        poller
    };
    let (poller, ()) = tokio::join!(run, talk);
    let seqs: Vec<u64> = poller.events.iter().filter_map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, (2..COUNT as u64 + 2).collect::<Vec<_>>());
}

#[tokio::test]
async fn more_says_whether_there_is_more_and_the_answers_have_everything_once() {
    let room = tuned().await.direct().await;
    let cursor = room.users[1].connect().await.settled_cursor().await;
    let ann = room.users[0].connect().await;
    // A hundred by default, as `since` answers.
    ann.say_all(&room.id, (0..250).map(|it| it.to_string())).await;
    let mut poller = Poller::new(&room.users[1].api, &cursor);
    let more = [
        poller.once(5_000).await,
        poller.once(5_000).await,
        poller.once(5_000).await,
    ];
    assert_eq!(more, [true, true, false]);
    let seqs: Vec<u64> = poller.events.iter().filter_map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, (2..252).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_removed_member_gets_his_removal_last() {
    let room = shared().await.group(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    let cursor = bob.connect().await.settled_cursor().await;
    ann.api.remove(&room.id, &bob.id).await;
    ann.api.say(&room.id, "without bob").await;
    let other = ann.api.direct(&bob.id).await;
    let mut poller = Poller::new(&bob.api_at(1), &cursor);
    poller
        .until("the fence", |it| it["conversation_id"] == other.as_str())
        .await;
    let of_room = poller
        .events
        .iter()
        .filter(|it| it["conversation_id"] == room.id.as_str());
    assert_eq!(of_room.map(|it| &it["type"]).collect::<Vec<_>>(), ["member:removed"]);
}

/// The contract's sixty seconds, and the machine's own delay.
#[tokio::test]
async fn however_long_it_is_to_wait_it_waits_a_minute() {
    let (room, cursor) = polling().await;
    let lag = Lag::beside(&room.users[1].api);
    let reply = room.users[1].api.poll(&cursor, 3_600_000).await;
    assert!(reply.took >= Duration::from_secs(59), "{:?}", reply.took);
    lag.assert_within(Duration::from_secs(63), reply.took, "the longest poll");
    assert_eq!(reply.ok()["events"], json!([]));
}
