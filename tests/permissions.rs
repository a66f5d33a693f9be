//! Who may say what on NATS: each service what it needs, and nothing else. The permissions are those of every deployment
//! (`deploy/nats/permissions.conf`); all other tests run under them, too.

use std::collections::BTreeSet;

use bus::subjects;
use bus::{Lane, streams};
use protocol::push::Platform;
use protocol::rpc::ReceiptKind;
use protocol::{ConversationId, UserId};
use serde_json::json;

use crate::harness::{Broker, Deployment, Nats, Phone, RawNats, USERS, nats_password, permissions, until};

const C: &str = "connection";
const M: &str = "message";
const P: &str = "presence";
const H: &str = "push";

/// A subject, and the services that may publish or subscribe to it.
type Row = (String, Vec<&'static str>);

fn row(subject: impl Into<String>, may: &[&'static str]) -> Row {
    (subject.into(), may.to_vec())
}

fn someone() -> (ConversationId, UserId) {
    let id = ConversationId::parse("g00000000000000000000000000000000").unwrap();
    (id, UserId::parse("a.b *").unwrap())
}

/// Requests of one service to another.
fn requests() -> Vec<Row> {
    let asks = |service: &str, endpoints: &[&str], by: &[&'static str]| -> Vec<Row> {
        let endpoint = |it: &&str| row(subjects::endpoint(service, it), by);
        endpoints.iter().map(endpoint).collect()
    };
    [
        asks(
            "message",
            &["send", "send.many", "confirm.many", "create", "change", "room"],
            &[C],
        ),
        asks(
            "message",
            &["conversation", "conversations", "history", "members"],
            &[C],
        ),
        asks("message", &["audience", "unread"], &[H]),
        asks("presence", &["look", "status"], &[C]),
        asks("presence", &["sessions"], &[H]),
        asks("push", &["fates"], &[M]),
        asks("push", &["register", "devices", "remove", "info"], &[C]),
        asks("push", &["notifications", "conversation_notifications"], &[C]),
    ]
    .concat()
}

/// What services publish of their own.
fn told() -> Vec<Row> {
    let (id, user) = someone();
    vec![
        row(subjects::log(&id, 256).1, &[M]),
        row(subjects::receipt(&id, &user, ReceiptKind::Read), &[M]),
        row(subjects::membership(&user, &id), &[M]),
        row("$KV.PARLEY.partitions", &[M]),
        row("$KV.PARLEY.directory", &[M]),
        row(format!("$KV.PRESENCE.{}", subjects::status_key(&user)), &[P]),
        row(format!("$KV.PRESENCE.{}", subjects::node_key("n1")), &[P]),
        row(format!("$KV.PRESENCE.{}", subjects::seen_key(&user)), &[P]),
        row(subjects::TYPING_SIGNALS, &[C]),
        row(subjects::PRESENCE_SIGNALS, &[P]),
        row(subjects::PRESENCE_HELLO, &[P]),
        row(subjects::PRESENCE_READY, &[P]),
        row(subjects::presence_report("n1"), &[C]),
        row(subjects::presence_snapshot("n1"), &[P]),
        row(subjects::presence_replica("r1"), &[P]),
        row(subjects::device(&user, "phone 1"), &[H]),
        row(subjects::token("abc"), &[H]),
        row(subjects::notifications(&user), &[H]),
        row(subjects::conversation_notifications(&user, &id), &[H]),
        row(subjects::confirmed(&user, "phone 1", &id), &[C]),
        row(subjects::push_job(Platform::Apns, "org.example.app"), &[H]),
        row(subjects::push_dead(Platform::Apns, "org.example.app"), &[H]),
        row(subjects::push_record(&id, 7), &[H]),
        row("chat.leaving.message", &[M]),
        row("chat.leaving.presence", &[P]),
        row("chat.leaving.push", &[H]),
        row("chat.leaving.connection", &[]),
        row("_INBOX_connection.1.2", &[M, P, H]),
        row("_INBOX_message.1.2", &[C, H]),
        row("chat.timeline.handed", &[M]),
        row("_INBOX_presence.1.2.3", &[C]),
        row("_INBOX_push.1.2", &[M, P]),
        row("_INBOX.1.2", &[M, P, H]),
        row("$SRV.PING", &[]),
        row("$SYS.REQ.SERVER.PING", &[]),
        row("$SYS.REQ.USER.INFO", &[]),
        row("something.else", &[]),
    ]
}

/// The streams of a deployment by name.
fn all_streams() -> Vec<String> {
    let stream = config::Stream {
        partitions: 1,
        ..config::Stream::default()
    };
    let log = streams::declared(&stream).into_iter();
    let push = streams::declared_push(&stream, &config::Push::default()).into_iter();
    let buckets = [subjects::SETTINGS_BUCKET, subjects::PRESENCE_BUCKET].map(|it| format!("KV_{it}"));
    // The last partition that may be configured, beside the first.
    log.chain(push)
        .map(|it| it.name)
        .chain(buckets)
        .chain([Lane::Chat(255).stream()])
        .collect()
}

/// What may be asked of JetStream about one stream.
fn stream_requests(stream: &str) -> Vec<Row> {
    struct Rights {
        owner: &'static str,
        info: &'static [&'static str],
        read: &'static [&'static str],
        from_leader: Option<&'static [&'static str]>,
        tail: &'static [&'static str],
        unnamed: &'static [&'static str],
        projector: &'static [&'static str],
        push: &'static [&'static str],
    }
    let rights = |owner, info, read| Rights {
        owner,
        info,
        read,
        from_leader: None,
        tail: &[],
        unnamed: &[],
        projector: &[],
        push: &[],
    };
    let rights = match stream {
        "CHAT_0" | "CHAT_255" | "RECEIPTS" => Rights {
            tail: &[C],
            projector: &[M],
            push: &[H],
            ..rights(M, &[C, M, H], if stream == "RECEIPTS" { &[C, M, H] } else { &[C, M] })
        },
        "MEMBERS" => rights(M, &[C, M, H], &[C, M]),
        "KV_PARLEY" => rights(M, &[C, M, H], &[M]),
        "KV_PRESENCE" => Rights {
            unnamed: &[P],
            from_leader: Some(&[P]),
            ..rights(P, &[P], &[P, M])
        },
        "DEVICES" | "PUSH_RECORDS" => Rights {
            push: &[H],
            ..rights(H, &[H], &[H])
        },
        "PUSH_JOBS" | "PUSH_DEAD" => Rights {
            push: &[H],
            ..rights(H, &[H], &[])
        },
        other => panic!("say here who may do what with the stream {other}"),
    };
    let api = |what: &str, may: &[&'static str]| row(format!("$JS.API.{what}"), may);
    let named = |what: &str, may: &[&'static str]| api(&what.replace("STREAM_NAME", stream), may);
    let forbidden = [
        "STREAM.DELETE.STREAM_NAME",
        "STREAM.PURGE.STREAM_NAME",
        "STREAM.SNAPSHOT.STREAM_NAME",
        "STREAM.RESTORE.STREAM_NAME",
        "STREAM.MSG.DELETE.STREAM_NAME",
        "STREAM.LEADER.STEPDOWN.STREAM_NAME",
        "STREAM.PEER.REMOVE.STREAM_NAME",
        "CONSUMER.LIST.STREAM_NAME",
        "CONSUMER.NAMES.STREAM_NAME",
        "CONSUMER.DELETE.STREAM_NAME.projector",
        "CONSUMER.DELETE.STREAM_NAME.push",
        "CONSUMER.DURABLE.CREATE.STREAM_NAME.projector",
        "CONSUMER.DURABLE.CREATE.STREAM_NAME.other",
        "CONSUMER.PAUSE.STREAM_NAME.projector",
        "CONSUMER.RESET.STREAM_NAME.projector",
    ];
    let mut rows = forbidden.map(|it| named(it, &[])).to_vec();
    rows.extend([
        named("STREAM.INFO.STREAM_NAME", rights.info),
        named("STREAM.CREATE.STREAM_NAME", &[rights.owner]),
        named("STREAM.UPDATE.STREAM_NAME", &[rights.owner]),
        named("DIRECT.GET.STREAM_NAME", rights.read),
        // From the leader instead of any copy.
        named("STREAM.MSG.GET.STREAM_NAME", rights.from_leader.unwrap_or(rights.read)),
        // Without a name in the subject NATS takes the one in the request, and makes another's consumer into this.
        named("CONSUMER.CREATE.STREAM_NAME", rights.unnamed),
        named("CONSUMER.CREATE.STREAM_NAME.tail-x", rights.tail),
        named("CONSUMER.CREATE.STREAM_NAME.projector", rights.projector),
        named("CONSUMER.CREATE.STREAM_NAME.push", rights.push),
    ]);
    rows
}

/// What may be asked of JetStream about entries and consumers.
fn consumer_requests() -> Vec<Row> {
    let (id, user) = someone();
    let (lane, log) = subjects::log(&id, 256);
    let get =
        |stream: &str, subject: &str, may: &[&'static str]| row(format!("$JS.API.DIRECT.GET.{stream}.{subject}"), may);
    let mut rows = vec![
        row("$JS.API.INFO", &[M, P]),
        row("$JS.API.STREAM.NAMES", &[]),
        row("$JS.API.STREAM.LIST", &[]),
        row("$JS.API.SERVER.REMOVE", &[]),
        row("$JS.API.ACCOUNT.PURGE.PARLEY", &[]),
        row("$JS.API.META.LEADER.STEPDOWN", &[]),
        get(&lane.stream(), &log, &[M]),
        get("RECEIPTS", &subjects::receipt(&id, &user, ReceiptKind::Read), &[M]),
        get("MEMBERS", &subjects::membership(&user, &id), &[C, M]),
        get("KV_PARLEY", "$KV.PARLEY.partitions", &[C, M, H]),
        get("KV_PRESENCE", "$KV.PRESENCE.seen.ann", &[]),
        get("DEVICES", &subjects::device(&user, "phone"), &[H]),
        get("DEVICES", &subjects::token("abc"), &[H]),
        get("PUSH_RECORDS", &subjects::push_record(&id, 7), &[]),
        row("$JS.FC.CHAT_0.x.y", &[C]),
        row("$JS.FC.KV_PRESENCE.x.y", &[P]),
        row("$JS.API.CONSUMER.CREATE.RECEIPTS.push.chat.receipt.*.*.read", &[H]),
        row("$JS.API.CONSUMER.CREATE.PUSH_JOBS.apns_x.push.job.apns.x", &[H]),
        row("$JS.API.CONSUMER.INFO.PUSH_JOBS.apns_x", &[H]),
        row("$JS.API.CONSUMER.MSG.NEXT.PUSH_JOBS.apns_x", &[H]),
        row("$JS.ACK.PUSH_JOBS.apns_x.1.2.3.4.0", &[H]),
    ];
    for stream in ["CHAT_0", "CHAT_255", "RECEIPTS"] {
        for (consumer, service) in [("projector", M), ("push", H)] {
            rows.extend([
                row(format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}"), &[service]),
                row(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"), &[service]),
                row(format!("$JS.ACK.{stream}.{consumer}.1.2.3.4.0"), &[service]),
            ]);
        }
    }
    rows
}

fn published() -> Vec<Row> {
    let of_streams = all_streams().iter().flat_map(|it| stream_requests(it)).collect();
    [requests(), told(), of_streams, consumer_requests()].concat()
}

fn subscribed() -> Vec<Row> {
    let mut rows = vec![
        row("_INBOX_connection.1", &[C]),
        row("_INBOX_message.1", &[M]),
        row("_INBOX_presence.1", &[P]),
        row("_INBOX_push.1", &[H]),
        row("_INBOX.>", &[]),
        row(">", &[]),
        row("chat.>", &[]),
        row("chat.log.>", &[]),
        row("chat.receipt.>", &[]),
        row("chat.member.>", &[]),
        row("$JS.>", &[]),
        row("$JS.API.>", &[]),
        row("$JS.EVENT.>", &[]),
        row("$KV.>", &[]),
        row("$KV.PRESENCE.>", &[]),
        row("$SYS.>", &[]),
        row("push.confirmed.>", &[]),
        row("push.token.>", &[]),
        row(subjects::PUSH_JOBS_WILDCARD, &[]),
        row(subjects::PUSH_RECORDS_WILDCARD, &[]),
        row(subjects::TYPING_SIGNALS, &[P]),
        row(subjects::PRESENCE_SIGNALS, &[C, P]),
        row(subjects::PRESENCE_HELLO, &[C]),
        row(subjects::PRESENCE_READY, &[C]),
        row(subjects::PRESENCE_REPORTS, &[P]),
        row(subjects::PRESENCE_REPLICAS, &[P]),
        row(subjects::presence_snapshot("n1"), &[C]),
        row("chat.leaving.*", &[C, M, P, H]),
        row("chat.timeline.handed", &[C]),
    ];
    rows.extend(subjects::DEVICE_CHANGES.map(|it| row(it, &[H])));
    for service in [M, P, H] {
        rows.push(row(subjects::endpoint(service, "any"), &[service]));
        for verb in ["PING", "INFO", "STATS"] {
            rows.push(row(format!("$SRV.{verb}.parley-{service}"), &[service]));
            rows.push(row(format!("$SRV.{verb}.parley-{service}.1"), &[service]));
        }
    }
    rows.extend(["PING", "INFO", "STATS"].map(|verb| row(format!("$SRV.{verb}"), &[M, P, H])));
    rows
}

#[tokio::test]
async fn each_service_may_say_and_hear_what_it_needs_and_nothing_else() {
    let nats = Nats::plain().await;
    let mut wrong = Vec::new();
    for user in USERS {
        let mut client = RawNats::log_in(nats.port(), user, &nats_password(user)).await;
        for (subject, may) in published() {
            let expected = user == "operator" || may.contains(&user);
            if client.may_publish(&subject).await != expected {
                wrong.push(format!("{user} publishes to {subject}: expected {expected}"));
            }
        }
        for (subject, may) in subscribed() {
            let expected = user == "operator" || may.contains(&user);
            if client.may_subscribe(&subject).await != expected {
                wrong.push(format!("{user} subscribes to {subject}: expected {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The subjects in quotes that the file allows: user, `publish` or `subscribe`, and pattern.
fn allowed() -> Vec<(String, String, String)> {
    let (mut user, mut direction, mut list) = (String::new(), String::new(), String::new());
    let mut allowed = Vec::new();
    for line in permissions().lines() {
        let line = line.split('#').next().unwrap().trim();
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["user:", name] => user = name.to_owned(),
            ["publish", "{"] | ["subscribe", "{"] => direction = line.trim_end_matches(" {").to_owned(),
            ["allow:", "["] | ["deny:", "["] => list = line.trim_end_matches(": [").to_owned(),
            _ if list == "allow" => {
                let patterns = line.split('"').skip(1).step_by(2);
                allowed.extend(patterns.map(|it| (user.clone(), direction.clone(), it.to_owned())));
            }
            _ => {}
        }
    }
    allowed
}

/// Whether a subject is one that a pattern stands for, token by token.
fn stands_for(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(_)) => {}
            (Some(token), Some(other)) if token == other => {}
            _ => return false,
        }
    }
}

#[test]
fn nothing_is_allowed_that_no_service_needs() {
    let allowed = allowed();
    let users: BTreeSet<&str> = allowed.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(users, BTreeSet::from([C, M, P, H]), "the file was read in full");
    let (published, subscribed) = (published(), subscribed());
    let idle: Vec<_> = allowed
        .iter()
        .filter(|(user, direction, pattern)| {
            let rows = if direction == "publish" {
                &published
            } else {
                &subscribed
            };
            let needs = |row: &Row| row.1.contains(&user.as_str()) && stands_for(pattern, &row.0);
            !rows.iter().any(needs)
        })
        .collect();
    assert!(idle.is_empty(), "{idle:#?}");
}

/// The password in the deployment's own folder.
fn password_in(deployment: &Deployment, user: &str) -> String {
    let file = std::fs::read_to_string(deployment.data().join("nats/passwords.conf")).unwrap();
    let variable = format!("{}_PASSWORD: ", user.to_uppercase());
    let value = file.lines().find_map(|line| line.strip_prefix(&variable)).unwrap();
    value.trim_matches('"').to_owned()
}

async fn as_service(deployment: &Deployment, user: &str) -> async_nats::Client {
    let options = async_nats::ConnectOptions::new()
        .user_and_password(user.to_owned(), password_in(deployment, user))
        .custom_inbox_prefix(format!("_INBOX_{user}"))
        .request_timeout(Some(std::time::Duration::from_secs(2)));
    let address = format!("127.0.0.1:{}", deployment.port("nats"));
    options.connect(address).await.unwrap()
}

#[tokio::test]
async fn the_servers_of_a_deployment_let_a_service_only_do_its_own_work() {
    let deployment = crate::harness::shared().await;
    for (user, subject, may) in [
        (C, "chat.log.0.g00000000000000000000000000000000", false),
        (H, "chat.log.0.g00000000000000000000000000000000", false),
        (P, "chat.member.ann.g00000000000000000000000000000000", false),
        (C, "$JS.API.STREAM.DELETE.CHAT_0", false),
        (H, "$JS.API.CONSUMER.DELETE.CHAT_0.projector", false),
        (P, "$JS.API.DIRECT.GET.DEVICES", false),
        (M, "$KV.PRESENCE.status.ann", false),
        (C, "$JS.API.STREAM.INFO.CHAT_0", true),
    ] {
        let mut client = RawNats::log_in(deployment.port("nats"), user, &password_in(deployment, user)).await;
        assert_eq!(client.may_publish(subject).await, may, "{user} {subject}");
    }
}

#[tokio::test]
async fn a_tail_of_the_log_cannot_be_made_into_the_projection() {
    let deployment = crate::harness::shared().await;
    let connection = as_service(deployment, C).await;
    let before = Broker::of(deployment).await.projector("CHAT_0").await["config"].clone();
    // The name in the subject counts: at most another consumer of its own comes of it.
    for config in [
        json!({"name": "projector", "ack_policy": "explicit", "filter_subject": "chat.log.0.none"}),
        json!({"name": "projector", "durable_name": "projector", "ack_policy": "explicit", "max_ack_pending": 1}),
    ] {
        let body = json!({"stream_name": "CHAT_0", "config": config}).to_string();
        let subject = "$JS.API.CONSUMER.CREATE.CHAT_0.tail-x";
        connection.request(subject, body.into()).await.unwrap();
    }
    assert_eq!(Broker::of(deployment).await.projector("CHAT_0").await["config"], before);
}

/// What a service's `/metrics` counts as denied; none where nothing was.
async fn denied(port: u16) -> u64 {
    let text = reqwest::get(format!("http://127.0.0.1:{port}/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let counts = text
        .lines()
        .filter(|it| it.starts_with("parley_nats_permission_denied_total"));
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test]
async fn services_at_work_are_denied_nothing() {
    const SERVICES: [&str; 4] = ["connection-0", "message-0", "presence-0", "push-0"];
    let phones = Deployment::start()
        .separate()
        .with_phones(fake_push::Options::default())
        .await;
    let deployment = &phones.deployment;
    let room = deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = Phone::apple();
    let at_work = async |text: &str| {
        let socket = ann.connect().await;
        socket.say_patiently(&room.id, text).await;
        until("the push", crate::harness::RING, async || {
            phones.texts(&phone).iter().any(|it| it == text).then_some(())
        })
        .await;
        let listener = bob.connect().await;
        listener.subscribe(&room.id).await;
        listener.send_room("typing:start", &room.id).await;
        let seq = socket.say_patiently(&room.id, text).await["seq"].clone();
        listener.expect_text(text).await;
        listener
            .send(json!({"type": "message:read", "conversation_id": room.id, "seq": seq}))
            .await;
        socket.expect("message:read").await;
        ann.api.history_forwards(&room.id, 50).await;
    };
    bob.register(&phone).await;
    at_work("at first").await;
    let mut sum = 0;
    for name in SERVICES {
        sum += denied(deployment.port(name)).await;
        let old = deployment.kill(name);
        deployment.restarted(name, old).await;
    }
    at_work("once more").await;
    for name in SERVICES {
        sum += denied(deployment.port(name)).await;
    }
    assert_eq!(sum, 0, "subjects denied");
}
