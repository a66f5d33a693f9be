//! The page and its JSON.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::testing::{Lab, PATIENCE};
use crate::{Act, Listener, Provider, Rule};

const ALERT: &str = r#"{"aps":{"alert":{"title":"<b>","body":"1"}}}"#;

async fn ask(lab: &Lab, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> http::Response<Incoming> {
    let tcp = TcpStream::connect(("127.0.0.1", lab.fake.ports().page)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", format!("localhost:{}", lab.fake.ports().page));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    sender.send_request(request.body(body).unwrap()).await.unwrap()
}

async fn json_of(response: http::Response<Incoming>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap_or_default()
}

async fn get(lab: &Lab, path: &str) -> Value {
    json_of(ask(lab, "GET", path, &[], "").await).await
}

#[tokio::test]
async fn the_page_is_whole_and_only_for_this_machine() {
    let lab = Lab::start().await;
    let response = ask(&lab, "GET", "/", &[], "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(
        response.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("default-src 'none'")
    );
    let html = response.into_body().collect().await.unwrap().to_bytes();
    let html = std::str::from_utf8(&html).unwrap();
    assert!(html.contains("EventSource('/events?newest=200')"));
    for way_in in [
        "innerHTML",
        "insertAdjacentHTML",
        "document.write",
        "http://",
        "https://",
    ] {
        assert!(!html.contains(way_in), "{way_in}");
    }
    let foreign = ask(&lab, "GET", "/shown", &[("host", "evil.example:80")], "").await;
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        ask(&lab, "PUT", "/script", &[], "").await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        ask(&lab, "GET", "/other", &[], "").await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn pushes_are_listed_and_waited_for() {
    let lab = Lab::start().await;
    assert_eq!(get(&lab, "/shown").await, json!({"shown": [], "next": 0}));
    let mut client = lab.client(Listener::Apns).await;
    let (listed, reply) = tokio::join!(get(&lab, "/shown?after=0&wait_ms=10000"), client.apns(&lab, &[], ALERT));
    assert_eq!(reply.status, 200);
    assert_eq!(
        (&listed["next"], &listed["shown"][0]["title"]),
        (&json!(1), &json!("<b>"))
    );
    assert_eq!(listed["shown"][0]["provider"], "apns");
    assert_eq!(get(&lab, "/shown?after=1").await, json!({"shown": [], "next": 1}));
    assert_eq!(get(&lab, "/shown?after=1&wait_ms=1").await["next"], 1);
    // A number of before a restart.
    assert_eq!(get(&lab, "/shown?after=77").await["next"], 1);
    assert_eq!(get(&lab, "/counters").await["apns"]["accepted"], 1);
}

#[tokio::test]
async fn pushes_come_as_events_and_go_on_where_they_stopped() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Apns).await;
    for _ in 0..2 {
        client.apns(&lab, &[], ALERT).await;
    }
    let first = |response: http::Response<Incoming>| async {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        let frame = tokio::time::timeout(PATIENCE, body.frame())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    let text = first(ask(&lab, "GET", "/events", &[], "").await).await;
    assert!(
        text.starts_with("id: 1\ndata: {") && text.contains("\n\nid: 2\n"),
        "{text}"
    );
    let text = first(ask(&lab, "GET", "/events?newest=1", &[], "").await).await;
    assert!(text.starts_with("id: 2\n"), "{text}");
    let stream = ask(&lab, "GET", "/events?newest=1", &[("last-event-id", "2")], "").await;
    let (text, _) = tokio::join!(first(stream), client.apns(&lab, &[], ALERT));
    assert!(text.starts_with("id: 3\n"), "{text}");
}

#[tokio::test]
async fn people_play_outages_and_subscribe() {
    let lab = Lab::start().await;
    let json_type = [("content-type", "application/json")];
    let rule = r#"{"provider": "apns", "times": 1, "act": "silence"}"#;
    assert_eq!(
        ask(&lab, "POST", "/script", &[], rule).await.status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(
        ask(&lab, "POST", "/script", &json_type, "{}").await.status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        ask(&lab, "POST", "/script", &json_type, rule).await.status(),
        StatusCode::CREATED
    );
    let rules = get(&lab, "/script").await;
    let expected = Rule::new(Provider::Apns, Act::Silence).times(1);
    assert_eq!(rules, json!([expected]));
    assert_eq!(
        ask(&lab, "DELETE", "/script", &[], "").await.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(get(&lab, "/script").await, json!([]));

    let subscription = json_of(ask(&lab, "POST", "/webpush/subscriptions", &[], "").await).await;
    let origin = format!("https://localhost:{}/push/", lab.fake.ports().webpush);
    assert!(subscription["endpoint"].as_str().unwrap().starts_with(&origin));
    assert_eq!(subscription["keys"]["auth"].as_str().unwrap().len(), 22);
}

#[tokio::test]
async fn stopping_ends_an_event_stream() {
    let lab = Lab::start().await;
    let mut body = ask(&lab, "GET", "/events", &[], "").await.into_body();
    tokio::time::timeout(Duration::from_secs(5), lab.fake.stop())
        .await
        .unwrap();
    let ended = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
    assert!(ended.is_none_or(|it| it.is_err()));
}
