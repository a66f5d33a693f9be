//! Each of Apple's checks refuses what it must.

use std::time::Duration;

use protocol::Timestamp;
use serde_json::{Value, json};

use crate::testing::{Client, Lab, TOKEN, now};
use crate::{APPS, KEY_ID, Listener, Options, TEAM_ID};

type Headers<'a> = &'a [(&'a str, &'a str)];

const ALERT: &str = r#"{"aps":{"alert":"1"}}"#;

async fn refused(client: &mut Client, lab: &Lab, change: Headers<'_>, body: &str) -> (u16, String) {
    let reply = client.apns(lab, change, body.to_owned()).await;
    (
        reply.status.as_u16(),
        reply.json()["reason"].as_str().unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn methods_and_paths() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    let authorization = format!("bearer {}", lab.provider_token(0));
    let headers = [
        ("authorization", authorization.as_str()),
        ("apns-topic", APPS[0]),
        ("apns-push-type", "alert"),
    ];
    let device = |token: &str| format!("/3/device/{token}");
    let cases = [
        ("GET", device(TOKEN), 405, "MethodNotAllowed"),
        ("POST", format!("/2/device/{TOKEN}"), 404, "BadPath"),
        ("POST", device(""), 400, "MissingDeviceToken"),
        ("POST", device(&TOKEN[1..]), 400, "BadDeviceToken"),
        ("POST", device(&TOKEN.replace('0', "g")), 400, "BadDeviceToken"),
        ("POST", device(&"a".repeat(201)), 400, "BadDeviceToken"),
        ("POST", device(&"a".repeat(200)), 200, ""),
    ];
    for (method, path, status, reason) in cases {
        let reply = client.request(method, &path, &headers, ALERT).await.unwrap();
        assert_eq!(reply.status, status, "{method} {path}");
        assert_eq!(reply.json()["reason"].as_str().unwrap_or_default(), reason, "{path}");
        assert_eq!(reply.header("apns-id").len(), 36);
    }
    assert_eq!(lab.fake.refused()["apns: BadDeviceToken"], 3);
}

#[tokio::test]
async fn headers() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    let long = "x".repeat(65);
    let cases: [(Headers<'_>, u16, &str); 17] = [
        (&[("apns-topic", "")], 400, "MissingTopic"),
        (&[("apns-topic", "org.parley.third")], 400, "TopicDisallowed"),
        (
            &[("apns-topic", "org.parley.app"), ("apns-push-type", "voip")],
            400,
            "TopicDisallowed",
        ),
        (
            &[("apns-topic", "org.parley.app.voip"), ("apns-push-type", "voip")],
            200,
            "",
        ),
        (&[("apns-push-type", "")], 400, "InvalidPushType"),
        (&[("apns-push-type", "loud")], 400, "InvalidPushType"),
        (&[("apns-priority", "7")], 400, "BadPriority"),
        (&[("apns-priority", "1")], 200, ""),
        (&[("apns-expiration", "soon")], 400, "BadExpirationDate"),
        (&[("apns-expiration", "-1")], 400, "BadExpirationDate"),
        (&[("apns-expiration", "0")], 200, ""),
        (&[("apns-collapse-id", &long)], 400, "BadCollapseId"),
        (&[("apns-collapse-id", &long[1..])], 200, ""),
        (&[("apns-id", "7")], 400, "BadMessageId"),
        (&[("apns-id", "123e4567e89b12d3a45642661417400f")], 400, "BadMessageId"),
        (&[("apns-id", "123e4567-e89b-12d3-a456-42661417400f")], 200, ""),
        (
            &[("apns-priority", "5"), ("apns-priority", "5")],
            400,
            "DuplicateHeaders",
        ),
    ];
    for (change, status, reason) in cases {
        let expected = (status, reason.to_owned());
        assert_eq!(refused(&mut client, &lab, change, ALERT).await, expected, "{change:?}");
    }
}

#[tokio::test]
async fn payloads() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    let filled = |size: usize| {
        let frame = r#"{"aps":{"alert":""}}"#;
        frame.replace(r#""""#, &format!("\"{}\"", "x".repeat(size - frame.len())))
    };
    let background: Headers<'_> = &[("apns-push-type", "background"), ("apns-priority", "5")];
    let urgent: Headers<'_> = &[("apns-push-type", "background"), ("apns-priority", "10")];
    let unsaid: Headers<'_> = &[("apns-push-type", "background")];
    let silent = r#"{"aps":{"content-available":1},"seq":1}"#;
    let cases: [(Headers<'_>, String, u16, &str); 15] = [
        (&[], String::new(), 400, "PayloadEmpty"),
        (&[], "{}".to_owned(), 400, "PayloadEmpty"),
        (&[], "[1".to_owned(), 400, "PayloadEmpty"),
        (&[], filled(4_096), 200, ""),
        (&[], filled(4_097), 413, "PayloadTooLarge"),
        (&[], silent.to_owned(), 400, "InvalidPushType"),
        (&[], r#"{"aps":{"badge":0}}"#.to_owned(), 200, ""),
        (background, silent.to_owned(), 200, ""),
        (background, r#"{"aps":{}}"#.to_owned(), 400, "InvalidPushType"),
        (
            background,
            r#"{"aps":{"content-available":0}}"#.to_owned(),
            400,
            "InvalidPushType",
        ),
        (
            background,
            r#"{"aps":{"content-available":1,"alert":"1"}}"#.to_owned(),
            400,
            "InvalidPushType",
        ),
        (
            background,
            r#"{"aps":{"content-available":1,"sound":"1"}}"#.to_owned(),
            400,
            "InvalidPushType",
        ),
        (
            background,
            r#"{"aps":{"content-available":1,"badge":1}}"#.to_owned(),
            400,
            "InvalidPushType",
        ),
        (urgent, silent.to_owned(), 400, "BadPriority"),
        (unsaid, silent.to_owned(), 400, "BadPriority"),
    ];
    for (change, body, status, reason) in cases {
        let expected = (status, reason.to_owned());
        assert_eq!(
            refused(&mut client, &lab, change, &body).await,
            expected,
            "{change:?} {body:.80}"
        );
    }
    let shown = lab.fake.shown();
    let silent: Vec<bool> = shown.iter().map(|it| it.silent).collect();
    assert_eq!(silent, [false, true, true], "an alert, a badge, in the background");
    assert_eq!(shown[1].badge, Some(0));
}

#[tokio::test]
async fn provider_tokens() {
    let lab = Lab::start().await;
    let usual = lab.provider_token(0);
    let claims = json!({"iss": TEAM_ID, "iat": now()});
    let (signed, signature) = usual.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let padded = format!("{usual}=");
    let cases = [
        (String::new(), "MissingProviderToken"),
        ("bearer ".to_owned(), "MissingProviderToken"),
        (format!("basic {usual}"), "MissingProviderToken"),
        ("bearer x".to_owned(), "InvalidProviderToken"),
        (format!("bearer {forged}"), "InvalidProviderToken"),
        (format!("bearer {padded}"), "InvalidProviderToken"),
        (
            format!("bearer {}", lab.signed("vapid.pem", Some(KEY_ID), &claims)),
            "InvalidProviderToken",
        ),
        (
            format!("bearer {}", lab.signed("apns.p8", None, &claims)),
            "InvalidProviderToken",
        ),
        (
            format!("bearer {}", lab.signed("apns.p8", Some("OTHERKEY01"), &claims)),
            "InvalidProviderToken",
        ),
        (
            format!(
                "bearer {}",
                lab.signed("apns.p8", Some(KEY_ID), &json!({"iss": "X", "iat": now()}))
            ),
            "InvalidProviderToken",
        ),
        (
            format!(
                "bearer {}",
                lab.signed("apns.p8", Some(KEY_ID), &json!({"iss": TEAM_ID}))
            ),
            "InvalidProviderToken",
        ),
        (format!("bearer {}", lab.provider_token(3_601)), "ExpiredProviderToken"),
        (format!("bearer {}", lab.provider_token(-60)), "ExpiredProviderToken"),
    ];
    for (authorization, reason) in cases {
        // What a connection was refused does not matter to the next one.
        let mut client = lab.client(Listener::Apns).await;
        let change = [("authorization", authorization.as_str())];
        let answered = refused(&mut client, &lab, &change, ALERT).await;
        assert_eq!(answered, (403, reason.to_owned()), "{authorization}");
    }
    let mut client = lab.client(Listener::Apns).await;
    let old = format!("Bearer {}", lab.provider_token(3_590));
    let change = [("authorization", old.as_str())];
    assert_eq!(refused(&mut client, &lab, &change, ALERT).await.0, 200);
}

#[tokio::test]
async fn tokens_may_not_change_often_on_one_connection() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    let tokens = [lab.provider_token(2), lab.provider_token(1)].map(|it| format!("bearer {it}"));
    let mut statuses = Vec::new();
    for token in [&tokens[0], &tokens[1], &tokens[0]] {
        statuses.push(refused(&mut client, &lab, &[("authorization", token)], ALERT).await);
    }
    assert_eq!(statuses[1], (429, "TooManyProviderTokenUpdates".to_owned()));
    assert_eq!((statuses[0].0, statuses[2].0), (200, 200));
    let mut other = lab.client(Listener::Apns).await;
    assert_eq!(
        refused(&mut other, &lab, &[("authorization", &tokens[1])], ALERT)
            .await
            .0,
        200
    );

    let lab = Lab::with(Options {
        provider_token_pace: Duration::ZERO,
        ..Options::default()
    })
    .await;
    let mut client = lab.client(Listener::Apns).await;
    for age in [2, 1] {
        let token = format!("bearer {}", lab.provider_token(age));
        assert_eq!(
            refused(&mut client, &lab, &[("authorization", &token)], ALERT).await.0,
            200
        );
    }
}

#[tokio::test]
async fn a_token_belongs_to_one_app_and_environment_and_can_be_gone() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    let other = [("apns-topic", APPS[1])];
    assert_eq!(refused(&mut client, &lab, &[], ALERT).await.0, 200);
    let answered = refused(&mut client, &lab, &other, ALERT).await;
    assert_eq!(answered, (400, "DeviceTokenNotForTopic".to_owned()));
    let mut sandbox = lab.client(Listener::ApnsSandbox).await;
    let answered = refused(&mut sandbox, &lab, &[], ALERT).await;
    assert_eq!(answered, (400, "BadDeviceToken".to_owned()));
    lab.fake.know(TOKEN, APPS[1], true);
    assert_eq!(refused(&mut sandbox, &lab, &other, ALERT).await.0, 200);

    let since = Timestamp::from_millis(1_795_000_000_007);
    lab.fake.uninstall(TOKEN, since);
    let reply = client.apns(&lab, &[], ALERT).await;
    assert_eq!(reply.status, 410);
    let gone: Value = json!({"reason": "Unregistered", "timestamp": 1_795_000_000_007_i64});
    assert_eq!(reply.json(), gone);
    assert_eq!(lab.fake.counters().apns.gone, 1);
    lab.fake.forget(TOKEN);
    assert_eq!(refused(&mut client, &lab, &[], ALERT).await.0, 200);
}
