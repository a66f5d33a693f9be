//! The page of metrics, what services declare, and what they show: the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use fake_push::Options;
use serde_json::json;
use telemetry::{Metric, Values};

use crate::harness::metrics::{Shown, declared, services, wrong_with};
use crate::harness::{Client, Deployment, Phones, Sse, client_id, message, until};

/// Looks at lag and queues come every few seconds.
const SOON: Duration = Duration::from_secs(20);

const OF_ALL: &str = "Every service";

const HEAD: &str = "# Metrics

What each service shows at `/metrics` on its private port, in Prometheus' text form. This page is made of the tables that the
code declares (`src/metrics.rs` of each crate); a test compares the two, and another one the page with what a running deployment
shows. `UPDATE_METRICS_PAGE=1 cargo test -p parley --test system the_page_of_metrics` writes it anew.

Names and units follow Prometheus' conventions: base units, `_total` for counters. A label has one of the values named here, or one
for each of something that is bounded by settings and replicas, never by users or conversations. Every counter whose labels' values
are known is there at zero from the start.

**Objectives.** 99.9 % of sends are acked within 250 ms: `parley_send_ack_seconds` below 0.25, of all sends that were acked or
failed (`parley_send_failures_total`). 99.9 % of live deliveries are handed over within 500 ms: `parley_delivery_seconds` below 0.5.
The first is measured by one clock, from reading the frame to handing its ack to the socket. The second is taken between two: a
message is accepted by the clock of the message service and handed over by that of the connection node, so it is as right as they
agree; below zero counts as zero. Every delivery counts, in whichever bucket: none is sampled. What a session is served by replay
(it was away, or its queue was full) is not in it, but in `parley_replayed_events_total`.

**Gaps.** `parley_gaps_detected_total` counts what a node can prove: an event of a conversation that does not follow the one before it
in the same stream, in what it dispatches (`live`) and in what it reads for a replay (`stream`). Behind an entry that this version
cannot read, and where the event before is not in memory, nothing is proven.

The rules for alerts are in `deploy/prometheus/rules.yml`, the dashboards in `deploy/grafana/dashboards`, and what to do about each
alert in [runbooks](runbooks).
";

const QUEUES: &str = "
## Queues

`parley_queue_depth` and `parley_queue_capacity` are looked at when somebody asks.

| queue | service | what waits | at the bound |
|---|---|---|---|
| `send_waiting`, `confirm_waiting` | connection | sends and receipts of a node's sessions that have not gone out | callers wait, until their deadline |
| `send_unanswered`, `confirm_unanswered` | connection | those that are sent and not answered | no more go out |
| `device_confirmations` | connection | what devices have confirmed, to be written down | dropped: a phone may ring for what it has |
| `requests_…`, `requests_…_many` | the one that answers | requests of one endpoint under way | more wait in NATS |
| `presence_writes` | presence | entries to be written into the bucket | the newest are dropped |
| `presence_bucket` | presence | entries read of the bucket and not taken in | reading waits |
| `push_batches` | push | batches of messages that are decided on, most waiting for the grace | no more are taken |
| `push_under_way` | push | pushes at a provider's app, beside the batch that is being fetched | smaller batches are fetched |

What a session has waiting is bounded too (512 events, 512 KiB); past it the session falls behind and goes on from the log:
`parley_sessions_fell_behind_total`.
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    let shared: Vec<&Metric> = declared("connection")
        .into_iter()
        .filter(|it| {
            services()
                .iter()
                .all(|(service, _)| declared(service).iter().any(|other| is_same(other, it)))
        })
        .collect();
    section(&mut page, OF_ALL, &shared);
    for (service, _) in services() {
        let own: Vec<&Metric> = declared(service)
            .into_iter()
            .filter(|it| !shared.iter().any(|other| is_same(other, it)))
            .collect();
        section(&mut page, service, &own);
    }
    page + QUEUES
}

