//! Pushes: who is rung, what is shown, and who is left in peace.

use std::time::Duration;

use fake_push::Provider;
use serde_json::{Value, json};

use crate::harness::{GRACE, Phone, User, phones, until};

/// A phone of the user's that is connected in the background.
async fn in_background(user: &User, phone: &Phone) -> crate::harness::Client {
    let client = user.socket().device(&phone.device).connect().await;
    client.send(json!({"type": "state", "state": "background"})).await;
    client.barrier().await;
    known(user).await;
    client
}

/// The presence service knows how the user is connected at the first node: asking there tells it.
async fn known(user: &User) {
    assert_eq!(user.api.status_of(&user.id).await, "online");
}

#[tokio::test]
async fn a_phone_that_is_not_connected_is_rung_with_all_that_it_shows() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    let socket = ann.connect().await;
    let id = crate::harness::client_id();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut frame = crate::harness::message(&id, &room.id, "hello bob");
    frame["traceparent"] = json!(traceparent);
    socket.send(frame).await;
    let sent = socket.wait_ack(&id).await;
    let rung = phones.rings(&phone, 1).await;
    let shown = &rung[0];
    assert_eq!(shown.provider, Provider::Apns);
    assert_eq!((shown.app.as_str(), shown.sandbox), ("org.parley.app", false));
    assert_eq!(shown.title.as_deref(), Some(ann.id.as_str()));
    assert_eq!(shown.body.as_deref(), Some("hello bob"));
    assert_eq!(shown.badge, Some(1));
    assert_eq!(shown.sound.as_deref(), Some("default"));
    assert_eq!(shown.category.as_deref(), Some("message"));
    assert_eq!(shown.thread.as_deref(), Some(room.id.as_str()));
    assert_eq!(shown.collapse_id.as_deref(), Some(room.id.as_str()));
    assert_eq!(
        (shown.priority.as_deref(), shown.push_type.as_deref()),
        (Some("10"), Some("alert"))
    );
    let day = 24 * 60 * 60 * 1_000;
    let made_at = protocol::Timestamp::parse(sent["timestamp"].as_str().unwrap())
        .unwrap()
        .as_millis();
    let kept = shown.expires_at.unwrap().as_millis() - made_at;
    assert!((day - 2_000..=day + 2_000).contains(&kept), "{kept} ms");
    assert_eq!(shown.data["conversation_id"], json!(room.id));
    assert_eq!(shown.data["server_id"], sent["server_id"]);
    assert_eq!(shown.data["seq"], sent["seq"]);
    assert_eq!(shown.data["traceparent"], json!(traceparent));
    assert_eq!(phones.reasons(&sent, &phone).await, ["queued", "sent"]);
}

#[tokio::test]
async fn an_android_phone_and_a_browser_are_rung_too() {
    let phones = phones().await;
    let room = phones.deployment.group(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    ann.api.rename(&room.id, "Lunch").await.ok();
    let (android, browser) = (Phone::google(), phones.browser());
    bob.register(&android).await;
    bob.register(&browser).await;
    let sent = ann.api.say(&room.id, "soup?").await;
    for phone in [&android, &browser] {
        let rung = phones.rings(phone, 1).await;
        assert_eq!(rung[0].title.as_deref(), Some("Lunch"));
        assert_eq!(rung[0].body.clone(), Some(format!("{}: soup?", ann.id)));
        assert_eq!(rung[0].data["conversation_id"], json!(room.id));
        assert_eq!(rung[0].data["server_id"], sent["server_id"]);
    }
    let android = &phones.rung(&android)[0];
    assert_eq!(android.priority.as_deref(), Some("HIGH"));
    assert!(android.data.values().all(Value::is_string), "{:?}", android.data);
    assert_eq!(android.data["seq"], json!(sent["seq"].to_string()));
}

#[tokio::test]
async fn a_desktop_on_screen_does_not_silence_the_phone() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let (asleep, background) = (bob.iphone().await, bob.iphone().await);
    let _desktop = bob.connect().await;
    let _phone = in_background(bob, &background).await;
    ann.api.say(&room.id, "are you there?").await;
    for phone in [&asleep, &background] {
        assert_eq!(phones.rings(phone, 1).await[0].body.as_deref(), Some("are you there?"));
    }
}

#[tokio::test]
async fn what_is_read_on_the_desktop_within_the_grace_rings_nowhere() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let (asleep, background) = (bob.iphone().await, bob.iphone().await);
    let desktop = bob.connect().await;
    let _phone = in_background(bob, &background).await;
    let sent = ann.api.say(&room.id, "are you there?").await;
    desktop.expect_text("are you there?").await;
    desktop
        .send(json!({"type": "message:read", "conversation_id": room.id, "seq": sent["seq"]}))
        .await;
    desktop.barrier().await;
    phones.assert_silent(&background).await;
    assert!(phones.rung(&asleep).is_empty());
    assert_eq!(phones.reasons(&sent, &background).await, ["suppressed: read"]);
    assert_eq!(phones.reasons(&sent, &asleep).await, ["suppressed: read"]);
}

