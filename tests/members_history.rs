//! What a newcomer sees of the time before him: everything, or with the setting `joined` nothing.

use serde_json::{Value, json};

use crate::harness::{Client, User, client_id, shared};

/// A group of Ann and Bob with that setting and two messages of Bob's, to which Eve is added; her socket.
async fn joined_late(history: &str) -> ([User; 3], String, Client) {
    let users = shared().await.users(["ann", "bob", "eve"]).await;
    let [ann, bob, eve] = &users;
    let body = json!({"type": "group", "name": "late", "members": [bob.id], "history": history});
    let created = ann.api.post("/v1/conversations", &body).await.ok();
    let id = created["conversation_id"].as_str().unwrap().to_owned();
    for text in ["one", "two"] {
        bob.api.say(&id, text).await;
    }
    let socket = eve.connect_at(1).await;
    ann.api.add(&id, &[&eve.id]).await.ok();
    (users, id, socket)
}

async fn texts(user: &User, id: &str) -> Vec<String> {
    let history = user.api.history_forwards(id, 50).await;
    let mut backwards = user.api_at(1).history_backwards(id, 2).await;
    backwards.reverse();
    assert_eq!(history, backwards);
    history
        .iter()
        .map(|it| it["text"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn with_joined_a_newcomer_reads_only_what_came_after_him() {
    let ([_, bob, eve], id, _) = joined_late("joined").await;
    assert_eq!(texts(&eve, &id).await, [""; 0]);
    bob.api.say(&id, "three").await;
    assert_eq!(texts(&eve, &id).await, ["three"]);
    let range = eve.api.history(&id, "after=0&before=4").await.ok();
    assert_eq!(range, json!({"messages": [], "more": false}));
}

#[tokio::test]
async fn with_joined_the_founders_read_everything() {
    let ([ann, bob, _], id, _) = joined_late("joined").await;
    for founder in [&ann, &bob] {
        assert_eq!(texts(founder, &id).await, ["one", "two"]);
    }
}

#[tokio::test]
async fn with_joined_neither_unread_nor_the_last_message_tell_of_the_time_before() {
    let ([_, bob, eve], id, _) = joined_late("joined").await;
    let shown = eve.api.conversation(&id).await;
    assert_eq!(
        (shown.get("last_message"), &shown["unread"]),
        (None, &json!(0)),
        "{shown}"
    );
    let ack = bob.api.say(&id, "three").await;
    let shown = eve.api.conversation(&id).await;
    assert_eq!(
        (&shown["last_message"]["seq"], &shown["unread"]),
        (&ack["seq"], &json!(1))
    );
    let listed = eve.api.get("/v1/conversations").await.ok();
    assert_eq!(listed["conversations"], json!([shown]));
}

#[tokio::test]
async fn with_joined_the_welcome_tells_nothing_of_the_time_before() {
    let (_, _, socket) = joined_late("joined").await;
    let event = socket.next_event().await;
    assert_eq!(event["type"], "member:added");
    let given = &event["conversation"];
    assert_eq!(
        (given.get("last_message"), &given["unread"]),
        (None, &json!(0)),
        "{event}"
    );
    assert!(!event.to_string().contains("\"two\""), "{event}");
}

#[tokio::test]
async fn the_setting_is_shown_where_it_is_not_the_default() {
    let ([ann, ..], id, _) = joined_late("joined").await;
    assert_eq!(ann.api.conversation(&id).await["history"], "joined");
}

#[tokio::test]
async fn a_change_of_the_setting_is_an_event_and_holds_at_once_both_ways() {
    let ([ann, _, eve], id, socket) = joined_late("all").await;
    assert_eq!(texts(&eve, &id).await, ["one", "two"]);
    assert_eq!(socket.next_event().await["type"], "member:added");
    for (history, expected) in [("joined", &[] as &[&str]), ("all", &["one", "two"])] {
        ann.api.update(&id, &json!({"history": history})).await.ok();
        let event = socket.next_event().await;
        assert_eq!(
            (&event["type"], &event["history"]),
            (&json!("conversation:updated"), &json!(history))
        );
        assert_eq!(event.get("name"), None, "only what changed: {event}");
        assert_eq!(texts(&eve, &id).await, expected);
    }
}

#[tokio::test]
async fn with_joined_who_comes_back_reads_only_from_his_return_on() {
    let ([ann, bob, eve], id, _) = joined_late("joined").await;
    bob.api.say(&id, "while she was here").await;
    ann.api.remove(&id, &eve.id).await;
    bob.api.say(&id, "while she was gone").await;
    ann.api.add(&id, &[&eve.id]).await.ok();
    bob.api.say(&id, "after her return").await;
    assert_eq!(texts(&eve, &id).await, ["after her return"]);
}

#[tokio::test]
async fn with_joined_since_and_resume_tell_nothing_of_the_time_before_either() {
    let [ann, eve] = shared().await.users(["ann", "eve"]).await;
    let cursor = eve.connect().await.settled_cursor().await;
    let body = json!({"type": "group", "members": [], "history": "joined", "client_id": client_id()});
    let created = ann.api.post("/v1/conversations", &body).await.ok();
    let id = created["conversation_id"].as_str().unwrap();
    ann.api.say(id, "secret").await;
    ann.api.add(id, &[&eve.id]).await.ok();
    let (events, _) = eve.api.since(&cursor, 100).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let again = eve.socket().resume(&cursor).connect().await;
    again.expect("checkpoint").await;
    let told = |it: &Value| it.to_string().contains("secret");
    assert!(!events.iter().any(told) && !again.frames.all().iter().any(told));
}

#[tokio::test]
async fn with_joined_a_message_from_before_cannot_be_confirmed() {
    let (_, id, socket) = joined_late("joined").await;
    socket.expect("member:added").await;
    for (kind, reference) in [("message:read", 1), ("message:delivered", 2)] {
        let frame = json!({"type": kind, "conversation_id": id, "server_id": format!("{id}-2"), "ref": reference});
        socket.send(frame).await;
        let error = socket.expect("error").await;
        assert_eq!(
            (&error["code"], &error["ref"]),
            (&json!("not_found"), &json!(reference))
        );
    }
}
