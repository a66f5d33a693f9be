//! Conversations over HTTP: made once, listed in order, shown to their members.

use serde_json::{Value, json};

use crate::harness::{User, client_id, shared, tuned};

async fn create(user: &User, body: Value) -> crate::harness::Reply {
    user.api.post("/v1/conversations", &body).await
}

fn ids(list: &Value) -> Vec<String> {
    let list = list["conversations"].as_array().unwrap();
    list.iter()
        .map(|it| it["conversation_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_same_pair_is_always_the_same_conversation() {
    let [ann, bob] = shared().await.users(["ann", "bob"]).await;
    let first = create(&ann, json!({"type": "direct", "members": [bob.id]})).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let again = create(&ann, json!({"type": "direct", "members": [bob.id]})).await;
    let back = bob
        .api_at(1)
        .post("/v1/conversations", &json!({"type": "direct", "members": [ann.id]}))
        .await;
    assert_eq!((again.status, back.status), (200, 200));
    for reply in [&again, &back] {
        assert_eq!(reply.body["conversation_id"], first.body["conversation_id"]);
        assert_eq!(reply.body["seq"], 1, "created once");
    }
}

#[tokio::test]
async fn two_who_write_to_each_other_at_once_make_one_conversation() {
    let [ann, bob] = shared().await.users(["ann", "bob"]).await;
    let (to_bob, to_ann) = (
        json!({"type": "direct", "members": [bob.id]}),
        json!({"type": "direct", "members": [ann.id]}),
    );
    let (elsewhere, ann_api) = (bob.api_at(1), &ann.api);
    let (one, other) = tokio::join!(
        ann_api.post("/v1/conversations", &to_bob),
        elsewhere.post("/v1/conversations", &to_ann)
    );
    assert_eq!(one.body["conversation_id"], other.body["conversation_id"]);
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201], "made once");
}

#[tokio::test]
async fn a_group_with_the_same_client_id_is_made_once() {
    let [ann, bob] = shared().await.users(["ann", "bob"]).await;
    let body = json!({"type": "group", "name": "tea", "members": [bob.id], "client_id": client_id()});
    let first = create(&ann, body.clone()).await;
    let again = ann.api_at(1).post("/v1/conversations", &body).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.body["conversation_id"], again.body["conversation_id"]);
    let other = create(&bob, body).await;
    assert_ne!(
        other.body["conversation_id"], first.body["conversation_id"],
        "a client id is its user's own"
    );
}

#[tokio::test]
async fn groups_without_a_client_id_are_all_different() {
    let [ann, bob] = shared().await.users(["ann", "bob"]).await;
    assert_ne!(ann.api.group(&[&bob.id]).await, ann.api.group(&[&bob.id]).await);
}

#[tokio::test]
async fn a_conversation_has_every_field_of_the_contract() {
    let room = shared().await.group(["ann", "bob", "eve"]).await;
    let ann = &room.users[0];
    let sent = room.users[1].api.say(&room.id, "hello").await;
    let shown = ann.api.get(&format!("/v1/conversations/{}", room.id)).await.ok();
    assert_eq!(shown["conversation_id"], room.id.as_str());
    assert_eq!(
        (&shown["type"], &shown["name"], &shown["seq"]),
        (&json!("group"), &json!("a group"), &json!(2))
    );
    assert_eq!((&shown["read_seq"], &shown["unread"]), (&json!(0), &json!(1)));
    assert!(shown["created_at"].as_str().is_some_and(|it| it.len() == 24), "{shown}");
    let last = &shown["last_message"];
    for field in ["server_id", "client_id", "seq", "timestamp"] {
        assert_eq!(last[field], sent[field], "{field}");
    }
    assert_eq!(
        (&last["text"], &last["sender_id"]),
        (&json!("hello"), &json!(room.users[1].id))
    );
    let members = shown["members"].as_array().unwrap();
    assert_eq!(members.len(), 3);
    for user in &room.users {
        let member = members.iter().find(|it| it["user_id"] == user.id.as_str()).unwrap();
        assert_eq!(member["role"], if user.id == ann.id { "owner" } else { "member" });
        assert!(
            member["read_seq"].is_u64() && member["delivered_seq"].is_u64(),
            "{member}"
        );
    }
    assert_eq!(shown.get("member_count"), None);
}

#[tokio::test]
async fn one_conversation_reads_as_it_is_listed() {
    let room = shared().await.direct().await;
    room.users[1].api.say(&room.id, "hello").await;
    let shown = room.users[0]
        .api
        .get(&format!("/v1/conversations/{}", room.id))
        .await
        .ok();
    let listed = room.users[0].api.get("/v1/conversations").await.ok();
    assert_eq!(listed["conversations"], json!([shown]));
}

#[tokio::test]
async fn the_list_has_the_most_recently_active_first() {
    let deployment = shared().await;
    let ann = deployment.user("ann").await;
    let mut rooms = Vec::new();
    for other in deployment.users(["a", "b", "c"]).await {
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        rooms.push(ann.api.direct(&other.id).await);
    }
    let list = async || ids(&ann.api.get("/v1/conversations").await.ok());
    assert_eq!(list().await, [&*rooms[2], &*rooms[1], &*rooms[0]]);
    ann.api.say(&rooms[0], "news").await;
    assert_eq!(list().await, [&*rooms[0], &*rooms[2], &*rooms[1]]);
}