#[tokio::test]
async fn a_phone_in_the_background_that_confirms_in_time_is_not_rung_and_the_other_one_is() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let (quick, slow) = (bob.iphone().await, bob.iphone().await);
    let (quicks, _slows) = (in_background(bob, &quick).await, in_background(bob, &slow).await);
    let sent = ann.api.say(&room.id, "are you there?").await;
    quicks.expect_text("are you there?").await;
    quicks
        .send(json!({"type": "message:delivered", "conversation_id": room.id, "seq": sent["seq"]}))
        .await;
    quicks.barrier().await;
    phones.rings(&slow, 1).await;
    phones.assert_silent(&quick).await;
    assert_eq!(phones.reasons(&sent, &quick).await, ["suppressed: confirmed"]);
}

#[tokio::test]
async fn a_phone_that_confirmed_and_went_to_sleep_within_the_grace_is_not_rung() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    let client = in_background(bob, &phone).await;
    let sent = ann.api.say(&room.id, "are you there?").await;
    client.expect_text("are you there?").await;
    client
        .send(json!({"type": "message:delivered", "conversation_id": room.id, "server_id": sent["server_id"]}))
        .await;
    client.barrier().await;
    client.kill().await;
    phones.assert_silent(&phone).await;
}

#[tokio::test]
async fn what_is_muted_or_left_within_the_grace_rings_nowhere() {
    let phones = phones().await;
    let room = phones.deployment.group(["ann", "bob", "eve"]).await;
    let [ann, bob, eve] = &room.users;
    let (bobs, eves) = (bob.iphone().await, eve.iphone().await);
    let (_bob, _eve) = (in_background(bob, &bobs).await, in_background(eve, &eves).await);
    let sent = ann.api.say(&room.id, "for a moment").await;
    bob.api.patch("/v1/notifications", &json!({"muted": true})).await.ok();
    ann.api.remove(&room.id, &eve.id).await;
    phones.assert_silent(&bobs).await;
    assert!(phones.rung(&eves).is_empty());
    assert_eq!(phones.reasons(&sent, &bobs).await, ["suppressed: muted"]);
}

#[tokio::test]
async fn a_phone_on_screen_is_not_rung() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    let client = bob.socket().device(&phone.device).connect().await;
    known(bob).await;
    let sent = ann.api.say(&room.id, "are you there?").await;
    client.expect_text("are you there?").await;
    phones.assert_silent(&phone).await;
    assert_eq!(phones.reasons(&sent, &phone).await, ["suppressed: foreground"]);
}

#[tokio::test]
async fn the_senders_own_devices_are_not_rung() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let (anns, bobs) = (ann.iphone().await, bob.iphone().await);
    let sent = ann.api.say(&room.id, &format!("I am @{}", ann.id)).await;
    phones.rings(&bobs, 1).await;
    phones.assert_silent(&anns).await;
    assert_eq!(phones.reasons(&sent, &anns).await, ["suppressed: sender"]);
}

#[tokio::test]
async fn who_has_left_is_not_rung() {
    let phones = phones().await;
    let room = phones.deployment.group(["ann", "bob", "eve"]).await;
    let [ann, bob, eve] = &room.users;
    let (bobs, eves) = (bob.iphone().await, eve.iphone().await);
    ann.api.say(&room.id, "all of you").await;
    phones.rings(&bobs, 1).await;
    ann.api.remove(&room.id, &bob.id).await;
    ann.api.say(&room.id, "Bob is gone").await;
    phones.rings(&eves, 2).await;
    phones.assert_silent_but(&bobs, 1).await;
}

#[tokio::test]
async fn the_badge_is_what_is_unread_everywhere_and_reading_tells_the_sleeping_phone() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let group = ann.api.group(&[&bob.id]).await;
    let phone = bob.iphone().await;
    ann.api.say(&room.id, "one").await;
    phones.rings(&phone, 1).await;
    ann.api.say(&room.id, "two").await;
    phones.rings(&phone, 2).await;
    let last = ann.api.say(&group, "three").await;
    let badges: Vec<_> = phones.rings(&phone, 3).await.iter().map(|it| it.badge).collect();
    assert_eq!(badges, [Some(1), Some(2), Some(3)]);
    let desktop = bob.connect().await;
    desktop
        .send(json!({"type": "message:read", "conversation_id": group, "seq": last["seq"]}))
        .await;
    let silent = until("the icon to be told", Duration::from_secs(20), async || {
        let all = phones.fake.shown_to(&phone.name);
        all.into_iter().find(|it| it.silent)
    })
    .await;
    assert_eq!((silent.badge, silent.priority.as_deref()), (Some(2), Some("5")));
    assert_eq!((silent.title, silent.body, silent.sound), (None, None, None));
}

