//! Receipts as something that is written: few writes for many frames, and there after any restart.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Broker, Deployment, until};
use crate::receipts::{assert_told, mark};

/// A burst of reads is a handful of writes.
const BURST: u64 = 200;
const HANDFUL: u64 = 20;

#[tokio::test]
async fn a_burst_of_reads_is_a_handful_of_writes_and_the_last_of_them_counts() {
    let start = Deployment::start().replicas("connection=2,message=2");
    let deployment = start.env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0").launch().await;
    let room = deployment.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect_at(1).await);
    ann.say_all(&room.id, (0..BURST).map(|it| it.to_string())).await;
    let broker = Broker::of(&deployment).await;
    for kind in ["message:delivered", "message:read"] {
        let before = broker.receipts().await;
        let marks = (2..BURST + 2).map(|seq| mark(kind, &room.id, json!({"seq": seq})));
        bob.send_at_once(marks).await;
        let last = |it: &Value| it["type"] == kind && it["seq"] == BURST + 1;
        ann.frames.frame("the last mark", last).await;
        let writes = broker.receipts().await - before;
        assert!(writes <= HANDFUL, "{writes} writes for {BURST} marks {kind}");
    }
    let shown = room.users[1].api.conversation(&room.id).await;
    assert_eq!((&shown["read_seq"], &shown["unread"]), (&json!(BURST + 1), &json!(0)));
    assert_eq!(bob.frames.count("error"), 0, "none of them was refused");
}

#[tokio::test]
async fn a_mark_that_changes_nothing_is_no_write() {
    let deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let room = deployment.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect_at(1).await);
    ann.say(&room.id, "two").await;
    ann.say(&room.id, "three").await;
    bob.send(mark("message:read", &room.id, json!({"seq": 3}))).await;
    assert_told(&ann, "message:read", &room.id, &room.users[1].id, 3).await;
    let broker = Broker::of(&deployment).await;
    let before = broker.receipts().await;
    for seq in [3, 2, 3, 1_000, 1] {
        bob.send(mark("message:read", &room.id, json!({"seq": seq}))).await;
    }
    // The last one that has an effect comes after those that have none.
    ann.say(&room.id, "four").await;
    bob.send(mark("message:read", &room.id, json!({"seq": 4}))).await;
    assert_told(&ann, "message:read", &room.id, &room.users[1].id, 4).await;
    assert_eq!(broker.receipts().await, before + 1);
}

#[tokio::test]
async fn what_was_read_and_what_a_room_is_are_the_same_after_a_restart_of_everything() {
    let mut deployment = Deployment::start()
        .separate()
        .replicas("connection=2,message=2")
        .launch()
        .await;
    let room = deployment.group(["ann", "bob", "eve"]).await;
    let [ann, bob, eve] = &room.users;
    let (anns, bobs) = (ann.connect().await, bob.connect_at(1).await);
    let cursor = anns.settled_cursor().await;
    for text in ["two", "three", "four"] {
        anns.say(&room.id, text).await;
    }
    ann.api.rename(&room.id, "kept").await.ok();
    ann.api.set_role(&room.id, &bob.id, "admin").await.ok();
    assert_eq!(ann.api.remove(&room.id, &eve.id).await.status, 204);
    bobs.send(mark("message:read", &room.id, json!({"seq": 3}))).await;
    assert_told(&anns, "message:read", &room.id, &bob.id, 3).await;
    let before = [
        ann.api.conversation(&room.id).await,
        bob.api.conversation(&room.id).await,
    ];
    drop((anns, bobs));
    deployment.restart().await;

    // Right after the start: no moment in which they are less.
    let after = [
        ann.api_at(1).conversation(&room.id).await,
        bob.api.conversation(&room.id).await,
    ];
    assert_eq!(after, before);
    assert_eq!((&after[1]["read_seq"], &after[1]["unread"]), (&json!(3), &json!(1)));
    eve.api.history(&room.id, "").await.assert_problem(404, "not_found");
    bob.api.rename(&room.id, "by an admin").await.ok();
    let again = ann.socket().node(1).resume(&cursor).connect().await;
    assert_told(&again, "message:read", &room.id, &bob.id, 3).await;
}

#[tokio::test]
async fn no_mark_is_lost_or_goes_back_when_message_replicas_die() {
    let deployment = Deployment::start()
        .separate()
        .replicas("connection=2,message=2")
        .launch()
        .await;
    let room = deployment.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect_at(1).await);
    let mut head = 1;
    for victim in ["message-0", "message-1", "message-0"] {
        let old = deployment.kill(victim);
        for _ in 0..10 {
            head = ann.say_patiently(&room.id, "a message").await["seq"].as_u64().unwrap();
            bob.send(mark("message:read", &room.id, json!({"seq": head}))).await;
        }
        // An app says again what was refused.
        until("the last mark to be told", Duration::from_secs(15), async || {
            let refused = bob.frames.take(|what| match what {
                crate::harness::What::Frame(it) if it["type"] == "error" => Some(it.clone()),
                _ => None,
            });
            if let Some((error, _)) = refused {
                assert_eq!(error["code"], "unavailable", "{error}");
                bob.send(mark("message:read", &room.id, json!({"seq": head}))).await;
            }
            let told = |it: &Value| it["type"] == "message:read" && it["seq"] == head;
            ann.frames.all().iter().any(told).then_some(())
        })
        .await;
        deployment.restarted(victim, old).await;
    }
    let all = ann.frames.all();
    let told: Vec<u64> = all
        .iter()
        .filter(|it| it["type"] == "message:read")
        .filter_map(|it| it["seq"].as_u64())
        .collect();
    assert!(told.is_sorted_by(|one, other| one < other), "{told:?}");
    assert_eq!(room.users[1].api.conversation(&room.id).await["read_seq"], head);
    deployment.verify().await;
}

#[tokio::test]
async fn a_mark_does_not_go_back_where_the_stream_of_receipts_was_made_anew() {
    let mut deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let room = deployment.direct().await;
    let [ann, bob] = &room.users;
    for text in ["two", "three", "four", "five"] {
        ann.api.say(&room.id, text).await;
    }
    let (told, reader) = (ann.connect().await, bob.connect().await);
    reader.send(mark("message:read", &room.id, json!({"seq": 4}))).await;
    assert_told(&told, "message:read", &room.id, &bob.id, 4).await;
    deployment.verify().await;
    Broker::of(&deployment).await.make_anew("RECEIPTS").await;
    drop((told, reader));
    deployment.restart().await;
    let (told, reader) = (ann.connect().await, bob.connect().await);
    for seq in [2, 3, 5] {
        reader.send(mark("message:read", &room.id, json!({"seq": seq}))).await;
    }
    assert_told(&told, "message:read", &room.id, &bob.id, 5).await;
}
