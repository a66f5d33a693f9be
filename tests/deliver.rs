//! Delivery: everything to every device of every member, in order, to nobody else, and at everybody's own pace.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Client, Deployment, Entry, What, is_durable, shared, until};

#[tokio::test]
async fn a_message_comes_to_every_device_of_every_member_on_every_node() {
    let room = shared().await.group(["ann", "bob", "eve"]).await;
    let ann = room.users[0].connect().await;
    let mut others = Vec::new();
    for user in &room.users[1..] {
        for node in [0, 1, 0] {
            others.push(user.connect_at(node).await);
        }
    }
    let mut acks = Vec::new();
    for number in 0..10 {
        acks.push(ann.say(&room.id, &number.to_string()).await);
    }
    for socket in &others {
        for (number, ack) in acks.iter().enumerate() {
            let event = socket.expect_text(&number.to_string()).await;
            assert_eq!((&event["seq"], &event["server_id"]), (&ack["seq"], &ack["server_id"]));
        }
        socket.assert_quiet().await;
    }
}

#[tokio::test]
async fn an_incoming_message_has_every_field_of_the_contract() {
    let room = shared().await.direct().await;
    let bob = room.users[1].connect().await;
    let ack = room.users[0].api.say(&room.id, "hello").await;
    let expected = json!({
        "type": "message:incoming", "server_id": ack["server_id"], "client_id": ack["client_id"],
        "conversation_id": room.id, "seq": 2, "sender_id": room.users[0].id, "text": "hello", "kind": "text",
        "timestamp": ack["timestamp"],
    });
    assert_eq!(bob.next_event().await, expected);
}

#[tokio::test]
async fn who_is_no_member_gets_nothing() {
    let deployment = shared().await;
    let room = deployment.direct().await;
    let other = deployment.direct().await;
    let (eve, eve_elsewhere) = (other.users[0].connect().await, other.users[0].connect_at(1).await);
    let bob = room.users[1].connect().await;
    room.users[0].api.say(&room.id, "secret").await;
    bob.expect_text("secret").await;
    other.users[1].api.say(&other.id, "for eve").await;
    for socket in [eve, eve_elsewhere] {
        socket.expect_text("for eve").await;
        socket.assert_quiet().await;
    }
}

