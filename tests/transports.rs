//! A WebSocket, Server-Sent Events and long polling tell the same, in the same order, to any device of a user.

use serde_json::{Value, json};

use crate::harness::{Client, Poller, Sse, User, is_durable, shared, until};

/// Bob's three ways of listening, at both nodes.
pub struct Ears {
    pub socket: Client,
    pub stream: Sse,
    pub poller: Poller,
}

impl Ears {
    pub async fn of(user: &User) -> Self {
        let socket = user.connect_at(1).await;
        let cursor = socket.settled_cursor().await;
        Self {
            socket,
            stream: Sse::open(&user.api, Some(&cursor)).await,
            poller: Poller::new(&user.api_at(1), &cursor),
        }
    }

    /// Waits until all three have heard something.
    pub async fn hear(&mut self, what: &str, passes: impl Fn(&Value) -> bool + Copy) {
        self.socket.frames.frame(what, passes).await;
        self.stream.frames.frame(what, passes).await;
        self.poller.until(what, passes).await;
    }
}

/// What is told of: not what a socket alone is told of itself.
pub fn told(mut frames: Vec<Value>) -> Vec<Value> {
    frames.retain(|it| is_durable(it) || it["type"] == "message:read" || it["type"] == "message:delivered");
    frames
}

#[tokio::test]
async fn the_same_script_is_told_alike_on_all_three() {
    let [ann, bob, eve] = shared().await.users(["ann", "bob", "eve"]).await;
    let mut ears = Ears::of(&bob).await;
    let (anns, phone) = (ann.connect().await, bob.connect().await);
    let group = ann.api.group(&[&bob.id]).await;
    ears.hear("the group", |it| it["type"] == "conversation:created").await;
    let direct = bob.api_at(1).direct(&ann.id).await;
    ears.hear("the pair", |it| it["conversation_id"] == direct.as_str())
        .await;
    for (number, room) in [&group, &direct, &group].into_iter().enumerate() {
        let text = format!("from ann {number}");
        anns.say(room, &text).await;
        ears.hear(&text, |it| it["text"] == text.as_str()).await;
    }
    let own = phone.say(&group, "from another device").await;
    ears.hear("his own", |it| it["client_id"] == own["client_id"]).await;
    for kind in ["message:delivered", "message:read"] {
        anns.send(json!({"type": kind, "conversation_id": group, "seq": own["seq"]}))
            .await;
        ears.hear(kind, |it| it["type"] == kind && it["user_id"] == ann.id.as_str())
            .await;
    }
    phone
        .send(json!({"type": "message:read", "conversation_id": direct, "seq": 2}))
        .await;
    ears.hear("his own mark", |it| {
        it["type"] == "message:read" && it["user_id"] == bob.id.as_str()
    })
    .await;
    ann.api.rename(&group, "lunch").await.ok();
    ears.hear("the name", |it| it["type"] == "conversation:updated").await;
    ann.api.add(&group, &[&eve.id]).await.ok();
    ears.hear("the addition", |it| it["type"] == "member:added").await;
    ann.api.remove(&group, &bob.id).await;
    ears.hear("the removal", |it| it["type"] == "member:removed").await;
    ann.api.say(&group, "without bob").await;
    ann.api.add(&group, &[&bob.id]).await.ok();
    ears.hear("the return", |it| {
        it["type"] == "member:added" && it["conversation"].is_object()
    })
    .await;

    let script = told(ears.socket.frames.all());
    assert_eq!(script.len(), 13, "{script:#?}");
    assert_eq!(told(ears.stream.frames.all()), script);
    assert_eq!(told(ears.poller.events.clone()), script);
}

#[tokio::test]
async fn a_burst_is_told_alike_on_all_three_in_each_conversation() {
    let [ann, bob, eve] = shared().await.users(["ann", "bob", "eve"]).await;
    let rooms = [ann.api.direct(&bob.id).await, eve.api.group(&[&bob.id, &ann.id]).await];
    let mut ears = Ears::of(&bob).await;
    let (anns, eves) = (ann.connect().await, eve.connect_at(1).await);
    for number in 0..40 {
        anns.send_message(&rooms[0], &number.to_string()).await;
        anns.send_message(&rooms[1], &number.to_string()).await;
        eves.send_message(&rooms[1], &number.to_string()).await;
    }
    until(
        "all on the socket and the stream",
        crate::harness::PATIENCE,
        async || {
            let all = |frames: Vec<Value>| frames.iter().filter(|it| it["type"] == "message:incoming").count() >= 120;
            (all(ears.socket.frames.all()) && all(ears.stream.frames.all())).then_some(())
        },
    )
    .await;
    while ears.poller.events.len() < 120 {
        ears.poller.once(5_000).await;
    }
    for (room, count) in rooms.iter().zip([40, 80]) {
        let of_room = |frames: Vec<Value>| {
            let mut frames = told(frames);
            frames.retain(|it| it["conversation_id"] == room.as_str() && it["type"] == "message:incoming");
            frames
        };
        let script = of_room(ears.socket.frames.all());
        assert_eq!(script.len(), count);
        assert_eq!(of_room(ears.stream.frames.all()), script);
        assert_eq!(of_room(ears.poller.events.clone()), script);
    }
}
