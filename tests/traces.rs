//! Traces: one for a message, from the frame that sends it to the provider that is asked to ring.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;

use crate::harness::{Client, Collector, Deployment, Phone, Span, Start, client_id, message};

/// A trace of a client's, sampled.
fn traceparent(flags: &str) -> (String, String) {
    let trace_id = uuid::Uuid::new_v4().simple().to_string();
    let parent = format!("00-{trace_id}-b7ad6b7169203331-{flags}");
    (trace_id, parent)
}

fn with(start: Start, settings: [(&'static str, String); 3]) -> Start {
    settings
        .into_iter()
        .fold(start, |start, (name, value)| start.env(name, &value))
}

async fn send(socket: &Client, room: &str, traceparent: Option<&str>) {
    let id = client_id();
    let mut frame = message(&id, room, "traced");
    if let Some(traceparent) = traceparent {
        frame["traceparent"] = json!(traceparent);
    }
    socket.send(frame).await;
    socket.wait_ack(&id).await;
}

/// The span of a service whose name begins so.
fn find<'a>(spans: &'a [Span], service: &str, name: &str) -> Option<&'a Span> {
    let of = format!("parley-{service}");
    spans.iter().find(|it| it.service == of && it.name.starts_with(name))
}

/// Name and service of a span's ancestors, nearest first.
fn ancestors<'a>(spans: &'a [Span], span: &Span) -> Vec<(&'a str, &'a str)> {
    let parent = |of: &Span| spans.iter().find(|it| it.span_id == of.parent);
    std::iter::successors(parent(span), |it| parent(it))
        .map(|it| (it.service.trim_start_matches("parley-"), it.name.as_str()))
        .collect()
}

const PROVIDERS: [&str; 3] = ["apns", "fcm", "webpush"];

/// The request to a provider, below the attempt to push by it.
fn asked<'a>(spans: &'a [Span], provider: &str) -> Option<&'a Span> {
    let attempt = find(spans, "push", &format!("push to {provider}"))?;
    spans
        .iter()
        .find(|it| it.parent == attempt.span_id && it.name == "POST")
}

