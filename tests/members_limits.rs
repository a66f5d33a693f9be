//! Changes of a group that cannot be: each has its answer, and changes nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Broker, Change, Deployment, Lag, User, shared, until};

async fn group() -> (User, String) {
    let ann = shared().await.user("ann").await;
    let id = ann.api.group(&["bob"]).await;
    (ann, id)
}

/// The group has had no event since its creation.
async fn assert_unchanged(ann: &User, id: &str) {
    let shown = ann.api.conversation(id).await;
    assert_eq!((&shown["seq"], &shown["name"]), (&json!(1), &json!("a group")));
    assert_eq!(shown["members"].as_array().unwrap().len(), 2, "{shown}");
}

#[tokio::test]
async fn a_name_of_200_characters_is_taken() {
    let (ann, id) = group().await;
    let name = "\u{1F40C}".repeat(200);
    assert_eq!(ann.api.rename(&id, &name).await.ok()["name"], name);
}

#[tokio::test]
async fn a_name_that_is_empty_too_long_or_no_text_is_invalid() {
    let (ann, id) = group().await;
    let long = "x".repeat(201);
    for name in [
        json!(""),
        json!(" \t\n"),
        json!(long),
        json!(7),
        json!(["a"]),
        json!({"$set": 1}),
    ] {
        ann.api
            .update(&id, &json!({"name": name}))
            .await
            .assert_problem(400, "invalid");
    }
    assert_unchanged(&ann, &id).await;
}

#[tokio::test]
async fn a_change_of_nothing_or_of_what_is_unknown_is_invalid() {
    let (ann, id) = group().await;
    for body in [
        json!({}),
        json!({"seq": 7}),
        json!([]),
        json!("name"),
        json!({"history": "some"}),
        json!({"name": "good", "history": 1}),
    ] {
        let reply = ann.api.update(&id, &body).await;
        assert_eq!((reply.status, &reply.body["code"]), (400, &json!("invalid")), "{body}");
    }
    assert_unchanged(&ann, &id).await;
}

#[tokio::test]
async fn a_name_of_a_megabyte_is_too_large() {
    let (ann, id) = group().await;
    let name = "x".repeat(1 << 20);
    ann.api.rename(&id, &name).await.assert_problem(413, "too_large");
    assert_unchanged(&ann, &id).await;
}

#[tokio::test]
async fn a_group_created_with_a_name_of_a_megabyte_is_refused() {
    let (ann, _) = group().await;
    let body = json!({"type": "group", "name": "x".repeat(1 << 20), "members": ["bob"]});
    let reply = ann.api.post("/v1/conversations", &body).await;
    // The body may be as large as ten thousand members need: then it is the name that is too long.
    let code = reply.body["code"].as_str();
    assert!(
        matches!((reply.status, code), (400, Some("invalid")) | (413, Some("too_large"))),
        "{} {}",
        reply.status,
        reply.body
    );
}

#[tokio::test]
async fn additions_that_name_nobody_or_no_users_are_invalid() {
    let (ann, id) = group().await;
    let path = format!("/v1/conversations/{id}/members");
    for body in [
        json!({}),
        json!({"members": []}),
        json!({"members": "bob"}),
        json!({"members": [7]}),
        json!({"members": [""]}),
        json!({"members": ["good", "x".repeat(129)]}),
        json!({"members": {"$ne": 1}}),
        json!(["bob"]),
    ] {
        let reply = ann.api.post(&path, &body).await;
        assert_eq!((reply.status, &reply.body["code"]), (400, &json!("invalid")), "{body}");
    }
    assert_unchanged(&ann, &id).await;
}

#[tokio::test]
async fn a_role_that_nobody_can_be_given_is_invalid() {
    let (ann, id) = group().await;
    for role in ["owner", "king", "", "Admin"] {
        ann.api.set_role(&id, "bob", role).await.assert_problem(400, "invalid");
    }
    assert_unchanged(&ann, &id).await;
}

#[tokio::test]
async fn a_target_that_is_no_member_is_not_found() {
    let (ann, id) = group().await;
    let stranger = shared().await.user("stranger").await;
    for user in [&*stranger.id, "no such user", &"x".repeat(500), "$ne", "a/b"] {
        for change in [Change::Remove(user), Change::Role(user, "admin")] {
            let reply = ann.api.change(&id, change).await;
            assert_eq!(reply.status, 404, "{user}: {}", reply.body);
        }
    }
    assert_unchanged(&ann, &id).await;
}

#[tokio::test]
async fn absent_and_foreign_conversations_are_not_found_alike() {
    let (_, id) = group().await;
    let eve = shared().await.user("eve").await;
    for change in [
        Change::Rename("mine"),
        Change::Add(&["eve"]),
        Change::Remove("bob"),
        Change::Remove(&eve.id),
        Change::Role("bob", "admin"),
    ] {
        let mut told = Vec::new();
        for conversation in [&*id, "g00000000000000000000000000000000", "nonsense", "%24ne"] {
            let reply = eve.api.change(conversation, change).await;
            reply.assert_problem(404, "not_found");
            told.push(reply.body);
        }
        assert!(told.iter().all(|it| *it == told[0]), "{told:?}");
    }
}

