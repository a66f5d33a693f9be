//! Each of Google's checks refuses what it must, of messages and of requests for tokens.

use std::time::Duration;

use protocol::Timestamp;
use serde_json::{Value, json};

use crate::testing::{Client, Lab, assertion_claims, now};
use crate::{Listener, Options, PROJECT, TokenUri};

async fn send(client: &mut Client, access: &str, message: Value) -> (u16, Value) {
    let path = format!("/v1/projects/{PROJECT}/messages:send");
    let authorization = format!("Bearer {access}");
    let body = json!({ "message": message }).to_string();
    let reply = client.post(&path, &[("authorization", &authorization)], body).await;
    (reply.status.as_u16(), reply.json())
}

/// The field that an error names.
fn field(error: &Value) -> &str {
    let details = error["error"]["details"].as_array().unwrap();
    let violations = details.iter().find_map(|it| it["fieldViolations"].as_array());
    violations.unwrap()[0]["field"].as_str().unwrap()
}

#[tokio::test]
async fn messages() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Fcm).await;
    let access = client.access_token(&lab).await;
    let android = |value: Value| json!({"token": "d", "android": value});
    let data = |value: Value| json!({"token": "d", "data": value});
    let large = |size: usize| json!({"token": "d", "notification": {"body": "x".repeat(size - 5)}, "data": {"k": ""}});
    let wrong = [
        (json!({}), "message"),
        (json!({"token": ""}), "message"),
        (json!({"topic": "news"}), "message"),
        (json!({"token": 7}), "message.token"),
        (json!({"token": "a b"}), "message.token"),
        (json!({"token": "d", "title": "x"}), "message"),
        (
            json!({"token": "d", "notification": {"titel": "x"}}),
            "message.notification",
        ),
        (
            json!({"token": "d", "notification": {"title": 7}}),
            "message.notification.title",
        ),
        (json!({"token": "d", "notification": "x"}), "message.notification"),
        (data(json!({"seq": 7})), "message.data[0].value"),
        (data(json!({"a": "1", "b": {"c": "d"}})), "message.data[1].value"),
        (data(json!(["a"])), "message.data"),
        (data(json!({"from": "x"})), "message.data[0]"),
        (data(json!({"message_type": "x"})), "message.data[0]"),
        (data(json!({"google.x": "x"})), "message.data[0]"),
        (data(json!({"gcm.x": "x"})), "message.data[0]"),
        (android(json!({"priority": "URGENT"})), "message.android.priority"),
        (android(json!({"priority": 10})), "message.android.priority"),
        (android(json!({"ttl": "1h"})), "message.android.ttl"),
        (android(json!({"ttl": 3600})), "message.android.ttl"),
        (android(json!({"ttl": "s"})), "message.android.ttl"),
        (android(json!({"ttl": "2419201s"})), "message.android.ttl"),
        (android(json!({"collapse": "x"})), "message.android"),
        (
            android(json!({"notification": {"tag": 1}})),
            "message.android.notification.tag",
        ),
        (
            android(json!({"notification": {"notification_count": "many"}})),
            "message.android.notification.notification_count",
        ),
        (large(4_097), "message"),
    ];
    for (message, place) in wrong {
        let (status, error) = send(&mut client, &access, message.clone()).await;
        assert_eq!(status, 400, "{message:.99}");
        assert_eq!(error["error"]["status"], "INVALID_ARGUMENT");
        assert_eq!(field(&error), place, "{error}");
    }
    let right = [
        json!({"token": "d"}),
        large(4_096),
        data(json!({"fromage": "x", "googly": "x"})),
        android(json!({"priority": "normal", "ttl": "3.5s", "collapseKey": "k", "notification": null})),
        android(json!({"notification": {"channelId": "c", "notification_count": 2}})),
    ];
    for message in right {
        let (status, error) = send(&mut client, &access, message.clone()).await;
        assert_eq!((status, &error["error"]), (200, &Value::Null), "{message:.99}");
    }
    let refused: u64 = lab.fake.refused().values().sum();
    assert_eq!(refused, 26);
    let reply = client
        .post(&format!("/v1/projects/{PROJECT}/messages:send"), &[], "{")
        .await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn senders_and_devices() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Fcm).await;
    let access = client.access_token(&lab).await;
    let message = json!({"token": "d", "notification": {"title": "x"}});
    let (status, error) = send(&mut client, "ya29.other", message.clone()).await;
    assert_eq!((status, &error["error"]["status"]), (401, &json!("UNAUTHENTICATED")));

    let authorization = format!("Bearer {access}");
    let headers = [("authorization", authorization.as_str())];
    let body = json!({ "message": message }).to_string();
    let reply = client
        .post("/v1/projects/other/messages:send", &headers, body.clone())
        .await;
    assert_eq!(reply.status, 403);
    let error = &reply.json()["error"];
    assert_eq!(
        (&error["status"], &error["details"][0]["errorCode"]),
        (&json!("PERMISSION_DENIED"), &json!("SENDER_ID_MISMATCH"))
    );
    assert_eq!(client.post("/v1/messages:send", &headers, body).await.status, 404);

    lab.fake.uninstall("d", Timestamp::now());
    let (status, error) = send(&mut client, &access, message.clone()).await;
    let expected = json!({"error": {
        "code": 404,
        "message": "Requested entity was not found.",
        "status": "NOT_FOUND",
        "details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}],
    }});
    assert_eq!((status, error), (404, expected));
    lab.fake.forget("d");
    assert_eq!(send(&mut client, &access, message.clone()).await.0, 200);
    lab.fake.revoke_access_tokens();
    assert_eq!(send(&mut client, &access, message).await.0, 401);
    assert_eq!(lab.fake.shown().len(), 1);
}