#[tokio::test]
async fn one_trace_leads_from_the_frame_through_every_service_to_the_providers_answer() {
    let collector = Collector::start().await;
    let start = Deployment::start()
        .separate()
        .replicas("connection=2")
        .env("PARLEY_PUSH__GRACE_MS", "100");
    let phones = with(start, collector.by_grpc())
        .with_phones(fake_push::Options::default())
        .await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    for other in [Phone::google(), phones.browser()] {
        bob.register(&other).await;
    }
    let (from, to) = (ann.connect_at(0).await, bob.connect_at(1).await);
    let (trace_id, parent) = traceparent("01");
    send(&from, &room.id, Some(&parent)).await;
    to.expect_text("traced").await;
    phones.rings(&phone, 1).await;
    let spans = collector
        .wait("every step", &trace_id, |spans| {
            let wanted = [
                ("connection", "message:send"),
                ("connection", "request message.send"),
                ("message", "message.send"),
                ("message", "publish chat.log"),
                ("message", "project CHAT_"),
                ("message", "insert messages"),
                ("connection", "deliver message:incoming"),
                ("push", "decide on pushes"),
            ];
            let all = wanted
                .iter()
                .all(|(service, name)| find(spans, service, name).is_some());
            let all = all && PROVIDERS.iter().all(|it| asked(spans, it).is_some());
            let nodes = spans.iter().filter(|it| it.name.starts_with("dispatch CHAT_")).count();
            (all && nodes == 2).then(|| spans.to_vec())
        })
        .await;
    let get = |service: &str, name: &str| find(&spans, service, name).unwrap();

    let frame = get("connection", "message:send");
    assert_eq!(
        (frame.parent.as_str(), frame.kind),
        ("b7ad6b7169203331", SpanKind::Server)
    );
    assert_eq!(frame.attribute("parley.conversation_id"), room.id);
    assert_eq!(frame.attribute("user.id"), ann.id);
    let sent = [
        ("message", "publish chat.log"),
        ("message", "message.send"),
        ("connection", "request message.send"),
        ("connection", "message:send"),
    ];
    assert_eq!(ancestors(&spans, get("message", "publish chat.log")), sent[1..]);
    for (service, name) in [("message", "project CHAT_"), ("push", "decide on pushes")] {
        assert_eq!(ancestors(&spans, get(service, name)), sent, "{name}");
    }
    let insert = ancestors(&spans, get("message", "insert messages"));
    assert!(
        insert[0].1.starts_with("project CHAT_") && insert[1..] == sent,
        "{insert:?}"
    );
    let delivered = ancestors(&spans, get("connection", "deliver message:incoming"));
    assert!(
        delivered[0].1.starts_with("dispatch CHAT_") && delivered[1..] == sent,
        "{delivered:?}"
    );
    for provider in PROVIDERS {
        let above = ancestors(&spans, asked(&spans, provider).unwrap());
        assert_eq!(above[1], ("push", "decide on pushes"), "{provider}");
    }

    let request = get("connection", "request message.send");
    assert_eq!(request.attribute("messaging.system"), "nats");
    assert_eq!(request.kind, SpanKind::Client);
    let publish = get("message", "publish chat.log");
    assert_eq!(publish.kind, SpanKind::Producer);
    assert_eq!(publish.attribute("messaging.operation.type"), "send");
    assert!(publish.attribute("messaging.destination.name").starts_with("chat.log."));
    let insert = get("message", "insert messages");
    assert_eq!(
        (insert.kind, insert.attribute("db.system.name")),
        (SpanKind::Client, "mongodb")
    );
    assert_eq!(insert.attribute("db.collection.name"), "messages");
    let post = asked(&spans, "apns").unwrap();
    assert_eq!(post.attribute("http.response.status_code"), "200");
    assert_eq!(
        (post.kind, post.attribute("server.address")),
        (SpanKind::Client, "localhost")
    );
    let decided = &get("push", "decide on pushes").events[0];
    assert_eq!(
        (decided.0.as_str(), decided.1["device.id"].as_str()),
        ("pushed", phone.device.as_str())
    );

    let project = get("message", "project CHAT_");
    assert_eq!(project.kind, SpanKind::Consumer);
    let batch = collector
        .spans()
        .into_iter()
        .find(|it| it.name.ends_with(" batch") && it.links.contains(&(trace_id.clone(), project.span_id.clone())));
    let batch = batch.expect("a batch is a trace of its own, linked with those of its messages");
    assert_ne!(batch.trace_id, trace_id);
    assert_eq!(project.links, [(batch.trace_id, batch.span_id)]);
    for span in collector.spans() {
        let text = format!("{span:?}");
        assert!(
            !text.contains("traced") && !text.contains(&phone.name),
            "a text or a token in {text}"
        );
    }
}

#[tokio::test]
async fn what_is_traced_is_decided_at_the_edge_by_ratio_and_by_the_clients_word() {
    let collector = Collector::start().await;
    let start = Deployment::start()
        .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .env("OTEL_TRACES_SAMPLER_ARG", "0");
    let deployment = with(start, collector.by_http()).launch().await;
    let room = deployment.direct().await;
    let [ann, bob] = &room.users;
    let (from, to) = (ann.connect().await, bob.connect().await);
    let (quiet, unsampled) = traceparent("00");
    let (wanted, sampled) = traceparent("01");
    send(&from, &room.id, None).await;
    send(&from, &room.id, Some(&unsampled)).await;
    send(&from, &room.id, Some(&sampled)).await;
    to.expect_text("traced").await;
    collector
        .wait("the projection", &wanted, |spans| {
            spans.iter().find(|it| it.name.starts_with("project ")).map(drop)
        })
        .await;
    let spans = collector.spans();
    assert!(spans.iter().all(|it| it.trace_id != quiet), "a client's no is a no");
    let frames: Vec<_> = spans.iter().filter(|it| it.name == "message:send").collect();
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert_eq!(frames[0].trace_id, wanted);
}

