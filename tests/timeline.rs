//! A message's timeline, as the operator reads it.

use std::time::Duration;

use fake_push::Options;
use serde_json::{Value, json};

use crate::harness::{Client, Deployment, PATIENCE, Phone, Phones, Room, User, client_id, message, steps_of, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const GRACE_MS: i64 = 800;

/// Ann sends to Bob, who has two devices connected; Cat, who is away and has a phone; Dan, who has muted the group.
struct Scene {
    phones: Phones,
    room: Room<4>,
    ann: Client,
    laptop: Client,
    _tablet: Client,
    cats: Phone,
    dans: Phone,
}

impl Scene {
    async fn new() -> Self {
        let phones = Deployment::start()
            .separate()
            .replicas("connection=2")
            .env("PARLEY_PUSH__GRACE_MS", &GRACE_MS.to_string())
            .with_phones(Options::default())
            .await;
        let room = phones.deployment.group(["ann", "bob", "cat", "dan"]).await;
        let [ann, bob, cat, dan] = &room.users;
        let (cats, dans) = (cat.iphone().await, dan.iphone().await);
        let path = format!("/v1/conversations/{}/notifications", room.id);
        dan.api.patch(&path, &json!({"muted": true})).await.ok();
        let (ann, laptop, tablet) = tokio::join!(
            ann.connect(),
            bob.socket().device("laptop").connect(),
            bob.socket().device("tablet").node(1).connect()
        );
        Self {
            ann,
            laptop,
            _tablet: tablet,
            phones,
            room,
            cats,
            dans,
        }
    }

    fn user(&self, index: usize) -> &User {
        &self.room.users[index]
    }

    /// Sends a message with a trace; its ack.
    async fn send(&self) -> Value {
        let id = client_id();
        let mut frame = message(&id, &self.room.id, "not for the timeline");
        frame["traceparent"] = json!(format!("00-{TRACE}-b7ad6b7169203331-01"));
        self.ann.send(frame).await;
        self.ann.wait_ack(&id).await
    }

    /// The timeline of a message once it satisfies a condition.
    async fn timeline(&self, sent: &Value, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        let id = sent["server_id"].as_str().unwrap();
        until(what, 2 * PATIENCE, async || {
            let timeline = self.phones.deployment.admin("message-0").timeline(id, "").await.ok();
            done(&timeline).then_some(timeline)
        })
        .await
    }
}

fn find<'a>(timeline: &'a Value, user: Option<&str>, device: Option<&str>, step: &str) -> &'a Value {
    let steps = timeline["steps"].as_array().unwrap();
    let is_it = |it: &&Value| {
        let of = |name: &str, wanted: Option<&str>| wanted.is_none_or(|wanted| it[name] == wanted);
        it["step"] == step && of("user_id", user) && of("device_id", device)
    };
    let found = steps.iter().find(is_it);
    found.unwrap_or_else(|| panic!("no {step} of {user:?} on {device:?} in {timeline:#}"))
}

fn has(timeline: &Value, user: &str, step: &str) -> bool {
    steps_of(timeline, user).iter().any(|(_, it)| it == step)
}

fn at(step: &Value) -> i64 {
    let at = step["at"].as_str().unwrap_or_else(|| panic!("no time: {step}"));
    protocol::Timestamp::parse(at).unwrap().as_millis()
}

