//! Registering devices: whose they are, and what is told of them.

use serde_json::{Value, json};

use crate::harness::{Phone, User, phones, shared};

async fn listed(user: &User) -> Vec<Value> {
    let answer = user.api.get("/v1/devices").await.ok();
    answer["devices"].as_array().unwrap().clone()
}

async fn listed_ids(user: &User) -> Vec<String> {
    let devices = listed(user).await;
    devices
        .iter()
        .map(|it| it["device_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_device_is_registered_listed_without_its_token_and_forgotten() {
    let ann = shared().await.user("ann").await;
    let phone = Phone::apple();
    let mut body = phone.registration();
    body["locale"] = json!("de-AT");
    body["environment"] = json!("sandbox");
    let made = ann.api.post("/v1/devices", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let again = ann.api.post("/v1/devices", &body).await;
    assert_eq!(again.status, 200, "{}", again.body);
    let devices = listed(&ann).await;
    assert_eq!(devices.len(), 1, "{devices:?}");
    assert_eq!(devices[0], again.body);
    assert_eq!(devices[0]["platform"], "apns");
    assert_eq!(devices[0]["locale"], "de-AT");
    assert_eq!(devices[0]["environment"], "sandbox");
    assert!(devices[0]["registered_at"].is_string());
    assert!(
        !devices[0].to_string().contains(&phone.name),
        "the token is no one's to see"
    );
    let path = format!("/v1/devices/{}", phone.device);
    assert_eq!(ann.api.delete(&path).await.status, 204);
    ann.api.delete(&path).await.assert_problem(404, "not_found");
    assert!(listed(&ann).await.is_empty());
}

#[tokio::test]
async fn a_user_has_several_devices_the_last_one_first_and_sees_no_one_elses() {
    let [ann, bob] = shared().await.users(["ann", "bob"]).await;
    let (one, two) = (Phone::apple(), Phone::google());
    ann.register(&one).await;
    ann.register(&two).await;
    bob.register(&Phone::apple()).await;
    assert_eq!(listed_ids(&ann).await, [two.device.clone(), one.device.clone()]);
    ann.register(&one).await;
    assert_eq!(listed_ids(&ann).await, [one.device, two.device]);
}

#[tokio::test]
async fn a_token_that_comes_with_another_user_leaves_the_first() {
    let [ann, bob] = shared().await.users(["ann", "bob"]).await;
    let phone = Phone::apple();
    ann.register(&phone).await;
    bob.register(&phone).await;
    assert!(listed_ids(&ann).await.is_empty());
    assert_eq!(listed_ids(&bob).await, std::slice::from_ref(&phone.device));
    // And back: nothing of the way is left.
    ann.register(&phone).await;
    assert_eq!(listed_ids(&ann).await, [phone.device]);
    assert!(listed_ids(&bob).await.is_empty());
}

#[tokio::test]
async fn a_token_that_comes_with_another_device_leaves_the_first() {
    let ann = shared().await.user("ann").await;
    let old = Phone::apple();
    let new = Phone {
        device: format!("{}-new", old.device),
        ..old.clone()
    };
    ann.register(&old).await;
    ann.register(&new).await;
    assert_eq!(listed_ids(&ann).await, [new.device]);
}

#[tokio::test]
async fn many_users_who_claim_a_token_at_once_leave_it_with_one() {
    let shared = shared().await;
    let users = shared.users(["ann", "bob", "eve", "joe", "kim", "lee"]).await;
    for _ in 0..5 {
        let phone = Phone::apple();
        futures_util::future::join_all(users.iter().map(|user| user.register(&phone))).await;
        let mut owners = Vec::new();
        for user in &users {
            if listed_ids(user).await.contains(&phone.device) {
                owners.push(&user.id);
            }
        }
        assert_eq!(owners.len(), 1, "{owners:?}");
    }
}

#[tokio::test]
async fn a_device_that_gets_a_new_token_gives_the_old_one_up() {
    let [ann, bob] = shared().await.users(["ann", "bob"]).await;
    let phone = Phone::apple();
    ann.register(&phone).await;
    let renewed = Phone {
        device: phone.device.clone(),
        ..Phone::apple()
    };
    ann.register(&renewed).await;
    bob.register(&phone).await;
    assert_eq!(listed_ids(&ann).await, [renewed.device]);
    assert_eq!(listed_ids(&bob).await, [phone.device]);
}

#[tokio::test]
async fn the_device_registered_first_makes_room_for_the_sixty_fifth() {
    let ann = shared().await.user("ann").await;
    let phones: Vec<Phone> = (0..65).map(|_| Phone::apple()).collect();
    for phone in &phones {
        ann.register(phone).await;
    }
    let ids = listed_ids(&ann).await;
    assert_eq!(ids.len(), 64);
    assert!(!ids.contains(&phones[0].device) && ids.contains(&phones[1].device));
}

#[tokio::test]
async fn a_registration_that_could_never_be_pushed_to_is_refused_by_name() {
    let ann = shared().await.user("ann").await;
    let cases = [
        (json!({"device_id": ""}), "device_id"),
        (json!({"device_id": "x".repeat(129)}), "device_id"),
        (json!({"platform": "pager"}), "expected one of `apns`, `fcm`, `webpush`"),
        (json!({"token": "not hex"}), "token"),
        (json!({"token": "abcd"}), "token"),
        (json!({"token": ""}), "token"),
        (json!({"token": 7}), "token"),
        (
            json!({"platform": "fcm", "token": "has spaces in it, and more"}),
            "token",
        ),
        (
            json!({"platform": "webpush", "token": "https://push.example/x"}),
            "token",
        ),
        (json!({"locale": "../../etc"}), "locale"),
        (json!({"environment": "moon"}), "`production` or `sandbox`"),
    ];
    for (change, field) in cases {
        let mut body = Phone::apple().registration();
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        let refused = ann.api.post("/v1/devices", &body).await;
        refused.assert_problem(400, "invalid");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(field), "{change}: {detail}");
    }
    assert!(listed(&ann).await.is_empty());
}

#[tokio::test]
async fn a_subscription_is_no_way_into_the_network() {
    let ann = shared().await.user("ann").await;
    let key = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    for endpoint in [
        "http://push.example.org/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://10.0.0.1:8443/x",
        "https://169.254.169.254/latest/meta-data",
        "https://192.168.1.1/x",
        "https://user:pass@push.example.org/x",
        "https://0.0.0.0/x",
        "ftp://push.example.org/x",
        "https:///x",
        "/x",
    ] {
        let mut body = Phone::apple().registration();
        body["platform"] = json!("webpush");
        body["token"] = json!({"endpoint": endpoint, "keys": {"p256dh": key, "auth": "BTBZMqHH6r4Tts7J_aSIgg"}});
        let refused = ann.api.post("/v1/devices", &body).await;
        assert_eq!(refused.status, 400, "{endpoint}: {}", refused.body);
    }
}

#[tokio::test]
async fn an_app_that_nobody_has_a_key_for_is_refused_where_there_are_keys() {
    let ann = phones().await.deployment.user("ann").await;
    let mut body = Phone::apple().registration();
    body["app_id"] = json!("org.somebody.else");
    let refused = ann.api.post("/v1/devices", &body).await;
    refused.assert_problem(400, "invalid");
    assert!(refused.body["detail"].as_str().unwrap().contains("app_id"));
    body["app_id"] = json!("org.parley.other");
    assert_eq!(ann.api.post("/v1/devices", &body).await.status, 201);
}

#[tokio::test]
async fn a_token_for_one_device_registers_no_other() {
    let shared = shared().await;
    let ann = shared.user("ann").await;
    let token = shared.token_with(&ann.id, &["--device", "tablet"]).await;
    let api = ann.api.with_token(&token);
    let phone = Phone::apple();
    api.post("/v1/devices", &phone.registration())
        .await
        .assert_problem(403, "forbidden");
    let tablet = Phone {
        device: "tablet".into(),
        ..phone
    };
    assert_eq!(api.post("/v1/devices", &tablet.registration()).await.status, 201);
}

#[tokio::test]
async fn what_can_be_pushed_to_is_told_with_the_key_for_browsers() {
    let without = shared().await.user("ann").await.api.get("/v1/push").await.ok();
    assert_eq!(without, json!({"platforms": []}));
    let phones = phones().await;
    let with = phones.deployment.user("ann").await.api.get("/v1/push").await.ok();
    assert_eq!(with["platforms"], json!(["apns", "fcm", "webpush"]));
    assert_eq!(with["application_server_key"], phones.fake.vapid_public_key());
}

#[tokio::test]
async fn who_is_nobody_registers_nothing() {
    let shared = shared().await;
    let api = shared.user("ann").await.api.with_token("nonsense");
    for answer in [
        api.post("/v1/devices", &Phone::apple().registration()).await,
        api.get("/v1/devices").await,
        api.delete("/v1/devices/x").await,
        api.get("/v1/notifications").await,
        api.get("/v1/push").await,
    ] {
        answer.assert_problem(401, "unauthenticated");
    }
}