#[tokio::test]
async fn without_a_token_every_change_is_401() {
    let (ann, id) = group().await;
    let nobody = ann.api.with_token("");
    for change in [
        Change::Rename("mine"),
        Change::Add(&["eve"]),
        Change::Remove("bob"),
        Change::Role("bob", "admin"),
    ] {
        nobody.change(&id, change).await.assert_problem(401, "unauthenticated");
    }
    assert_unchanged(&ann, &id).await;
}

#[tokio::test]
async fn members_of_any_name_are_added_promoted_and_removed() {
    let (ann, id) = group().await;
    for user in [
        "a b",
        "a/b/c",
        "50%",
        "%2F",
        "q?x=1#y",
        "ä€🐌",
        "$where",
        "a.b*>",
        "\"quoted\"",
        "+",
        "..a",
    ] {
        ann.api.add(&id, &[user]).await.ok();
        ann.api.set_role(&id, user, "admin").await.ok();
        let members = ann.api.members(&id, "").await;
        let found = members.iter().find(|it| it["user_id"] == user);
        assert_eq!(
            found.map(|it| &it["role"]),
            Some(&json!("admin")),
            "{user}: {members:?}"
        );
        assert_eq!(ann.api.remove(&id, user).await.status, 204, "{user}");
    }
    assert_eq!(ann.api.members(&id, "").await.len(), 2);
}

/// So many names, none of them in use elsewhere.
fn many(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|it| format!("{prefix}-{it}")).collect()
}

#[tokio::test]
async fn a_group_has_10_000_members_and_not_one_more() {
    let ann = shared().await.user("ann").await;
    let others = many(&ann.id, 10_000);
    let create = async |members: &[String]| {
        let body = json!({"type": "group", "members": members});
        ann.api.post("/v1/conversations", &body).await
    };
    create(&others).await.assert_problem(400, "invalid");
    let created = create(&others[..9_998]).await.ok();
    let id = created["conversation_id"].as_str().unwrap();
    let (last, two_too_many) = (&*others[9_998], [&*others[9_998], &*others[9_999]]);
    ann.api.add(id, &two_too_many).await.assert_problem(400, "invalid");
    // So many members take a busy MongoDB longer than a read waits.
    let shown = ann.api.get_patiently(&format!("/v1/conversations/{id}")).await;
    assert_eq!(shown["member_count"], 9_999, "nothing is added in part");
    assert_eq!(ann.api.add(id, &[last]).await.ok()["member_count"], 10_000);
    ann.api.add(id, &[&others[9_999]]).await.assert_problem(400, "invalid");
    // Who is in already takes no place.
    assert_eq!(ann.api.add(id, &two_too_many[..1]).await.status, 200);
    assert_eq!(ann.api.remove(id, &others[0]).await.status, 204);
    assert_eq!(ann.api.add(id, &[&others[9_999]]).await.ok()["member_count"], 10_000);
}

#[tokio::test]
async fn ten_thousand_are_added_at_once_and_their_event_is_a_frame_like_others() {
    let ann = shared().await.user("ann").await;
    let others = many(&ann.id, 9_999);
    let id = ann.api.group(&[]).await;
    let socket = ann.connect().await;
    let all: Vec<&str> = others.iter().map(String::as_str).collect();
    let shown = ann.api.add(&id, &all).await.ok();
    assert_eq!((&shown["member_count"], &shown["seq"]), (&json!(10_000), &json!(2)));
    let event = socket.next_event().await;
    assert_eq!(event["user_count"], 9_999);
    assert!(event["user_ids"].as_array().is_some_and(|it| it.len() > 100));
    assert!(event.to_string().len() <= 64 * 1024, "a frame has at most 64 KiB");
    let members = ann.api.members(&id, "limit=1000").await;
    let ids: Vec<&Value> = members.iter().skip(1).map(|it| &it["user_id"]).collect();
    assert_eq!(ids, all);
}

#[tokio::test]
async fn an_entry_with_ten_thousand_members_is_stored_before_it_would_come_again() {
    let deployment = Deployment::start().replicas("connection=1,message=2").launch().await;
    let ann = deployment.user("ann").await;
    let others = many(&ann.id, 9_999);
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let broker = Broker::of(&deployment).await;
    let lag = Lag::beside(&ann.api);
    ann.api.group(&others).await;
    let projector = until(
        "the projection to have passed it",
        Duration::from_secs(30),
        async || {
            for stream in broker.log_streams().await {
                let projector = broker.projector(&stream).await;
                if projector["ack_floor"]["stream_seq"] == 1 {
                    return Some(projector);
                }
            }
            None
        },
    )
    .await;
    // Where the machine took as long as NATS waits, it comes again rightly.
    if lag.lost() < Duration::from_secs(1) {
        assert_eq!(projector["delivered"]["consumer_seq"], 1, "delivered once: {projector}");
    }
    deployment.verify().await;
}
