//! The table of the permissions on NATS: subjects as the code builds them, and who may use them. Whoever needs a subject more
//! writes it here and in `deploy/nats/permissions.conf`.

use bus::subjects;
use bus::{Lane, streams};
use protocol::push::Platform;
use protocol::rpc::ReceiptKind;
use protocol::{ConversationId, UserId};

pub const C: &str = "connection";
pub const M: &str = "message";
pub const P: &str = "presence";
pub const H: &str = "push";

/// A subject, and the services that may publish or subscribe to it.
pub type Row = (String, Vec<&'static str>);

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
        "MEMBERS" => Rights {
            from_leader: Some(&[C, M, H]),
            ..rights(M, &[C, M, H], &[C, M])
        },
        "KV_PARLEY" => rights(M, &[C, M, H], &[M]),
        // Nobody else has consumers there, whatever they are called.
        "KV_PRESENCE" => Rights {
            unnamed: &[P],
            tail: &[P],
            projector: &[P],
            push: &[P],
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
        named("CONSUMER.DELETE.STREAM_NAME.projector", rights.unnamed),
        named("CONSUMER.DELETE.STREAM_NAME.push", rights.unnamed),
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

/// What is published: each subject with the services that may.
pub fn published() -> Vec<Row> {
    let of_streams = all_streams().iter().flat_map(|it| stream_requests(it)).collect();
    [requests(), told(), of_streams, consumer_requests()].concat()
}

/// What is subscribed to: each subject with the services that may.
pub fn subscribed() -> Vec<Row> {
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