#[tokio::test]
async fn who_is_served_together_with_a_traced_message_is_not_traced() {
    let collector = Collector::start().await;
    let start = Deployment::start().env("OTEL_TRACES_SAMPLER", "parentbased_always_off");
    let deployment = with(start, collector.by_http()).launch().await;
    let ann = deployment.user("ann").await;
    let mut rooms = Vec::new();
    for _ in 0..10 {
        rooms.push(ann.api.direct(&deployment.user("bob").await.id).await);
    }
    let socket = ann.connect().await;
    let mut wanted = Vec::new();
    for _ in 0..5 {
        let (trace_id, sampled) = traceparent("01");
        let ids: Vec<String> = rooms.iter().map(|_| client_id()).collect();
        let mut frames: Vec<_> = rooms
            .iter()
            .zip(&ids)
            .map(|(room, id)| message(id, room, "traced"))
            .collect();
        frames[5]["traceparent"] = json!(sampled);
        socket.send_at_once(frames).await;
        for id in &ids {
            socket.wait_ack(id).await;
        }
        wanted.push(trace_id);
    }
    for trace_id in &wanted {
        collector
            .wait("the send", trace_id, |spans| {
                spans.iter().find(|it| it.name == "message.send").map(drop)
            })
            .await;
    }
    let served: Vec<_> = collector
        .spans()
        .into_iter()
        .filter(|it| it.name == "message.send")
        .collect();
    assert_eq!(served.len(), wanted.len(), "{served:#?}");
    let linked = served.iter().any(|it| !it.links.is_empty());
    assert!(linked, "none of them came with others: the test shows nothing");
}

#[tokio::test]
async fn a_frame_without_a_context_has_the_upgrades_or_starts_a_trace() {
    let collector = Collector::start().await;
    let deployment = with(Deployment::start(), collector.by_http()).launch().await;
    let room = deployment.direct().await;
    let [ann, bob] = &room.users;
    let (of_upgrade, parent) = traceparent("01");
    let with_one = ann.socket().header("traceparent", &parent).connect().await;
    let without = bob.connect().await;
    send(&with_one, &room.id, None).await;
    send(&without, &room.id, None).await;
    collector
        .wait("the frame below the upgrade", &of_upgrade, |spans| {
            spans.iter().find(|it| it.name == "message:send").map(drop)
        })
        .await;
    let root = crate::harness::until("a trace of its own", Duration::from_secs(20), async || {
        let spans = collector.spans();
        let mut frames = spans.into_iter().filter(|it| it.name == "message:send");
        frames.find(|it| it.attribute("user.id") == bob.id)
    });
    let root = root.await;
    assert_eq!(root.parent, "");
    assert_ne!(root.trace_id, of_upgrade);
}

#[tokio::test]
async fn a_request_over_http_is_traced_to_the_database_and_its_query_is_not_told() {
    let collector = Collector::start().await;
    let deployment = with(Deployment::start(), collector.by_http()).launch().await;
    let room = deployment.direct().await;
    let ann = &room.users[0];
    ann.api.say(&room.id, "traced").await;
    let (trace_id, parent) = traceparent("01");
    let path = format!("/v1/conversations/{}/messages?limit=7&secret=query", room.id);
    let reply = ann.api.get_with(&path, &[("traceparent", &parent)]).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let spans = collector
        .wait("the query", &trace_id, |spans| {
            let query = spans.iter().any(|it| it.attribute("db.system.name") == "mongodb");
            (query
                && spans
                    .iter()
                    .any(|it| it.kind == SpanKind::Server && it.parent == "b7ad6b7169203331"))
            .then(|| spans.to_vec())
        })
        .await;
    let edge = spans.iter().find(|it| it.parent == "b7ad6b7169203331").unwrap();
    assert_eq!(edge.name, "GET /v1/conversations/{id}/messages");
    assert_eq!(edge.attribute("http.response.status_code"), "200");
    assert_eq!(edge.attribute("http.route"), "/v1/conversations/{id}/messages");
    assert!(!format!("{spans:?}").contains("secret=query"));
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up() {
    let nobody = Collector::start().await;
    let settings = nobody.by_grpc();
    drop(nobody);
    let deployment = with(Deployment::start(), settings).launch().await;
    let room = deployment.direct().await;
    let [ann, bob] = &room.users;
    let (from, to) = (ann.connect().await, bob.connect().await);
    for _ in 0..20 {
        send(&from, &room.id, None).await;
        to.expect_text("traced").await;
    }
}