#[tokio::test]
async fn the_list_is_paged_and_has_each_conversation_once() {
    let deployment = shared().await;
    let ann = deployment.user("ann").await;
    let mut rooms = Vec::new();
    for number in 0..7 {
        rooms.push(ann.api.direct(&format!("{}-friend-{number}", ann.id)).await);
    }
    rooms.reverse();
    let (mut all, mut next) = (Vec::new(), None::<String>);
    loop {
        let mut query = vec![("limit", "3")];
        query.extend(next.as_deref().map(|it| ("next", it)));
        let page = ann.api.query("/v1/conversations", &query).await.ok();
        assert!(ids(&page).len() <= 3);
        all.extend(ids(&page));
        match page["next"].as_str() {
            Some(token) => next = Some(token.to_owned()),
            None => break,
        }
    }
    assert_eq!(all, rooms);
}

#[tokio::test]
async fn a_page_token_that_the_server_did_not_make_is_invalid() {
    let ann = shared().await.user("ann").await;
    for next in ["garbage", "", "{\"$gt\":\"\"}", "AAAA"] {
        ann.api
            .query("/v1/conversations", &[("next", next)])
            .await
            .assert_problem(400, "invalid");
    }
}

#[tokio::test]
async fn the_list_has_no_conversation_of_others() {
    let deployment = shared().await;
    deployment.direct().await;
    let stranger = deployment.user("eve").await;
    assert_eq!(
        stranger.api.get("/v1/conversations").await.ok(),
        json!({"conversations": []})
    );
}

#[tokio::test]
async fn unread_counts_the_messages_of_others_above_the_read_mark() {
    let room = shared().await.direct().await;
    let (ann, bob) = (&room.users[0], room.users[1].connect().await);
    for text in ["one", "two", "three"] {
        ann.api.say(&room.id, text).await;
    }
    bob.say(&room.id, "my own").await;
    let unread = async |user: &User| user.api.get("/v1/conversations").await.ok()["conversations"][0]["unread"].clone();
    assert_eq!(unread(&room.users[1]).await, 3);
    assert_eq!(unread(ann).await, 1);
    let told = ann.connect().await;
    bob.send(json!({"type": "message:read", "conversation_id": room.id, "seq": 3}))
        .await;
    told.expect("message:read").await;
    assert_eq!(
        unread(&room.users[1]).await,
        1,
        "a read shows a receipt when another socket has been told of it"
    );
}

#[tokio::test]
async fn what_makes_no_conversation_is_invalid() {
    let [ann, bob] = shared().await.users(["ann", "bob"]).await;
    for wrong in [
        json!({"type": "direct", "members": []}),
        json!({"type": "direct", "members": [bob.id, "eve"]}),
        json!({"type": "channel", "members": [bob.id]}),
        json!({"members": [bob.id]}),
        json!({"type": "group", "members": bob.id}),
        json!({"type": "group", "members": [7]}),
        json!({"type": "group", "members": [{"$ne": null}]}),
        json!({"type": "group", "members": [""]}),
        json!({"type": "group", "members": [bob.id], "name": {"a": 1}}),
        json!({"type": "group", "members": [bob.id], "client_id": "no uuid"}),
        json!(["group"]),
        json!("group"),
    ] {
        let reply = create(&ann, wrong.clone()).await;
        assert_eq!(
            (reply.status, &reply.body["code"]),
            (400, &json!("invalid")),
            "{wrong}: {}",
            reply.body
        );
    }
    ann.api
        .post_bytes("/v1/conversations", b"{\"type\":".to_vec())
        .await
        .assert_problem(400, "invalid");
}

#[tokio::test]
async fn listing_a_member_twice_or_oneself_changes_nothing() {
    let [ann, bob] = shared().await.users(["ann", "bob"]).await;
    let created = create(&ann, json!({"type": "group", "members": [bob.id, ann.id, bob.id]}))
        .await
        .ok();
    assert_eq!(created["members"].as_array().unwrap().len(), 2, "{created}");
    let direct = create(&ann, json!({"type": "direct", "members": [ann.id, bob.id]})).await;
    assert!(matches!(direct.status, 201 | 400), "{}", direct.body);
}

#[tokio::test]
async fn what_was_created_can_be_read_at_once_by_every_member_on_every_node() {
    let deployment = shared().await;
    let [ann, bob] = deployment.users(["ann", "bob"]).await;
    let bobs = bob.api_at(1);
    for _ in 0..10 {
        let id = ann.api.group(&[&bob.id]).await;
        assert_eq!(ids(&bobs.get("/v1/conversations?limit=1").await.ok()), [id.as_str()]);
        assert_eq!(bobs.get(&format!("/v1/conversations/{id}")).await.status, 200);
        assert_eq!(bobs.history(&id, "").await.ok(), json!({"messages": [], "more": false}));
    }
}

#[tokio::test]
async fn of_more_than_100_members_only_the_first_100_are_listed() {
    let ann = shared().await.user("ann").await;
    let others: Vec<String> = (0..120).map(|it| format!("{}-member-{it}", ann.id)).collect();
    let created = create(&ann, json!({"type": "group", "members": others})).await.ok();
    let id = created["conversation_id"].as_str().unwrap();
    let shown = ann.api.get(&format!("/v1/conversations/{id}")).await.ok();
    for it in [&created, &shown] {
        assert_eq!(
            (it["members"].as_array().unwrap().len(), &it["member_count"]),
            (100, &json!(121))
        );
    }
}

#[tokio::test]
async fn unread_stops_at_100() {
    let room = tuned().await.direct().await;
    let ann = room.users[0].connect().await;
    ann.say_all(&room.id, (0..105).map(|it| it.to_string())).await;
    let shown = room.users[1]
        .api
        .get(&format!("/v1/conversations/{}", room.id))
        .await
        .ok();
    assert_eq!(shown["unread"], 100);
}

#[tokio::test]
async fn an_unknown_path_is_a_problem_document_too() {
    let ann = shared().await.user("ann").await;
    ann.api.get("/v1/no-such-thing").await.assert_problem(404, "not_found");
}
