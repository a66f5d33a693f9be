//! What users want to be notified of: set, kept, and obeyed.

use serde_json::{Value, json};

use crate::harness::{Phones, Room, phones, shared};

const DEFAULTS: &str = r#"{"previews":true,"mentions_override_mute":false,"direct_override_mute":false,"muted":false}"#;

async fn set(room: &Room<2>, body: Value) {
    room.users[1].api.patch("/v1/notifications", &body).await.ok();
}

async fn set_here(room: &Room<2>, body: Value) {
    let path = format!("/v1/conversations/{}/notifications", room.id);
    room.users[1].api.patch(&path, &body).await.ok();
}

/// A group of Ann and Bob.
async fn pair(phones: &Phones) -> Room<2> {
    phones.deployment.group(["ann", "bob"]).await
}

fn in_an_hour() -> String {
    let hour = 3_600_000;
    protocol::Timestamp::from_millis(protocol::Timestamp::now().as_millis() + hour).to_string()
}

#[tokio::test]
async fn settings_are_kept_one_by_one_and_are_those_of_the_caller() {
    let room = shared().await.direct().await;
    let [ann, bob] = &room.users;
    let defaults: Value = serde_json::from_str(DEFAULTS).unwrap();
    assert_eq!(ann.api.get("/v1/notifications").await.ok(), defaults);
    let until = in_an_hour();
    ann.api
        .patch("/v1/notifications", &json!({"previews": false}))
        .await
        .ok();
    let after = ann
        .api
        .patch("/v1/notifications", &json!({"muted_until": until}))
        .await
        .ok();
    assert_eq!(
        (&after["previews"], &after["muted"], &after["muted_until"]),
        (&json!(false), &json!(true), &json!(until))
    );
    assert_eq!(ann.api_at(1).get("/v1/notifications").await.ok(), after);
    let lifted = ann
        .api
        .patch("/v1/notifications", &json!({"muted": false, "previews": true}))
        .await
        .ok();
    assert_eq!(lifted, defaults);
    assert_eq!(bob.api.get("/v1/notifications").await.ok(), defaults);
}

#[tokio::test]
async fn a_conversations_settings_are_for_its_members() {
    let shared = shared().await;
    let room = shared.direct().await;
    let [ann, bob] = &room.users;
    let path = format!("/v1/conversations/{}/notifications", room.id);
    assert_eq!(ann.api.get(&path).await.ok(), json!({"level": "all", "muted": false}));
    let set = ann
        .api
        .patch(&path, &json!({"level": "mentions", "muted": true}))
        .await
        .ok();
    assert_eq!(set, json!({"level": "mentions", "muted": true}));
    assert_eq!(ann.api_at(1).get(&path).await.ok(), set);
    assert_eq!(bob.api.get(&path).await.ok(), json!({"level": "all", "muted": false}));
    let eve = shared.user("eve").await;
    eve.api.get(&path).await.assert_problem(404, "not_found");
    eve.api
        .patch(&path, &json!({"muted": true}))
        .await
        .assert_problem(404, "not_found");
    for (body, field) in [
        (json!({"level": "some"}), "level"),
        (json!({"muted": "yes"}), "muted"),
        (json!({"muted_until": "tomorrow"}), "muted_until"),
    ] {
        let refused = ann.api.patch(&path, &body).await;
        refused.assert_problem(400, "invalid");
        assert!(refused.body["detail"].is_string(), "{field}");
    }
}

#[tokio::test]
async fn a_muted_conversation_rings_nowhere_until_the_mute_ends() {
    let phones = phones().await;
    let room = pair(phones).await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    set_here(&room, json!({"muted": true})).await;
    let muted = ann.api.say(&room.id, &format!("hello @{}", bob.id)).await;
    phones.assert_silent(&phone).await;
    assert_eq!(phones.reasons(&muted, &phone).await, ["suppressed: muted"]);
    set_here(&room, json!({"muted": false})).await;
    // A setting that was just changed may be a moment old on a replica.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    ann.api.say(&room.id, "again").await;
    assert!(
        phones.rings(&phone, 1).await[0]
            .body
            .as_ref()
            .unwrap()
            .contains("again")
    );
}

#[tokio::test]
async fn who_has_muted_everything_is_rung_by_direct_messages_if_he_wants() {
    let phones = phones().await;
    let direct = phones.deployment.direct().await;
    let [ann, bob] = &direct.users;
    let group = ann.api.group(&[&bob.id]).await;
    let phone = bob.iphone().await;
    set(
        &direct,
        json!({"muted_until": in_an_hour(), "direct_override_mute": true}),
    )
    .await;
    ann.api.say(&group, "to the group").await;
    ann.api.say(&direct.id, "to you").await;
    assert_eq!(phones.rings(&phone, 1).await[0].body.as_deref(), Some("to you"));
    phones.assert_silent_but(&phone, 1).await;
}

#[tokio::test]
async fn who_is_named_is_rung_from_a_muted_group_if_he_wants() {
    let phones = phones().await;
    let room = pair(phones).await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    set(&room, json!({"mentions_override_mute": true})).await;
    set_here(&room, json!({"muted": true})).await;
    ann.api.say(&room.id, "nobody in particular").await;
    ann.api.say(&room.id, &format!("you, @{}!", bob.id)).await;
    let rung = phones.rings(&phone, 1).await;
    assert!(rung[0].body.as_ref().unwrap().contains("you, @bob"), "{rung:?}");
    phones.assert_silent_but(&phone, 1).await;
}

#[tokio::test]
async fn a_level_lets_through_mentions_or_nothing() {
    let phones = phones().await;
    let room = pair(phones).await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    set_here(&room, json!({"level": "mentions"})).await;
    ann.api.say(&room.id, "nobody in particular").await;
    ann.api.say(&room.id, &format!("@{} only", bob.id)).await;
    let rung = phones.rings(&phone, 1).await;
    assert!(rung[0].body.as_ref().unwrap().contains("only"), "{rung:?}");
    set_here(&room, json!({"level": "none"})).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let none = ann.api.say(&room.id, &format!("@{} not even this", bob.id)).await;
    phones.assert_silent_but(&phone, 1).await;
    assert_eq!(phones.reasons(&none, &phone).await, ["suppressed: level"]);
}

#[tokio::test]
async fn who_does_not_want_to_be_disturbed_is_not_also_when_offline() {
    let phones = phones().await;
    let room = pair(phones).await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    let desktop = bob.connect().await;
    desktop.set_status("dnd").await;
    desktop.barrier().await;
    desktop.kill().await;
    let message = ann.api.say(&room.id, &format!("@{} wake up", bob.id)).await;
    phones.assert_silent(&phone).await;
    assert_eq!(phones.reasons(&message, &phone).await, ["suppressed: dnd"]);
}

#[tokio::test]
async fn hidden_previews_show_who_and_not_what_in_the_devices_language() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = crate::harness::Phone::apple();
    let mut body = phone.registration();
    body["locale"] = json!("de");
    bob.api.post("/v1/devices", &body).await.ok();
    set(&room, json!({"previews": false})).await;
    ann.api.say(&room.id, "the secret").await;
    let rung = phones.rings(&phone, 1).await;
    assert_eq!(rung[0].title.as_deref(), Some(ann.id.as_str()));
    assert_eq!(rung[0].body.as_deref(), Some("Neue Nachricht"));
    assert!(!serde_json::to_string(&rung).unwrap().contains("secret"));
}
