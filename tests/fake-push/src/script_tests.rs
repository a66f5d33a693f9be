//! Scripted outages.

use std::io::ErrorKind;
use std::time::Duration;

use protocol::Timestamp;
use serde_json::json;

use crate::testing::{Lab, PATIENCE, TOKEN, path_of};
use crate::{Act, Answer, Listener, Options, Provider, Rule};

const ALERT: &str = r#"{"aps":{"alert":"1"}}"#;

#[tokio::test]
async fn answers_are_played_as_often_as_ordered_and_seen() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    lab.fake
        .script(Rule::answer(Provider::Apns, Answer::new(503, "ServiceUnavailable").after(7)).times(2));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let reply = client.apns(&lab, &[], ALERT).await;
        statuses.push((
            reply.status.as_u16(),
            reply.header("retry-after").to_owned(),
            reply.json()["reason"].clone(),
        ));
    }
    let unavailable = (503, "7".to_owned(), json!("ServiceUnavailable"));
    assert_eq!(statuses[..2], [unavailable.clone(), unavailable]);
    assert_eq!(statuses[2].0, 200);
    let seen: Vec<(Option<u16>, bool)> = lab.fake.seen().iter().map(|it| (it.status, it.scripted)).collect();
    assert_eq!(seen, [(Some(503), true), (Some(503), true), (Some(200), false)]);
    assert_eq!((lab.fake.counters().apns.scripted, lab.fake.refused().len()), (2, 0));
}

#[tokio::test]
async fn a_rule_can_be_for_one_device_until_it_is_cleared() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    let since = Timestamp::from_millis(1_795_000_000_000);
    lab.fake
        .script(Rule::answer(Provider::Apns, Answer::new(410, "Unregistered").since(since)).to(TOKEN));
    lab.fake
        .script(Rule::answer(Provider::Apns, Answer::new(500, "InternalServerError")).to(&"b".repeat(64)));
    for _ in 0..2 {
        let reply = client.apns(&lab, &[], ALERT).await;
        assert_eq!(
            reply.json(),
            json!({"reason": "Unregistered", "timestamp": 1_795_000_000_000_i64})
        );
    }
    lab.fake.clear();
    assert_eq!(client.apns(&lab, &[], ALERT).await.status, 200);
}

#[tokio::test]
async fn every_provider_answers_in_its_own_shape() {
    let lab = Lab::start().await;
    let mut google = lab.client(Listener::Fcm).await;
    lab.fake
        .script(Rule::answer(Provider::Fcm, Answer::new(429, "QUOTA_EXCEEDED").after("60")).to("d"));
    let body = json!({"message": {"token": "d"}}).to_string();
    let reply = google.post("/v1/projects/x/messages:send", &[], body).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, "60"));
    let error = &reply.json()["error"];
    assert_eq!(
        (&error["status"], &error["details"][0]["errorCode"]),
        (&json!("RESOURCE_EXHAUSTED"), &json!("QUOTA_EXCEEDED"))
    );

    lab.fake
        .script(Rule::answer(Provider::Oauth, Answer::new(503, "temporarily_unavailable")).times(1));
    assert_eq!(google.exchange("x").await.json()["error"], "temporarily_unavailable");
    let html = Answer::new(502, "").with_body(json!("<html>Bad Gateway"));
    lab.fake.script(Rule::answer(Provider::Oauth, html));
    assert_eq!(google.exchange("x").await.body, "<html>Bad Gateway");

    let mut browser = lab.client(Listener::Webpush).await;
    lab.fake
        .script(Rule::answer(Provider::Webpush, Answer::new(507, "full")));
    let path = path_of(&lab.fake.subscribe().unwrap());
    assert_eq!(browser.post(&path, &[], "").await.body, "full");
}

