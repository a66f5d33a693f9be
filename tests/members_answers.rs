//! What a change of a group is answered with, and what those are told who come into it, whatever has been before and
//! whatever is away.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Change, Deployment, Lag, PATIENCE, Room, User, shared, until};

/// A group in which bob has read two of four messages of others; its head is 5.
async fn half_read(deployment: &Deployment) -> Room<3> {
    let room = deployment.group(["ann", "bob", "eve"]).await;
    let [ann, bob, _] = &room.users;
    for text in ["two", "three", "four", "five"] {
        ann.api.say(&room.id, text).await;
    }
    let (told, reader) = (ann.connect().await, bob.connect().await);
    reader
        .send(json!({"type": "message:read", "conversation_id": room.id, "seq": 3}))
        .await;
    told.expect("message:read").await;
    room
}

#[tokio::test]
async fn while_mongodb_hangs_a_change_is_answered_with_what_is_really_read_and_unread() {
    let deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let room = half_read(&deployment).await;
    let [_, bob, _] = &room.users;
    room.users[0].api.set_role(&room.id, &bob.id, "admin").await.ok();
    let lag = Lag::beside(&bob.api);
    deployment.pause("mongod");
    let rename = Change::Rename("meanwhile");
    let mut shown = bob.api.change(&room.id, rename).await;
    // Where the machine took the time for an answer, the outcome is unknown, and the same is asked again.
    if shown.status == 503 && lag.lost() > Duration::from_millis(500) {
        shown = bob.api.change_patiently(&room.id, rename).await;
    }
    deployment.unpause("mongod");
    let shown = shown.ok();
    assert_eq!((&shown["name"], &shown["seq"]), (&json!("meanwhile"), &json!(7)));
    assert_eq!(
        (&shown["read_seq"], &shown["unread"]),
        (&json!(3), &json!(2)),
        "{shown}"
    );
    assert_eq!(shown["last_message"]["text"], "five", "{shown}");
    let own = &shown["members"][1];
    assert_eq!(
        (&own["user_id"], &own["read_seq"]),
        (&json!(bob.id), &json!(3)),
        "{shown}"
    );
}

#[tokio::test]
async fn who_comes_back_is_told_what_he_had_read() {
    let room = half_read(shared().await).await;
    let [ann, bob, _] = &room.users;
    let socket = bob.connect_at(1).await;
    assert_eq!(ann.api.remove(&room.id, &bob.id).await.status, 204);
    until_stored(ann, &room.id, "five").await;
    let lag = Lag::beside(&ann.api);
    ann.api.add(&room.id, &[&bob.id]).await.ok();
    let lost = lag.lost();
    let added = socket
        .frames
        .frame("the welcome", |it| it["type"] == "member:added")
        .await;
    let shown = bob.api.conversation(&room.id).await;
    assert_eq!(
        (&shown["read_seq"], &shown["unread"]),
        (&json!(3), &json!(2)),
        "{shown}"
    );
    let told = &added["conversation"];
    // What he had read may be missing only where the machine took the time in which it is looked up.
    if lost < Duration::from_millis(200) {
        assert_eq!(told["read_seq"], 3, "{added}");
    }
    if !is_bare(told) && told["read_seq"] == 3 {
        for field in ["unread", "last_message"] {
            assert_eq!(told[field], shown[field], "{field}: {added}");
        }
    }
}

/// Waits until a history read ends with that text: then MongoDB has all that a welcome tells.
async fn until_stored(user: &User, room: &str, text: &str) {
    until(&format!("{text} to be stored"), PATIENCE, async || {
        let page = user.api.history(room, "limit=1").await;
        (page.status == 200 && page.body["messages"][0]["text"] == text).then_some(())
    })
    .await;
}

/// Whether a welcome tells nothing of the messages, as is right where MongoDB did not answer in time.
fn is_bare(conversation: &Value) -> bool {
    conversation["last_message"].is_null() && conversation["unread"] == 0
}