#[tokio::test]
async fn reading_a_part_tells_the_sleeping_phone_what_is_left() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    let first = ann.api.say(&room.id, "one").await;
    ann.api.say(&room.id, "two").await;
    phones.rings(&phone, 2).await;
    let desktop = bob.connect().await;
    desktop
        .send(json!({"type": "message:read", "conversation_id": room.id, "seq": first["seq"]}))
        .await;
    let silent = until("the icon to be told", Duration::from_secs(20), async || {
        let all = phones.fake.shown_to(&phone.name);
        all.into_iter().find(|it| it.silent)
    })
    .await;
    assert_eq!(silent.badge, Some(1));
}

#[tokio::test]
async fn an_app_that_was_installed_anew_is_rung_at_its_new_token_and_the_old_one_is_forgotten() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let old = bob.iphone().await;
    ann.api.say(&room.id, "before").await;
    phones.rings(&old, 1).await;
    phones.fake.uninstall(&old.name, protocol::Timestamp::now());
    let new = bob.iphone().await;
    let sent = ann.api.say(&room.id, "after").await;
    assert_eq!(phones.rings(&new, 1).await[0].body.as_deref(), Some("after"));
    let devices = until("the old token to be forgotten", Duration::from_secs(10), async || {
        let devices = bob.api.get("/v1/devices").await.ok()["devices"].clone();
        (devices.as_array()?.len() == 1).then_some(devices)
    })
    .await;
    assert_eq!(devices[0]["device_id"], json!(new.device));
    assert_eq!(phones.reasons(&sent, &old).await, ["queued", "gone: Unregistered"]);
    let tried = phones.fake.seen().iter().filter(|it| it.token == old.name).count();
    ann.api.say(&room.id, "later").await;
    phones.rings(&new, 2).await;
    tokio::time::sleep(GRACE).await;
    assert_eq!(
        phones.fake.seen().iter().filter(|it| it.token == old.name).count(),
        tried
    );
}

#[tokio::test]
async fn apps_and_worlds_of_apple_are_told_apart() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let (other, sandbox) = (Phone::apple(), Phone::apple());
    let mut body = other.registration();
    body["app_id"] = json!("org.parley.other");
    bob.api.post("/v1/devices", &body).await.ok();
    let mut body = sandbox.registration();
    body["environment"] = json!("sandbox");
    bob.api.post("/v1/devices", &body).await.ok();
    ann.api.say(&room.id, "hello").await;
    let other = &phones.rings(&other, 1).await[0];
    assert_eq!((other.app.as_str(), other.sandbox), ("org.parley.other", false));
    let sandbox = &phones.rings(&sandbox, 1).await[0];
    assert_eq!((sandbox.app.as_str(), sandbox.sandbox), ("org.parley.app", true));
}

#[tokio::test]
async fn the_longest_message_is_cut_and_reaches_every_kind_of_phone() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let all = [Phone::apple(), Phone::google(), phones.browser()];
    for phone in &all {
        bob.register(phone).await;
    }
    // Each of these is four bytes, and twelve when escaped.
    ann.api.say(&room.id, &"𝒜".repeat(4_000)).await;
    for phone in &all {
        let body = phones.rings(phone, 1).await[0].body.clone().unwrap();
        assert_eq!(body, format!("{}…", "𝒜".repeat(100)));
    }
}

#[tokio::test]
async fn every_message_rings_each_phone_once_though_two_replicas_plan_and_push() {
    let phones = phones().await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    let client = ann.connect().await;
    let texts: Vec<String> = (0..200).map(|it| format!("message {it}")).collect();
    client.say_all(&room.id, texts.clone()).await;
    phones.rings(&phone, texts.len()).await;
    phones.assert_silent_but(&phone, texts.len()).await;
    let mut came = phones.texts(&phone);
    let mut sent = texts;
    came.sort();
    sent.sort();
    assert_eq!(came, sent);
}

#[tokio::test]
async fn nothing_is_ever_sent_that_a_provider_refuses_as_malformed() {
    let phones = phones().await;
    let room = phones.deployment.group(["ann", "bob"]).await;
    let [ann, bob] = &room.users;
    let all = [Phone::apple(), Phone::google(), phones.browser()];
    for phone in &all {
        bob.register(phone).await;
    }
    let texts = [
        "\u{0}\u{1}\u{7f}",
        "\"quoted\" \\ / </script>",
        "👨‍👩‍👧‍👦",
        "\u{202e}right to left",
        "{sender}",
    ];
    for text in texts {
        ann.api.say(&room.id, text).await;
    }
    for phone in &all {
        phones.rings(phone, texts.len()).await;
    }
    assert!(phones.fake.refused().is_empty(), "{:?}", phones.fake.refused());
}