/// One deployment for all of it: what is checked is one answer, and each part has its own line to fail with.
#[tokio::test]
async fn a_timeline_tells_what_became_of_a_message_for_each_user_and_device() {
    let scene = Scene::new().await;
    let [ann, bob, cat, dan] = [0, 1, 2, 3].map(|it| scene.user(it).id.clone());
    let sent = scene.send().await;
    scene.laptop.expect_text("not for the timeline").await;
    let read = json!({"type": "message:read", "conversation_id": scene.room.id, "seq": sent["seq"]});
    scene.laptop.send(read).await;
    // The two that are decided on last.
    let timeline = scene
        .timeline(&sent, "all steps", |it| {
            has(it, &cat, "pushed") && has(it, &dan, "suppressed") && has(it, &bob, "read")
        })
        .await;
    assert_eq!(timeline["missing"], json!([]), "{timeline:#}");
    assert_eq!(
        (&timeline["trace_id"], &timeline["sampled"]),
        (&json!(TRACE), &json!(true))
    );
    assert_eq!(timeline["sender_id"], json!(ann));
    assert!(!timeline.to_string().contains("not for the timeline"), "no text in it");

    let accepted = find(&timeline, Some(&ann), None, "accepted");
    assert_eq!(accepted["at"], sent["timestamp"]);
    let logged = find(&timeline, None, None, "logged");
    assert!(logged["detail"].as_str().unwrap().starts_with("CHAT_"), "{logged}");
    let (accepted, logged) = (at(accepted), at(logged));
    let projected = at(find(&timeline, None, None, "projected"));
    let nodes = scene.phones.deployment.nodes().to_vec();
    for (device, node) in [("laptop", &nodes[0]), ("tablet", &nodes[1])] {
        let delivered = find(&timeline, Some(&bob), Some(device), "delivered");
        let node = node.strip_prefix("http://").unwrap();
        assert_eq!(delivered["detail"], json!(format!("node {node}")));
        assert!(delivered.get("not_later_than").is_none(), "{delivered}");
        assert!(at(delivered) >= accepted, "{timeline:#}");
    }
    let read = find(&timeline, Some(&bob), None, "read");
    let pushed = find(&timeline, Some(&cat), Some(&scene.cats.device), "pushed");
    let suppressed = find(&timeline, Some(&dan), Some(&scene.dans.device), "suppressed");
    assert_eq!(suppressed["detail"], json!("muted (apns)"));
    for (name, at) in [("projected", projected), ("read", at(read)), ("pushed", at(pushed))] {
        assert!(accepted <= at && logged <= at + 5, "{name} at {at}: {timeline:#}");
    }
    let offset = pushed["offset_ms"].as_i64().unwrap();
    assert_eq!(offset, at(pushed) - accepted);
    let order: Vec<_> = timeline["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| !it["at"].is_null())
        .map(at)
        .collect();
    assert!(order[2..].is_sorted(), "{timeline:#}");

    on_the_terminal(&scene, &sent).await;
    of_one_user(&scene, &sent).await;
    what_names_no_message(&scene).await;
    confirmed_by_a_device(&scene, &sent).await;
    after_a_restart(&scene, &sent).await;
    while_nats_hangs(&scene, &sent).await;
}

async fn on_the_terminal(scene: &Scene, sent: &Value) {
    let id = sent["server_id"].as_str().unwrap();
    let output = scene.phones.deployment.parley(&["trace", id]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for needed in [
        TRACE,
        "accepted",
        "logged",
        "projected",
        "── laptop",
        "── tablet",
        "muted (apns)",
    ] {
        assert!(text.contains(needed), "{needed:?} is missing in\n{text}");
    }
    assert!(!text.contains("NOT KNOWN"), "{text}");
    let output = scene.phones.deployment.parley(&["trace", id, "--json"]).await;
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["server_id"], sent["server_id"]);
}

async fn of_one_user(scene: &Scene, sent: &Value) {
    let admin = scene.phones.deployment.admin("message-0");
    let bob = &scene.user(1).id;
    let id = sent["server_id"].as_str().unwrap();
    let timeline = admin.timeline(id, &format!("?user={bob}")).await.ok();
    assert_eq!(timeline["users"], json!([bob]));
    assert!(has(&timeline, bob, "delivered"), "{timeline:#}");
    assert!(!has(&timeline, &scene.user(2).id, "pushed"), "{timeline:#}");
}

async fn what_names_no_message(scene: &Scene) {
    let admin = scene.phones.deployment.admin("message-0");
    for bad in ["nonsense", "g0-1", &format!("{}-01", scene.room.id)] {
        admin.timeline(bad, "").await.assert_problem(400, "invalid");
    }
    // The first entry of a group is its creation.
    for absent in ["-1", "-999999"] {
        let id = format!("{}{absent}", scene.room.id);
        admin.timeline(&id, "").await.assert_problem(404, "not_found");
    }
    let nowhere = format!("g{}-1", "0".repeat(32));
    admin.timeline(&nowhere, "").await.assert_problem(404, "not_found");
    let output = scene.phones.deployment.parley(&["trace", &nowhere]).await;
    assert_eq!(output.status.code(), Some(1));
}

/// The phone that was woken up by the push says that it has the message.
async fn confirmed_by_a_device(scene: &Scene, sent: &Value) {
    let cat = scene.user(2);
    let phone = cat.socket().device(&scene.cats.device).connect().await;
    phone.send(json!({"type": "state", "state": "background"})).await;
    let confirm = json!({"type": "message:delivered", "conversation_id": scene.room.id, "seq": sent["seq"]});
    phone.send(confirm).await;
    let timeline = scene
        .timeline(sent, "the confirmation", |it| has(it, &cat.id, "confirmed"))
        .await;
    let confirmed = find(&timeline, Some(&cat.id), Some(&scene.cats.device), "confirmed");
    assert_eq!(confirmed["not_later_than"], json!(true));
    let pushed = find(&timeline, Some(&cat.id), Some(&scene.cats.device), "pushed");
    assert!(at(confirmed) >= at(pushed), "{timeline:#}");
}

/// Without the log nobody can say whether there is such a message.
async fn while_nats_hangs(scene: &Scene, sent: &Value) {
    let deployment = &scene.phones.deployment;
    deployment.pause("nats");
    let answer = deployment
        .admin("message-0")
        .timeline(sent["server_id"].as_str().unwrap(), "")
        .await;
    deployment.unpause("nats");
    answer.assert_problem(503, "unavailable");
}

/// The nodes have forgotten what they delivered; what is stored is still told.
async fn after_a_restart(scene: &Scene, sent: &Value) {
    let [bob, cat] = [1, 2].map(|it| scene.user(it).id.clone());
    let deployment = &scene.phones.deployment;
    for node in ["connection-0", "connection-1"] {
        let old = deployment.kill(node);
        deployment.restarted(node, old).await;
    }
    let again = bob_again(scene.user(1)).await;
    let timeline = scene
        .timeline(sent, "the steps that are stored", |it| has(it, &bob, "passed"))
        .await;
    let laptop = find(&timeline, Some(&bob), Some("laptop"), "passed");
    assert!(laptop["at"].is_null(), "{laptop}");
    assert!(!has(&timeline, &bob, "delivered"), "{timeline:#}");
    for (user, step) in [(&bob, "read"), (&cat, "pushed")] {
        assert!(has(&timeline, user, step), "{step}: {timeline:#}");
    }
    drop(again);
    deployment.pause("push-0");
    let timeline = scene
        .timeline(sent, "a timeline without push", |it| it["missing"] != json!([]))
        .await;
    deployment.unpause("push-0");
    let parts: Vec<&Value> = timeline["missing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["part"])
        .collect();
    assert!(parts.contains(&&json!("push")), "{timeline:#}");
    assert!(has(&timeline, &bob, "read"), "the rest is there: {timeline:#}");
}

async fn bob_again(bob: &User) -> Client {
    until("the node to listen again", Duration::from_secs(15), async || {
        let answer = bob.api.try_get("/v1/conversations").await?;
        (answer.status == 200).then_some(())
    })
    .await;
    bob.socket().device("laptop").connect().await
}