#[tokio::test]
async fn a_new_token_is_welcome_after_a_scripted_refusal_of_the_old() {
    let lab = Lab::with(Options::default()).await;
    let mut client = lab.client(Listener::Apns).await;
    let tokens = [2, 1].map(|age| format!("bearer {}", lab.provider_token(age)));
    assert_eq!(
        client.apns(&lab, &[("authorization", &tokens[0])], ALERT).await.status,
        200
    );
    lab.fake
        .script(Rule::answer(Provider::Apns, Answer::new(403, "ExpiredProviderToken")).times(1));
    assert_eq!(
        client.apns(&lab, &[("authorization", &tokens[0])], ALERT).await.status,
        403
    );
    assert_eq!(
        client.apns(&lab, &[("authorization", &tokens[1])], ALERT).await.status,
        200
    );
}

#[tokio::test]
async fn delays_and_silence_are_seen_when_the_request_comes() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    lab.fake.script(
        Rule::new(Provider::Apns, Act::Usual)
            .delay(Duration::from_millis(50))
            .times(1),
    );
    let before = std::time::Instant::now();
    assert_eq!(client.apns(&lab, &[], ALERT).await.status, 200);
    assert!(before.elapsed() >= Duration::from_millis(50));

    lab.fake.script(Rule::new(Provider::Apns, Act::Silence).times(1));
    let mut waiting = client.clone();
    let lab = std::sync::Arc::new(lab);
    let pushing = lab.clone();
    let asked = tokio::spawn(async move { waiting.apns(&pushing, &[], ALERT).await.status });
    let seen = lab.fake.wait_seen(PATIENCE, |seen| seen.len() == 2).await.unwrap();
    assert_eq!((seen[0].status, seen[1].status), (Some(200), None));
    // Others on the same connection are answered.
    assert_eq!(client.apns(&lab, &[], ALERT).await.status, 200);
    assert!(!asked.is_finished());
    asked.abort();
}

#[tokio::test]
async fn a_connection_goes_away_after_its_answers() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    lab.fake.script(Rule::new(Provider::Apns, Act::GoAway).times(1));
    assert_eq!(client.apns(&lab, &[], ALERT).await.status, 200);
    client.end().await;
    assert_eq!(lab.fake.shown().len(), 1);
    let mut client = lab.client(Listener::Apns).await;
    assert_eq!(client.apns(&lab, &[], ALERT).await.status, 200);
}

#[tokio::test]
async fn a_connection_is_closed_or_reset_without_an_answer() {
    let lab = Lab::start().await;
    for act in [Act::Close, Act::Reset] {
        lab.fake.script(Rule::new(Provider::Apns, act.clone()).times(1));
        let mut client = lab.client(Listener::Apns).await;
        let authorization = format!("bearer {}", lab.provider_token(0));
        let headers = [("authorization", authorization.as_str())];
        let path = format!("/3/device/{TOKEN}");
        let error = client.request("POST", &path, &headers, ALERT).await.err().unwrap();
        let error = anyhow::Error::from(error);
        let io = error.chain().find_map(|it| it.downcast_ref::<std::io::Error>());
        // A close may look like a reset too, where the client has sent what was not read any more.
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        let was_reset = io.is_some_and(|it| kinds.contains(&it.kind()));
        assert!(was_reset || act == Act::Close, "{error:#} {io:?}");
        client.end().await;
    }
    assert_eq!(lab.fake.shown().len(), 0);
    assert_eq!(lab.fake.seen().iter().filter(|it| it.status.is_none()).count(), 2);
}

#[test]
fn a_rule_is_short_json() {
    let rule: Rule = serde_json::from_str(r#"{"provider":"apns","times":3,"act":{"answer":{"status":503}}}"#).unwrap();
    let answer = Answer {
        status: 503,
        ..Answer::default()
    };
    assert_eq!(rule, Rule::answer(Provider::Apns, answer).times(3));
    let rule: Rule = serde_json::from_str(r#"{"provider":"fcm","act":"go_away"}"#).unwrap();
    assert_eq!(rule, Rule::new(Provider::Fcm, Act::GoAway));
    assert!(serde_json::from_str::<Rule>(r#"{"provider":"fcm","atc":"silence"}"#).is_err());
}