/// With the same values of its labels: what services name alike need not be what all of them show.
fn is_same(one: &Metric, other: &Metric) -> bool {
    one.name == other.name && format!("{:?}", one.labels) == format!("{:?}", other.labels)
}

fn section(page: &mut String, title: &str, metrics: &[&Metric]) {
    let _ = write!(
        page,
        "\n## {title}\n\n| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
    );
    for metric in metrics {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| match label.values {
                Values::Of(values) => format!("`{}`: {}", label.name, values.join(", ")),
                Values::Each(words) => format!("`{}`: each {words}", label.name),
            })
            .collect();
        let (name, kind, unit, help) = (metric.name, metric.kind.as_str(), metric.unit(), metric.help);
        let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {} | {help} |", labels.join("; "));
    }
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md")
}

#[test]
fn the_page_of_metrics_is_what_the_code_declares() {
    let made = page();
    if std::env::var_os("UPDATE_METRICS_PAGE").is_some() {
        std::fs::write(path(), &made).unwrap();
    }
    let written = std::fs::read_to_string(path()).unwrap_or_default();
    let missing: Vec<&str> = made
        .lines()
        .filter(|line| !written.lines().any(|it| it == *line))
        .collect();
    let surplus: Vec<&str> = written
        .lines()
        .filter(|line| !made.lines().any(|it| it == *line))
        .collect();
    assert!(
        made == written,
        "docs/metrics.md is not what the code declares; missing: {missing:#?}, surplus: {surplus:#?}"
    );
}

