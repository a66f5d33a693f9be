//! Who may say what on NATS: each service what it needs, and nothing else. The permissions are those of every deployment
//! (`deploy/nats/permissions.conf`); all other tests run under them, too.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Deployment, Nats, PATIENCE, Phone, RawNats, USERS, nats_password, permissions, until};
use crate::permissions_table::{C, H, M, P, Row, published, subscribed};

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

/// A request of JetStream by a user, and its answer.
async fn ask(nats: &Nats, user: &str, subject: &str, body: &Value) -> Value {
    let options = async_nats::ConnectOptions::new()
        .user_and_password(user.to_owned(), nats_password(user))
        .custom_inbox_prefix(format!("_INBOX_{user}"));
    let client = options.connect(format!("127.0.0.1:{}", nats.port())).await.unwrap();
    let answer = client
        .request(format!("$JS.API.{subject}"), body.to_string().into())
        .await;
    serde_json::from_slice(&answer.unwrap().payload).unwrap()
}

#[tokio::test]
async fn a_tail_of_the_log_cannot_be_made_into_the_projection() {
    let nats = Nats::plain().await;
    let stream = json!({"name": "CHAT_0", "subjects": ["chat.log.0.*"]});
    ask(&nats, M, "STREAM.CREATE.CHAT_0", &stream).await;
    let consumer = |config: Value| json!({"stream_name": "CHAT_0", "config": config});
    let projector = consumer(json!({"durable_name": "projector", "ack_policy": "explicit"}));
    let made = ask(&nats, M, "CONSUMER.CREATE.CHAT_0.projector", &projector).await;
    assert_eq!(made["name"], "projector", "{made}");
    // The name in the subject counts: at most another consumer of its own comes of it.
    for config in [
        json!({"name": "projector", "ack_policy": "explicit", "filter_subject": "chat.log.0.none"}),
        json!({"name": "projector", "ack_policy": "explicit", "max_ack_pending": 1}),
        json!({"durable_name": "projector", "ack_policy": "explicit", "max_ack_pending": 1}),
    ] {
        ask(&nats, C, "CONSUMER.CREATE.CHAT_0.tail-x", &consumer(config)).await;
    }
    let now = ask(&nats, M, "CONSUMER.INFO.CHAT_0.projector", &json!({})).await;
    assert_eq!(now["config"], made["config"]);
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
        .env("PARLEY_PUSH__GRACE_MS", "500")
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
    let ready = async || {
        for name in SERVICES {
            let url = format!("http://127.0.0.1:{}/readyz", deployment.port(name));
            until("all to be ready again", PATIENCE, async || {
                (reqwest::get(&url).await.ok()?.status() == 200).then_some(())
            })
            .await;
        }
    };
    bob.register(&phone).await;
    at_work("at first").await;
    let mut sum = 0;
    for name in SERVICES {
        sum += denied(deployment.port(name)).await;
        let old = deployment.kill(name);
        deployment.restarted(name, old).await;
    }
    ready().await;
    at_work("with others").await;
    let old = deployment.kill("nats");
    deployment.restarted("nats", old).await;
    ready().await;
    at_work("once more").await;
    for name in SERVICES {
        sum += denied(deployment.port(name)).await;
    }
    assert_eq!(sum, 0, "subjects denied");
}