#[tokio::test]
async fn a_new_conversation_comes_to_all_its_members_at_once() {
    let deployment = shared().await;
    let users = deployment.users(["ann", "bob", "eve"]).await;
    let sockets = join_all(users.iter().enumerate().map(|(at, it)| it.connect_at(at % 2))).await;
    let body = json!({"type": "group", "name": "tea", "members": [users[1].id, users[2].id]});
    let conversation = users[0].api.post("/v1/conversations", &body).await.ok();
    for socket in &sockets {
        let event = socket.next_event().await;
        assert_eq!(event["type"], "conversation:created");
        assert_eq!(event["conversation_id"], conversation["conversation_id"]);
        assert_eq!(
            (&event["seq"], &event["conversation_type"]),
            (&json!(1), &json!("group"))
        );
        assert_eq!((&event["name"], &event["by"]), (&json!("tea"), &json!(users[0].id)));
        let mut members: Vec<&str> = event["members"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let mut expected: Vec<&str> = users.iter().map(|it| it.id.as_str()).collect();
        members.sort_unstable();
        expected.sort_unstable();
        assert_eq!(members, expected);
    }
    let id = conversation["conversation_id"].as_str().unwrap();
    users[1].api.say(id, "at once").await;
    for socket in &sockets {
        assert_eq!(socket.expect_text("at once").await["seq"], 2);
    }
}

#[tokio::test]
async fn several_conversations_at_once_each_keep_their_order() {
    let deployment = shared().await;
    let [ann, bob, eve] = deployment.users(["ann", "bob", "eve"]).await;
    let mut rooms = vec![ann.api.direct(&bob.id).await, eve.api.direct(&bob.id).await];
    rooms.push(ann.api.group(&[&bob.id, &eve.id]).await);
    let receiver = bob.connect_at(1).await;
    let senders = [(ann.connect().await, [0, 2]), (eve.connect_at(1).await, [1, 2])];
    for number in 0..25 {
        for (sender, targets) in &senders {
            for target in targets {
                sender.send_message(&rooms[*target], &number.to_string()).await;
            }
        }
    }
    let events = receiver.next_events(100).await;
    for room in &rooms {
        let of_room = events.iter().filter(|it| it["conversation_id"] == room.as_str());
        let seqs: Vec<u64> = of_room.filter_map(|it| it["seq"].as_u64()).collect();
        let expected: Vec<u64> = (2..seqs.len() as u64 + 2).collect();
        assert_eq!(seqs, expected);
    }
}

/// So much that no buffer of the kernel or of a bounded queue holds it: 1,500 × 16 KB = 24 MB.
const SLOW_MESSAGES: usize = 1_500;

async fn send_much(senders: &[Client], room: &str) {
    let text = "\u{1F40C}".repeat(4_000);
    let mut left = SLOW_MESSAGES;
    while left > 0 {
        let mut ids = Vec::new();
        for sender in senders.iter().cycle().take(20.min(left)) {
            ids.push((sender, sender.send_message(room, &text).await));
        }
        left -= ids.len();
        for (sender, id) in ids {
            sender.wait_ack(&id).await;
        }
    }
}

fn incoming(socket: &Client) -> usize {
    socket.frames.count("message:incoming")
}

#[tokio::test]
async fn a_slow_client_is_not_cut_and_loses_nothing_and_its_neighbours_do_not_wait() {
    let start = Deployment::start().replicas("connection=2,message=2");
    let start = start
        .env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0")
        .env("PARLEY_CONNECTION__MEMORY_MIB", "4");
    let deployment = start.launch().await;
    let room = deployment.group(["ann", "slow", "bob"]).await;
    let senders = join_all((0..2).map(|it| room.users[0].connect_at(it))).await;
    let slow = room.users[1].socket().receive_buffer(8_192).connect().await;
    let neighbour = room.users[2].connect().await;
    slow.read(false);

    send_much(&senders, &room.id).await;
    let sent = Instant::now();
    until("the neighbour to have all", Duration::from_secs(5), async || {
        (incoming(&neighbour) == SLOW_MESSAGES).then_some(())
    })
    .await;
    assert!(
        incoming(&slow) < SLOW_MESSAGES / 2,
        "the slow one was not slow: the test proves nothing"
    );
    let lag = neighbour
        .frames
        .entries()
        .iter()
        .rfind(is_message)
        .unwrap()
        .at
        .saturating_duration_since(sent);
    assert!(
        lag < Duration::from_secs(1),
        "the neighbour had the last message {lag:?} after its ack"
    );

    slow.read(true);
    until("the slow one to have all", Duration::from_secs(40), async || {
        assert!(!slow.has_ended(), "cut after {} messages", incoming(&slow));
        (incoming(&slow) >= SLOW_MESSAGES).then_some(())
    })
    .await;
    for socket in [&slow, &neighbour] {
        let events = socket.frames.all();
        let seqs: Vec<u64> = events
            .iter()
            .filter(|it| is_durable(it))
            .filter_map(|it| it["seq"].as_u64())
            .collect();
        assert_eq!(seqs, (2..SLOW_MESSAGES as u64 + 2).collect::<Vec<_>>());
    }
    // It is live again.
    room.users[2].api.say(&room.id, "and on").await;
    slow.frames
        .frame("the next live message", |it| it["text"] == "and on")
        .await;
}

fn is_message(entry: &&Entry) -> bool {
    matches!(&entry.what, What::Frame(it) if it["type"] == "message:incoming")
}

#[tokio::test]
async fn a_hot_conversation_makes_progress_through_several_replicas() {
    let start = Deployment::start().separate().replicas("connection=2,message=3");
    let deployment = start.env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0").launch().await;
    let room = deployment.group(["ann", "bob", "eve", "joe"]).await;
    let watcher = room.users[3].connect().await;
    let senders = join_all(
        room.users
            .iter()
            .take(3)
            .enumerate()
            .map(|(at, it)| it.connect_at(at % 2)),
    )
    .await;
    const EACH: usize = 600;
    let began = Instant::now();
    let mut acks: Vec<u64> = join_all(senders.iter().map(async |it| send_hot(it, &room.id, EACH).await))
        .await
        .concat();
    let took = began.elapsed();
    acks.sort_unstable();
    assert_eq!(acks, (2..3 * EACH as u64 + 2).collect::<Vec<_>>(), "dense, each once");
    let events = watcher.next_events(3 * EACH).await;
    let seqs: Vec<u64> = events.iter().filter_map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, acks);
    let rate = acks.len() as f64 / took.as_secs_f64();
    assert!(rate > 200.0, "only {rate:.0} messages a second in one conversation");
    deployment.verify().await;
}

/// Keeps 30 sends of one socket under way; the acked seqs, which must rise in the order sent.
async fn send_hot(socket: &Client, room: &str, count: usize) -> Vec<u64> {
    let mut waiting = std::collections::VecDeque::new();
    let mut seqs = Vec::new();
    for number in 0..count + 30 {
        if number < count {
            waiting.push_back(socket.send_message(room, &format!("hot {number}")).await);
        }
        if number >= 30 {
            let ack = socket.wait_ack(&waiting.pop_front().unwrap()).await;
            seqs.push(ack["seq"].as_u64().unwrap());
        }
    }
    assert!(seqs.is_sorted(), "the sends of one socket are in the order sent");
    seqs
}