#[tokio::test]
async fn who_is_added_by_a_replica_that_has_not_heard_of_his_leaving_is_welcomed_all_the_same() {
    let room = shared().await.group(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    let socket = bob.connect().await;
    let mut full = 0;
    for round in 0..12 {
        let text = format!("round {round}");
        ann.api.say(&room.id, &text).await;
        until_stored(ann, &room.id, &text).await;
        assert_eq!(bob.api_at(1).remove(&room.id, &bob.id).await.status, 204);
        ann.api.add(&room.id, &[&bob.id]).await.ok();
        let added = socket
            .frames
            .frame("the welcome", |it| it["type"] == "member:added")
            .await;
        let told = &added["conversation"];
        if !is_bare(told) {
            assert_eq!(told["last_message"]["text"], text, "{added}");
            full += 1;
        }
    }
    assert!(full > 0, "he was never told the last message");
}

#[tokio::test]
async fn a_removal_does_not_wait_for_mongodb() {
    let deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let room = deployment.group(["ann", "bob", "eve"]).await;
    let [ann, bob, _] = &room.users;
    let lag = Lag::beside(&ann.api);
    deployment.pause("mongod");
    // A read beside it waits for MongoDB until it gives up.
    let (removal, read) = tokio::join!(ann.api.remove(&room.id, &bob.id), ann.api.history(&room.id, ""));
    deployment.unpause("mongod");
    assert_eq!(removal.status, 204);
    read.assert_problem(503, "unavailable");
    lag.assert_within(read.took / 2, removal.took, "the removal");
}

/// The contract's two seconds, and the machine's own delay.
const IN_TIME: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn while_mongodb_hangs_lists_of_hundreds_of_members_are_taken_in_time() {
    let deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let ann = deployment.user("ann").await;
    let ids = |prefix: &str| -> Vec<String> { (0..300).map(|it| format!("{}-{prefix}-{it}", ann.id)).collect() };
    let created = json!({"type": "group", "members": ids("first")});
    let room = ann.api.group(&[]).await;
    let lag = Lag::beside(&ann.api);
    deployment.pause("mongod");
    let added = ids("later");
    let added: Vec<&str> = added.iter().map(String::as_str).collect();
    let replies = [
        ann.api.post("/v1/conversations", &created).await,
        ann.api.add(&room, &added).await,
        ann.api.add(&room, &added).await,
    ];
    deployment.unpause("mongod");
    for reply in replies {
        assert!(matches!(reply.status, 200 | 201), "{} {}", reply.status, reply.body);
        lag.assert_within(IN_TIME, reply.took, "a list");
    }
}

#[tokio::test]
async fn a_creator_who_has_left_is_not_shown_the_group_for_repeating_its_creation() {
    let deployment = shared().await;
    let [ann, bob] = deployment.users(["ann", "bob"]).await;
    let body = json!({"type": "group", "members": [bob.id], "client_id": crate::harness::client_id()});
    let create = async || ann.api.post("/v1/conversations", &body).await;
    let created = create().await.ok();
    let id = created["conversation_id"].as_str().unwrap();
    // So that each replica has heard of it.
    for _ in 0..12 {
        assert_eq!(create().await.status, 200);
    }
    assert_eq!(ann.api.remove(id, &ann.id).await.status, 204);
    for _ in 0..12 {
        create().await.assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn while_mongodb_hangs_a_repeated_creation_tells_where_the_conversation_stands() {
    let deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let room = deployment.direct().await;
    let [ann, bob] = &room.users;
    let pair = json!({"type": "direct", "members": [bob.id]});
    let create = async || ann.api.post("/v1/conversations", &pair).await.ok();
    for _ in 0..8 {
        create().await;
    }
    deployment.pause("mongod");
    let mut told: Vec<Value> = Vec::new();
    for text in ["two", "three", "four"] {
        bob.api.say(&room.id, text).await;
        let shown = create().await;
        told.push(json!([shown["seq"], shown["last_message"]["text"], shown["unread"]]));
    }
    deployment.unpause("mongod");
    assert_eq!(
        told,
        [json!([2, "two", 1]), json!([3, "three", 2]), json!([4, "four", 3])]
    );
    until("reads to answer again", Duration::from_secs(30), async || {
        let shown = bob.api.get("/v1/conversations").await;
        (shown.status == 200).then_some(())
    })
    .await;
}
