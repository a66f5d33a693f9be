//! Whole pushes through every provider, and the life of the fakes.

use std::time::Duration;

use protocol::Timestamp;
use serde_json::json;

use crate::testing::{Client, Lab, PATIENCE, TOKEN, encrypted, path_of};
use crate::{APPS, FakePush, Listener, Options, PROJECT, Provider, Recording};

const ID: &str = "123e4567-e89b-12d3-a456-42661417400f";

#[tokio::test]
async fn a_push_to_apple_is_accepted_and_shown() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::ApnsSandbox).await;
    let payload = json!({
        "aps": {
            "alert": {"title": "Ann", "body": "Hello"}, "badge": 3, "sound": "default",
            "category": "message", "thread-id": "c1",
        },
        "conversation_id": "c1",
        "seq": 7,
    });
    let headers = [
        ("apns-id", ID),
        ("apns-collapse-id", "c1:7"),
        ("apns-priority", "10"),
        ("apns-expiration", "1795000000"),
    ];
    let reply = client.apns(&lab, &headers, payload.to_string()).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_ref()), (200, b"".as_slice()));
    assert_eq!(reply.header("apns-id"), ID);
    assert!(!reply.header("apns-unique-id").is_empty());

    let shown = lab.fake.wait(PATIENCE, |shown| !shown.is_empty()).await.unwrap();
    let push = &shown[0];
    assert_eq!((push.number, push.provider, push.sandbox), (1, Provider::Apns, true));
    assert_eq!(
        (push.app.as_str(), push.token.as_str(), push.id.as_str()),
        (APPS[0], TOKEN, ID)
    );
    assert_eq!(
        (push.title.as_deref(), push.body.as_deref()),
        (Some("Ann"), Some("Hello"))
    );
    assert_eq!((push.badge, push.sound.as_deref()), (Some(3), Some("default")));
    assert_eq!(
        (push.category.as_deref(), push.thread.as_deref()),
        (Some("message"), Some("c1"))
    );
    assert_eq!(
        (push.collapse_id.as_deref(), push.priority.as_deref()),
        (Some("c1:7"), Some("10"))
    );
    assert_eq!(push.expires_at, Some(Timestamp::from_millis(1_795_000_000_000)));
    assert!(!push.silent);
    assert_eq!(push.data["seq"], 7);
    assert_eq!(lab.fake.shown_to(TOKEN), shown);
    assert_eq!(lab.fake.seen()[0].status, Some(200));
    assert_eq!(lab.fake.refused().len(), 0);
}

#[tokio::test]
async fn a_push_to_google_is_accepted_and_shown() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Fcm).await;
    let access = client.access_token(&lab).await;
    let body = json!({"message": {
        "token": "device:1",
        "notification": {"title": "Ann", "body": "Hello"},
        "data": {"seq": "7"},
        "android": {
            "priority": "HIGH", "ttl": "3600s", "collapse_key": "k",
            "notification": {"tag": "c1:7", "channel_id": "messages", "notification_count": 3},
        },
    }});
    let path = format!("/v1/projects/{PROJECT}/messages:send");
    let authorization = format!("Bearer {access}");
    let reply = client
        .post(&path, &[("authorization", &authorization)], body.to_string())
        .await;
    assert_eq!(reply.status, 200);
    let name = reply.json()["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with(&format!("projects/{PROJECT}/messages/0:")), "{name}");
    let shown = lab.fake.shown();
    let push = &shown[0];
    assert_eq!((push.app.as_str(), push.token.as_str()), (PROJECT, "device:1"));
    assert_eq!(
        (push.title.as_deref(), push.body.as_deref()),
        (Some("Ann"), Some("Hello"))
    );
    assert_eq!((push.badge, push.collapse_id.as_deref()), (Some(3), Some("c1:7")));
    assert_eq!((push.priority.as_deref(), &push.id), (Some("HIGH"), &name));
    assert_eq!(push.expires_at.unwrap().as_millis() - push.at.as_millis(), 3_600_000);
    assert_eq!(push.data["seq"], "7");
    assert_eq!(lab.fake.counters().oauth.accepted, 1);
    assert_eq!(lab.fake.refused().len(), 0);
}

#[tokio::test]
async fn the_client_library_for_google_gets_a_token() {
    let lab = Lab::start().await;
    let file = lab.folder.path().join("fcm.json");
    let authenticator = fcm_v1::auth::Authenticator::service_account_from_file(&file)
        .await
        .unwrap();
    let scopes = ["https://www.googleapis.com/auth/firebase.messaging"];
    let token = authenticator.token(&scopes).await.unwrap();
    assert!(token.token().unwrap().starts_with("ya29."));
    assert_eq!(lab.fake.refused().len(), 0);
}

#[tokio::test]
async fn a_push_to_a_browser_is_decrypted_and_shown() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Webpush).await;
    let subscription = lab.fake.subscribe().unwrap();
    let text = json!({"title": "Ann", "body": "Hello", "tag": "c1:7", "seq": 7}).to_string();
    let authorization = lab.vapid(json!({}));
    let headers = [
        ("authorization", authorization.as_str()),
        ("ttl", "60"),
        ("urgency", "high"),
        ("topic", "c1"),
        ("content-encoding", "aes128gcm"),
    ];
    let path = path_of(&subscription);
    let body = encrypted(&subscription, text.as_bytes());
    let reply = client.post(&path, &headers, body).await;
    assert_eq!(reply.status, 201);
    assert!(reply.header("location").starts_with("https://localhost:"));
    let shown = lab.fake.shown();
    let push = &shown[0];
    assert_eq!(
        (push.title.as_deref(), push.body.as_deref()),
        (Some("Ann"), Some("Hello"))
    );
    assert_eq!(
        (push.collapse_id.as_deref(), push.priority.as_deref()),
        (Some("c1:7"), Some("high"))
    );
    assert_eq!(push.data["seq"], 7);
    assert_eq!(format!("/push/{}", push.token), path);

    assert!(
        lab.fake
            .unsubscribe(subscription["endpoint"].as_str().unwrap())
            .unwrap()
    );
    let reply = client.post(&path, &headers, "").await;
    assert_eq!(reply.status, 410);
    let reply = client.post("/push/unknown", &headers, "").await;
    assert_eq!(reply.status, 404);
    assert_eq!(lab.fake.counters().webpush.gone, 2);
    assert_eq!(lab.fake.refused().len(), 0);
}

