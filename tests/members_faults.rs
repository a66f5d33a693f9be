//! Changes of a group that race with messages, and while something is away or dies.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Change, Client, Deployment, Lag, Room, is_durable, tuned, until};

/// The durable events that a socket got of a room, without gap or repetition.
fn dense_events(socket: &Client, room: &str) -> Vec<Value> {
    let mut events = socket.frames.all();
    events.retain(|it| is_durable(it) && it["conversation_id"] == room && it["seq"] != 1);
    let seqs: Vec<u64> = events.iter().filter_map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, (2..seqs.len() as u64 + 2).collect::<Vec<_>>());
    events
}

/// Sends without waiting until the room is closed to the sender; the client ids, and how many of them were sent before
/// `closed` said that the removal is answered.
async fn send_on(socket: &Client, room: &str, closed: &std::sync::atomic::AtomicBool) -> (Vec<String>, usize) {
    let (mut ids, mut before) = (Vec::new(), 0);
    while ids.len() < before + 25 {
        let was_closed = closed.load(std::sync::atomic::Ordering::SeqCst);
        ids.push(socket.send_message(room, "let me speak").await);
        before = if was_closed { before } else { ids.len() };
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (ids, before)
}

#[tokio::test]
async fn once_a_removal_is_answered_no_send_of_the_removed_is_acked_through_any_replica() {
    let room = tuned().await.group(["ann", "bob", "kim"]).await;
    let [ann, bob, kim] = &room.users;
    let watcher = bob.connect().await;
    for round in 0..6 {
        let sockets = [kim.connect().await, kim.connect_at(1).await];
        let closed = std::sync::atomic::AtomicBool::new(false);
        let removal = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let reply = ann.api_at(round % 2).remove(&room.id, &kim.id).await;
            closed.store(true, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(reply.status, 204, "{}", reply.body);
        };
        let (one, other, ()) = tokio::join!(
            send_on(&sockets[0], &room.id, &closed),
            send_on(&sockets[1], &room.id, &closed),
            removal
        );
        let mut acked = HashSet::new();
        for (socket, (ids, before)) in sockets.iter().zip([one, other]) {
            for (number, id) in ids.iter().enumerate() {
                let answer = socket
                    .frames
                    .frame("an answer", |it| it["client_id"] == id.as_str())
                    .await;
                if answer["type"] == "message:ack" {
                    assert!(number < before, "acked after the removal was answered: {answer}");
                    acked.insert(id.clone());
                } else {
                    assert_eq!(answer["code"], "not_found", "{answer}");
                }
            }
        }
        assert_all_before_the_removal(&watcher, &room, &acked).await;
        assert_eq!(ann.api_at(round % 2).add(&room.id, &[&kim.id]).await.status, 200);
    }
}

/// What the log holds of the removed is exactly what was acked, and lies before the removal.
async fn assert_all_before_the_removal(watcher: &Client, room: &Room<3>, acked: &HashSet<String>) {
    let removal = |it: &Value| it["type"] == "member:removed";
    watcher.frames.frame("the removal", removal).await;
    room.users[0].api.say(&room.id, "the end of the round").await;
    watcher
        .frames
        .frame("the end", |it| it["text"] == "the end of the round")
        .await;
    let events = dense_events(watcher, &room.id);
    let last = events.iter().rposition(removal).unwrap();
    let first = events[..last].iter().rposition(removal).map_or(0, |it| it + 1);
    let of_kim = |it: &&Value| it["sender_id"] == room.users[2].id.as_str();
    let ids = |events: &[Value]| -> HashSet<String> {
        let mine = events.iter().filter(of_kim);
        mine.map(|it| it["client_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        ids(&events[first..last]),
        *acked,
        "acked, and in the log before the removal"
    );
    assert_eq!(ids(&events[last..]), HashSet::new(), "in the log after the removal");
}

#[tokio::test]
async fn changes_by_several_admins_at_once_through_several_replicas_are_all_done() {
    let room = tuned().await.group(["ann", "bob", "eve"]).await;
    let [ann, bob, eve] = &room.users;
    let watcher = eve.connect().await;
    ann.api.set_role(&room.id, &bob.id, "admin").await.ok();
    let changes = async |user: &crate::harness::User, node: usize| {
        let api = user.api_at(node);
        for number in 0..15 {
            let name = format!("{} {number}", user.id);
            api.change_patiently(&room.id, Change::Rename(&name)).await.ok();
            api.change_patiently(&room.id, Change::Add(&[&name])).await.ok();
        }
    };
    let talk = async {
        for number in 0..60 {
            eve.api_at(number % 2).say(&room.id, &number.to_string()).await;
        }
    };
    tokio::join!(changes(ann, 0), changes(bob, 1), talk);
    until("all to come", Duration::from_secs(10), async || {
        (watcher.frames.all().iter().filter(|it| is_durable(it)).count() > 120).then_some(())
    })
    .await;
    let events = dense_events(&watcher, &room.id);
    assert_eq!(
        events.len(),
        121,
        "a role, thirty names, thirty members, sixty messages"
    );
    assert_eq!(ann.api.members(&room.id, "limit=7").await.len(), 33);
}

/// The contract's two seconds for `unavailable`, and the machine's own delay.
const HTTP_PATIENCE: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn while_mongodb_hangs_changes_are_done_and_told_and_stored_later() {
    let deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let room = deployment.group(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    let eve = deployment.user("eve").await;
    let (bobs, eves) = (bob.connect_at(1).await, eve.connect().await);
    ann.api.say(&room.id, "before").await;
    let all = Lag::beside(&ann.api);
    deployment.pause("mongod");
    let began = Instant::now();
    for (node, change) in [
        (0, Change::Rename("meanwhile")),
        (1, Change::Add(&[&eve.id])),
        (0, Change::Role(&bob.id, "admin")),
    ] {
        let lag = Lag::beside(&ann.api);
        let reply = ann.api_at(node).change(&room.id, change).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        lag.assert_within(HTTP_PATIENCE, reply.took, "a change");
    }
    eve.api.say(&room.id, "a newcomer's word").await;
    assert_eq!(bob.api_at(1).remove(&room.id, &eve.id).await.status, 204);
    eves.expect_no_such_room(&room.id).await;
    let kinds: Vec<Value> = bobs.next_events(6).await.iter().map(|it| it["type"].clone()).collect();
    all.assert_within(5 * HTTP_PATIENCE, began.elapsed(), "telling all");
    deployment.unpause("mongod");
    let expected = [
        "message:incoming",
        "conversation:updated",
        "member:added",
        "conversation:updated",
        "message:incoming",
        "member:removed",
    ];
    assert_eq!(kinds, expected);
    until("reads to answer again", Duration::from_secs(30), async || {
        let shown = bob.api.get(&format!("/v1/conversations/{}", room.id)).await;
        (shown.status == 200).then_some(())
    })
    .await;
    let shown = bob.api.conversation(&room.id).await;
    assert_eq!((&shown["name"], &shown["seq"]), (&json!("meanwhile"), &json!(7)));
    eve.api.history(&room.id, "").await.assert_problem(404, "not_found");
    deployment.verify().await;
}

#[tokio::test]
async fn while_nats_hangs_a_change_is_unavailable_in_time_and_done_once_when_repeated() {
    let deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let room = deployment.group(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    let bobs = bob.connect().await;
    let lag = Lag::beside(&ann.api);
    deployment.pause("nats");
    let reply = ann.api.rename(&room.id, "meanwhile").await;
    reply.assert_problem(503, "unavailable");
    lag.assert_within(HTTP_PATIENCE, reply.took, "503");
    deployment.unpause("nats");
    ann.api
        .change_patiently(&room.id, Change::Rename("meanwhile"))
        .await
        .ok();
    ann.api.say(&room.id, "after").await;
    assert_eq!(bobs.next_event().await["name"], "meanwhile");
    assert_eq!(bobs.expect_text("after").await["seq"], 3);
}

#[tokio::test]
async fn changes_survive_the_death_of_every_message_replica() {
    let deployment = Deployment::start()
        .separate()
        .replicas("connection=2,message=2")
        .launch()
        .await;
    let room = deployment.group(["ann", "bob", "eve"]).await;
    let [ann, bob, eve] = &room.users;
    let watcher = bob.connect_at(1).await;
    for (number, victim) in ["message-0", "message-1", "message-0", "message-1"]
        .into_iter()
        .enumerate()
    {
        let old = deployment.kill(victim);
        for name in [format!("{number} a"), format!("{number} b")] {
            let api = ann.api_at(number % 2);
            api.change_patiently(&room.id, Change::Rename(&name)).await.ok();
            api.change_patiently(&room.id, Change::Add(&[&name])).await.ok();
        }
        deployment.restarted(victim, old).await;
    }
    ann.api
        .change_patiently(&room.id, Change::Role(&bob.id, "admin"))
        .await
        .ok();
    assert_eq!(
        bob.api.change_patiently(&room.id, Change::Remove(&eve.id)).await.status,
        204
    );
    watcher
        .frames
        .frame("the last change", |it| it["type"] == "member:removed")
        .await;
    assert_eq!(dense_events(&watcher, &room.id).len(), 18, "each change once");
    let members = ann.api.members(&room.id, "").await;
    assert_eq!(members.len(), 10, "{members:?}");
    deployment.verify().await;
}