#[test]
fn names_follow_the_conventions_and_mean_one_thing() {
    let mut known: BTreeMap<&str, &Metric> = BTreeMap::new();
    for (service, tables) in services() {
        let mut own = BTreeSet::new();
        for metric in declared(service) {
            let name = metric.name;
            assert!(own.insert(name), "{service} declares {name} twice");
            assert!(name.starts_with("parley_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind.as_str() == "counter", "{name}");
            let odd = [
                "_ms",
                "_millis",
                "_milliseconds",
                "_minutes",
                "_kib",
                "_mib",
                "_percent",
                "_seconds_total_",
            ];
            assert!(
                !odd.iter().any(|end| name.trim_end_matches("_total").ends_with(end)),
                "{name} is in no base unit"
            );
            let unit_in_label = metric
                .labels
                .iter()
                .any(|it| it.name.ends_with("_seconds") || it.name.ends_with("_ms"));
            assert!(!unit_in_label && metric.help.ends_with('.'), "{name}");
            let other = known.entry(name).or_insert(metric);
            assert_eq!(
                (other.kind, other.help),
                (metric.kind, metric.help),
                "{name} means two things"
            );
        }
        assert!(!tables.is_empty());
    }
}

/// Metrics and services of the page: for each service those of its section, and those of all.
fn on_the_page() -> BTreeMap<&'static str, BTreeSet<String>> {
    let text = std::fs::read_to_string(path()).unwrap();
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut title = String::new();
    for line in text.lines() {
        if let Some(next) = line.strip_prefix("## ") {
            next.clone_into(&mut title);
        } else if let Some(name) = line.strip_prefix("| `").and_then(|it| it.split('`').next()) {
            sections.entry(title.clone()).or_default().insert(name.to_owned());
        }
    }
    let of = |service: &str| -> BTreeSet<String> { sections[OF_ALL].union(&sections[service]).cloned().collect() };
    BTreeMap::from(services().map(|(service, _)| (service, of(service))))
}

/// Something of everything that a deployment does; one socket stays.
async fn live_a_little(phones: &Phones) -> Client {
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    let (ann_socket, stream) = (ann.connect().await, Sse::open(&bob.api, None).await);
    let bob_socket = bob.connect().await;
    let cursor = bob_socket.settled_cursor().await;
    for socket in [&ann_socket, &bob_socket] {
        socket.subscribe(&room.id).await;
    }
    ann_socket.send_room("typing:start", &room.id).await;
    let sent = ann_socket.say(&room.id, "hello").await;
    bob_socket.expect_text("hello").await;
    stream.expect_text("hello").await;
    bob_socket
        .send(json!({"type": "message:read", "conversation_id": room.id, "seq": sent["seq"]}))
        .await;
    bob_socket.send_text("no frame").await;
    bob_socket.expect_error("bad_frame").await;
    bob.api.poll(&cursor, 1_000).await.ok();
    drop((bob_socket, stream));
    let told_anew = bob.socket().resume("no-cursor").open().await;
    told_anew.expect("resync").await;
    told_anew.kill().await;
    ann.api.say(&room.id, "are you there?").await;
    ann.api.history(&room.id, "").await.ok();
    ann.api.post("/v1/conversations", &json!({})).await;
    phones.rings(&phone, 1).await;
    ann_socket.send(message(&client_id(), &room.id, "still here")).await;
    ann_socket
}

#[tokio::test]
async fn what_a_running_deployment_shows_is_what_the_page_says() {
    let start = Deployment::start().separate().env("PARLEY_PUSH__GRACE_MS", "200");
    let phones = start.with_phones(Options::default()).await;
    let _socket = live_a_little(&phones).await;
    for (service, page) in on_the_page() {
        let replica = format!("{service}-0");
        let deadline = Instant::now() + SOON;
        let shown = loop {
            let shown = phones.deployment.metrics(&replica).await;
            let missing: Vec<&String> = page.iter().filter(|it| !shown.names().contains(it.as_str())).collect();
            if missing.is_empty() {
                break shown;
            }
            assert!(
                Instant::now() < deadline,
                "{service} does not show {missing:?}, which its page names"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        compare(service, &page, &shown);
    }
    let node = phones.deployment.metrics("connection-0").await;
    assert!(node.sum("parley_send_ack_seconds_count", &[("transport", "websocket")]) >= 1.0);
    assert!(node.sum("parley_send_ack_seconds_count", &[("transport", "http")]) >= 1.0);
    for transport in ["websocket", "sse"] {
        assert!(
            node.sum("parley_delivery_seconds_count", &[("transport", transport)]) >= 1.0,
            "{transport}"
        );
    }
    assert_eq!(node.sum("parley_gaps_detected_total", &[]), 0.0);
    assert_eq!(node.sum("parley_resyncs_total", &[("reason", "bad_cursor")]), 1.0);
    assert_eq!(node.sum("parley_ready", &[("service", "connection")]), 1.0);
    assert_eq!(node.sum("parley_nats_connections", &[]), 1.0);
    until(
        "each session to be live or catching up, on an open socket",
        SOON,
        async || {
            let node = phones.deployment.metrics("connection-0").await;
            let [live, catching_up, sessions, sockets] = [
                "parley_sessions_live",
                "parley_sessions_catching_up",
                "parley_sessions",
                "parley_connections",
            ]
            .map(|name| node.sum(name, &[]));
            (live >= 1.0 && live + catching_up == sessions && sockets >= sessions).then_some(())
        },
    )
    .await;
}

fn compare(service: &str, page: &BTreeSet<String>, shown: &Shown) {
    let surplus: Vec<&str> = shown.names().into_iter().filter(|it| !page.contains(*it)).collect();
    assert!(
        surplus.is_empty(),
        "{service} shows what its page does not name: {surplus:?}"
    );
    let metrics: BTreeMap<&str, &Metric> = declared(service).into_iter().map(|it| (it.name, it)).collect();
    for (name, labels, _) in &shown.series {
        let metric = metrics[shown.metric_of(name)];
        assert_eq!(wrong_with(metric, labels), None, "{service}");
        assert_eq!(shown.types[metric.name], metric.kind.as_str(), "{}", metric.name);
        assert_eq!(shown.helps[metric.name], metric.help, "{}", metric.name);
    }
}