#[tokio::test]
async fn a_restarted_fake_keeps_its_ports_keys_and_subscriptions() {
    let lab = Lab::start().await;
    let subscription = lab.fake.subscribe().unwrap();
    let ports = lab.fake.ports();
    let files = ["ca.pem", "apns.p8", "fcm.json", "vapid.pem"];
    let before = files.map(|it| lab.folder.read(it));
    let mut client = lab.client(Listener::Apns).await;
    assert_eq!(client.apns(&lab, &[], r#"{"aps":{"alert":"1"}}"#).await.status, 200);
    let Lab { fake, folder, .. } = lab;
    fake.stop().await;
    client.end().await;

    let options = Options {
        ports,
        ..Options::default()
    };
    let fake = FakePush::start(folder.path(), options).await.unwrap();
    let lab = Lab::of(fake, folder);
    assert_eq!(lab.fake.ports(), ports);
    assert_eq!(files.map(|it| lab.folder.read(it)), before);
    let authorization = lab.vapid(json!({}));
    let headers = [("authorization", authorization.as_str()), ("ttl", "0")];
    let mut client = lab.client(Listener::Webpush).await;
    assert_eq!(client.post(&path_of(&subscription), &headers, "").await.status, 201);
}

#[tokio::test]
async fn services_on_other_machines_reach_it_by_its_name() {
    let lab = Lab::with(Options {
        name: "played".to_owned(),
        ..Options::default()
    })
    .await;
    // The client takes the name from the settings, and no certificate but one of that name.
    let mut client = lab.client(Listener::Apns).await;
    assert_eq!(client.apns(&lab, &[], r#"{"aps":{"alert":"1"}}"#).await.status, 200);
    let account: serde_json::Value = serde_json::from_str(&lab.folder.read("fcm.json")).unwrap();
    let page = lab.fake.ports().page;
    assert_eq!(account["token_uri"], format!("http://played:{page}/token"));
    let subscription = lab.fake.subscribe().unwrap();
    let endpoint = subscription["endpoint"].as_str().unwrap();
    assert!(endpoint.starts_with("https://played:"), "{endpoint}");
}

#[tokio::test]
async fn keys_made_before_it_runs_are_those_it_checks() {
    let lab = Lab::start().await;
    let (folder, ports) = (lab.folder, lab.fake.ports());
    lab.fake.stop().await;
    let options = Options {
        ports,
        ..Options::default()
    };
    let files = ["ca.pem", "apns.p8", "fcm.json", "vapid.pem"];
    let elsewhere = crate::testing::Folder::new();
    FakePush::prepare(elsewhere.path(), &options).unwrap();
    let made = files.map(|it| elsewhere.read(it));
    assert!(
        made.iter()
            .zip(files.map(|it| folder.read(it)))
            .all(|(made, other)| *made != other)
    );
    let lab = Lab::of(FakePush::start(elsewhere.path(), options).await.unwrap(), elsewhere);
    assert_eq!(files.map(|it| lab.folder.read(it)), made);
    let mut client = lab.client(Listener::Apns).await;
    assert_eq!(client.apns(&lab, &[], r#"{"aps":{"alert":"1"}}"#).await.status, 200);
}

#[tokio::test]
async fn one_listener_goes_away_and_comes_back() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    assert_eq!(client.apns(&lab, &[], r#"{"aps":{"alert":"1"}}"#).await.status, 200);
    lab.fake.stop_listener(Listener::Apns).await;
    client.end().await;
    assert!(Client::connect(&lab.fake, Listener::Apns).await.is_err());
    lab.client(Listener::Fcm).await;
    lab.fake.start_listener(Listener::Apns).await.unwrap();
    let mut client = lab.client(Listener::Apns).await;
    assert_eq!(client.apns(&lab, &[], r#"{"aps":{"alert":"2"}}"#).await.status, 200);
    assert_eq!(lab.fake.shown().len(), 2);
    assert_eq!(lab.fake.counters().apns.connections, 2);
}

#[tokio::test]
async fn dropping_it_ends_open_connections() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    assert_eq!(client.apns(&lab, &[], r#"{"aps":{"alert":"1"}}"#).await.status, 200);
    drop(lab);
    client.end().await;
}

#[tokio::test]
async fn for_benchmarks_only_counts_are_kept() {
    let lab = Lab::with(Options {
        recording: Recording::Counts,
        ..Options::default()
    })
    .await;
    let mut client = lab.client(Listener::Apns).await;
    for _ in 0..3 {
        assert_eq!(client.apns(&lab, &[], r#"{"aps":{"alert":"1"}}"#).await.status, 200);
    }
    assert_eq!((lab.fake.shown().len(), lab.fake.seen().len()), (0, 0));
    assert_eq!(lab.fake.counters().apns.accepted, 3);
}

#[tokio::test]
async fn waiting_in_vain_says_what_there_was() {
    let lab = Lab::start().await;
    let missed = lab
        .fake
        .wait(Duration::from_millis(1), |it| it.len() == 1)
        .await
        .unwrap_err();
    assert!(missed.to_string().contains("in vain"), "{missed}");
}
