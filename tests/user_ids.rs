//! A user id is any string up to 128 bytes: it works everywhere, and means nothing to NATS or MongoDB.

use serde_json::json;

use crate::harness::{Deployment, User, shared};

/// Ids that would mean something in a subject, a query, a path or a token. `{}` becomes unique.
fn strange(unique: &str) -> Vec<String> {
    let mut ids: Vec<String> = [
        "a.b.{}",
        "*.{}",
        "{}.*",
        "{}.>",
        ">{}",
        "{} with spaces ",
        "$where{}",
        "{\"$ne\":\"{}\"}",
        "../../{}",
        "a/b?c={}&d#e",
        "%2e%00{}",
        "\"quoted\"'{}",
        "line\nbreak\t{}",
        "\u{fc}\u{1F9DC}\u{540D}\u{524D}{}",
        "\u{202e}{}",
        "{}@example.org",
    ]
    .iter()
    .map(|it| it.replace("{}", unique))
    .collect();
    ids.push(format!("{unique}{}", "x".repeat(128 - unique.len())));
    ids.push(format!("{unique}{}", "\u{e9}".repeat((128 - unique.len()) / 2)));
    ids
}

fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

async fn assert_can_talk(deployment: &Deployment, strange: &User) {
    let plain = deployment.user("plain").await;
    let room = plain.api.direct(&strange.id).await;
    let (their, our) = (strange.connect_at(1).await, plain.connect().await);
    assert_eq!(their.ready["user_id"], strange.id.as_str());
    our.say(&room, "to you").await;
    assert_eq!(their.expect_text("to you").await["sender_id"], plain.id.as_str());
    their.say(&room, "and back").await;
    assert_eq!(our.expect_text("and back").await["sender_id"], strange.id.as_str());
    their
        .send(json!({"type": "message:read", "conversation_id": room, "seq": 2}))
        .await;
    assert_eq!(our.expect("message:read").await["user_id"], strange.id.as_str());
    let list = strange.api.get("/v1/conversations").await.ok();
    assert_eq!(list["conversations"][0]["conversation_id"], room.as_str());
    assert_eq!(
        list["conversations"].as_array().unwrap().len(),
        1,
        "nobody else's: {list}"
    );
    let cursor = their.settled_cursor().await;
    their.kill().await;
    our.say(&room, "missed").await;
    strange
        .socket()
        .resume(&cursor)
        .connect()
        .await
        .expect_text("missed")
        .await;
}

#[tokio::test]
async fn users_with_strange_ids_talk_like_everybody() {
    let deployment = shared().await;
    for id in strange(&unique()) {
        println!("{id:?}");
        let user = deployment.user_named(&id).await;
        assert_can_talk(deployment, &user).await;
    }
}

#[tokio::test]
async fn users_with_strange_ids_can_be_in_one_group() {
    let deployment = shared().await;
    let ids = strange(&unique());
    let ann = deployment.user("ann").await;
    let room = ann.api.group(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut sockets = Vec::new();
    for id in &ids {
        sockets.push(deployment.user_named(id).await.connect().await);
    }
    ann.api.say(&room, "to all").await;
    for socket in &sockets {
        socket.expect_text("to all").await;
    }
}

#[tokio::test]
async fn ids_that_differ_only_in_case_or_spelling_are_different_users() {
    let deployment = shared().await;
    let unique = unique();
    let ann = deployment.user("ann").await;
    let ids = ["Zo\u{eb}", "zo\u{eb}", "Zoe\u{308}", "Zo\u{eb} ", "Zo\u{eb}."].map(|it| format!("{unique}{it}"));
    let mut rooms = Vec::new();
    for id in &ids {
        rooms.push(ann.api.direct(id).await);
    }
    rooms.sort();
    rooms.dedup();
    assert_eq!(rooms.len(), ids.len());
}

#[tokio::test]
async fn pairs_whose_ids_join_to_the_same_text_do_not_meet() {
    let deployment = shared().await;
    let unique = unique();
    let (a, bc) = (
        deployment.user_named(&format!("{unique}-a")).await,
        format!("bc-{unique}"),
    );
    let (ab, c) = (
        deployment.user_named(&format!("{unique}-ab")).await,
        format!("c-{unique}"),
    );
    assert_ne!(a.api.direct(&bc).await, ab.api.direct(&c).await);
}

#[tokio::test]
async fn an_id_that_is_too_long_or_empty_is_refused() {
    let deployment = shared().await;
    let ann = deployment.user("ann").await;
    for id in ["x".repeat(129), "\u{e9}".repeat(65), "x".repeat(10_240), String::new()] {
        let body = json!({"type": "direct", "members": [id]});
        ann.api
            .post("/v1/conversations", &body)
            .await
            .assert_problem(400, "invalid");
        let output = deployment.parley(&["token", "--user", &id]).await;
        if output.status.success() {
            // Minted all the same: then the server must refuse it.
            let token = String::from_utf8(output.stdout).unwrap();
            let socket = ann.socket().token(token.trim()).open().await;
            socket.expect_error("unauthenticated").await;
        }
    }
}
