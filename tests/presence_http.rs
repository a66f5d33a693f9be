//! `GET /v1/presence?users=`: of those who share a conversation with the caller, and of nobody else.

use serde_json::{Value, json};

use crate::harness::{PATIENCE, escaped, shared, until};

/// The users of a list with their statuses, in alphabetical order.
fn listed(list: &Value) -> Vec<(String, String)> {
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let list = list["presence"].as_array().unwrap();
    let mut all: Vec<_> = list
        .iter()
        .map(|it| (text(&it["user_id"]), text(&it["status"])))
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn members_are_listed_with_their_status_and_strangers_are_left_out() {
    let room = shared().await.group(["ann", "bob", "eve"]).await;
    let [ann, bob, eve] = &room.users;
    let joe = shared().await.user("joe").await;
    let _sockets = [bob.connect_at(1).await, joe.connect().await];
    let wanted = vec![
        (bob.id.clone(), "online".to_owned()),
        (eve.id.clone(), "offline".to_owned()),
    ];
    for node in [0, 1] {
        let api = ann.api_at(node);
        until("bob to be online", PATIENCE, async || {
            (api.status_of(&bob.id).await == "online").then_some(())
        })
        .await;
        let list = api.presence(&[&bob.id, &joe.id, &eve.id, "nobody"]).await.ok();
        assert_eq!(listed(&list), wanted);
    }
}

#[tokio::test]
async fn who_was_never_seen_has_no_last_seen() {
    let room = shared().await.direct().await;
    let list = room.users[0].api.presence(&[&room.users[1].id]).await.ok();
    assert_eq!(
        list,
        json!({"presence": [{"user_id": room.users[1].id, "status": "offline"}]})
    );
}

#[tokio::test]
async fn who_shares_a_conversation_no_more_is_left_out() {
    let room = shared().await.group(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    let _socket = bob.connect().await;
    assert_eq!(
        ann.api.presence(&[&bob.id]).await.ok()["presence"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    ann.api.remove(&room.id, &bob.id).await;
    for (user, other) in [(ann, bob), (bob, ann)] {
        assert_eq!(user.api.presence(&[&other.id]).await.ok(), json!({"presence": []}));
    }
}

#[tokio::test]
async fn a_name_with_a_comma_or_any_other_letter_is_one_user() {
    let deployment = shared().await;
    let ann = deployment.user("ann").await;
    let names = ["a,b", "50%2C", "q&users=x", "ä 🐌", "+", "#/?"].map(|it| format!("{it} {}", ann.id));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    ann.api.group(&names).await;
    let online = deployment.user_named(names[0]).await;
    let _socket = online.connect().await;
    until("the first to be online", crate::harness::PATIENCE, async || {
        (ann.api.status_of(names[0]).await == "online").then_some(())
    })
    .await;
    let list = listed(&ann.api.presence(&names).await.ok());
    let mut users: Vec<&str> = list.iter().map(|(user, _)| user.as_str()).collect();
    let mut expected = names.clone();
    users.sort_unstable();
    expected.sort_unstable();
    assert_eq!(users, expected);
}

#[tokio::test]
async fn a_hundred_users_are_answered_and_101_are_invalid() {
    let ann = shared().await.user("ann").await;
    let others: Vec<String> = (0..101).map(|it| format!("{}-{it}", ann.id)).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    ann.api.group(&others).await;
    let list = ann.api.presence(&others[..100]).await.ok();
    assert_eq!(list["presence"].as_array().map(Vec::len), Some(100));
    ann.api.presence(&others).await.assert_problem(400, "invalid");
}

#[tokio::test]
async fn a_user_who_is_named_twice_is_listed_once() {
    let room = shared().await.direct().await;
    let bob = &room.users[1].id;
    let list = room.users[0].api.presence(&[bob, bob]).await.ok();
    assert_eq!(list["presence"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn without_users_or_with_what_is_no_user_it_is_invalid() {
    let ann = shared().await.user("ann").await;
    let long = escaped(&"x".repeat(129));
    for query in ["", "?user=a", &format!("?users={long}"), "?users=%FF"] {
        let reply = ann.api.get(&format!("/v1/presence{query}")).await;
        assert_eq!(reply.status, 400, "{query}: {}", reply.body);
        reply.assert_problem(400, "invalid");
    }
}

#[tokio::test]
async fn without_a_token_it_is_401() {
    let ann = shared().await.user("ann").await;
    ann.api
        .with_token("")
        .presence(&["bob"])
        .await
        .assert_problem(401, "unauthenticated");
}