#[tokio::test]
async fn access_tokens_expire() {
    let lab = Lab::with(Options {
        access_token_lifetime: Duration::ZERO,
        ..Options::default()
    })
    .await;
    let mut client = lab.client(Listener::Fcm).await;
    let access = client.access_token(&lab).await;
    assert_eq!(send(&mut client, &access, json!({"token": "d"})).await.0, 401);
}

#[tokio::test]
async fn assertions() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Fcm).await;
    let changed = |name: &str, value: Value| {
        let mut claims = assertion_claims(&lab);
        claims[name] = value;
        lab.assertion(&claims)
    };
    let (signed, signature) = changed("iat", json!(now()))
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let firebase = "https://www.googleapis.com/auth/firebase.messaging";
    let cases = [
        (
            changed("iss", json!("other@parley-fake.iam.gserviceaccount.com")),
            "invalid_grant",
        ),
        (
            changed("aud", json!("https://oauth2.googleapis.com/token")),
            "invalid_grant",
        ),
        (changed("exp", json!(now() - 1)), "invalid_grant"),
        (changed("exp", json!(now() + 3_700)), "invalid_grant"),
        (changed("iat", json!(now() + 400)), "invalid_grant"),
        (changed("iat", json!(null)), "invalid_grant"),
        (changed("scope", json!("email")), "invalid_scope"),
        (lab.signed("apns.p8", None, &assertion_claims(&lab)), "invalid_grant"),
        (forged, "invalid_grant"),
        ("x".to_owned(), "invalid_grant"),
    ];
    for (assertion, error) in cases {
        let reply = client.exchange(&assertion).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]),
            (400, &json!(error)),
            "{assertion}"
        );
    }
    let assertion = changed("scope", json!(format!("email {firebase}")));
    let reply = client.exchange(&assertion).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["expires_in"]),
        (200, &json!(3_599))
    );
    assert_eq!(reply.json()["token_type"], "Bearer");

    let form = [("content-type", "application/x-www-form-urlencoded")];
    let other = format!("grant_type=password&assertion={assertion}");
    let reply = client.post("/token", &form, other).await;
    assert_eq!(reply.json()["error"], "unsupported_grant_type");
    let reply = client.post("/token", &[], format!("assertion={assertion}")).await;
    assert_eq!(reply.json()["error"], "invalid_request");
    assert_eq!(lab.fake.counters().oauth.accepted, 1);
}

#[tokio::test]
async fn the_token_uri_is_the_audience() {
    let lab = Lab::with(Options {
        token_uri: TokenUri::Tls,
        ..Options::default()
    })
    .await;
    let account: Value = serde_json::from_str(&lab.folder.read("fcm.json")).unwrap();
    let uri = format!("https://localhost:{}/token", lab.fake.ports().fcm);
    assert_eq!(account["token_uri"], uri);
    let mut claims = assertion_claims(&lab);
    let mut client = lab.client(Listener::Fcm).await;
    assert_eq!(client.exchange(&lab.assertion(&claims)).await.status, 400);
    claims["aud"] = json!(uri);
    assert_eq!(client.exchange(&lab.assertion(&claims)).await.status, 200);
}
