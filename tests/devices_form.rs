//! What is wrong with a registration of a device is said before anybody else is asked.

use serde_json::{Value, json};

use crate::harness::shared;

fn registration(field: &str, value: Value) -> Value {
    let mut body = json!({"device_id": "phone-1", "platform": "fcm", "token": "abc"});
    body[field] = value;
    body
}

#[tokio::test]
async fn a_field_of_the_wrong_form_is_named() {
    let ann = shared().await.user("ann").await;
    for (field, value) in [
        ("device_id", json!("x".repeat(129))),
        ("device_id", json!("")),
        ("platform", json!("pigeon")),
        ("token", json!("  ")),
        ("token", json!("x".repeat(8_193))),
        ("token", json!(["abc"])),
        ("app_id", json!("x".repeat(256))),
        ("environment", json!("moon")),
        ("locale", json!("de.UTF-8")),
    ] {
        let reply = ann.api.post("/v1/devices", &registration(field, value)).await;
        reply.assert_problem(400, "invalid");
    }
    let too_large = registration("token", "x".repeat(70_000).into());
    ann.api
        .post("/v1/devices", &too_large)
        .await
        .assert_problem(413, "too_large");
}

#[tokio::test]
async fn a_token_of_one_device_registers_no_other() {
    let ann = shared().await.user("ann").await;
    let token = shared().await.token_with(&ann.id, &["--device", "phone-2"]).await;
    let reply = ann
        .api
        .with_token(&token)
        .post("/v1/devices", &registration("device_id", "phone-1".into()))
        .await;
    reply.assert_problem(403, "forbidden");
}

#[tokio::test]
async fn every_call_wants_a_token() {
    let nobody = shared().await.user("ann").await.api.with_token("");
    for path in [
        "/v1/devices",
        "/v1/push",
        "/v1/notifications",
        "/v1/conversations/d6c1b3a0f2e4d5968778695a4b3c2d1e0/notifications",
    ] {
        nobody.get(path).await.assert_problem(401, "unauthenticated");
    }
}
