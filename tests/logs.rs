//! What the services write about themselves: whole lines of JSON, at a level that can be changed, and never what a client
//! said or holds in secret.

use std::path::Path;
use std::time::Duration;

use fake_push::{Answer, Options, Provider, Rule};
use serde_json::{Value, json};

use crate::harness::{Broker, Client, Deployment, PATIENCE, Phone, Phones, Room, User, client_id, message, until};

/// In everything that nobody may read in a log.
const SECRET: &str = "Xq7zSecretZq7x";
const SERVICES: [&str; 4] = ["connection-0", "message-0", "presence-0", "push-0"];

/// All crates of ours as finely as they can.
fn finest(start: crate::harness::Start) -> crate::harness::Start {
    start
        .separate()
        .env("PARLEY_LOG__LEVEL", "trace")
        .env("PARLEY_LOG__FORMAT", "json")
}

/// A text that may not be found again, for people to know it by.
fn secret(what: &str) -> String {
    format!("{what} {SECRET}")
}

/// All that was written, by file.
fn written(deployment: &Deployment) -> Vec<(String, String)> {
    let mut all = vec![
        ("stderr".to_owned(), deployment.stderr()),
        ("stdout".to_owned(), deployment.stdout()),
    ];
    all.extend(logs(&deployment.data()));
    all
}

/// The logs in a deployment's folder, without those of NATS and MongoDB: they are not ours.
fn logs(data: &Path) -> Vec<(String, String)> {
    let files = std::fs::read_dir(data.join("logs")).into_iter().flatten().flatten();
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    files
        .map(|file| file.path())
        .filter(|path| !["nats", "mongod"].contains(&&*name(path)))
        .map(|path| (name(&path), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

fn assert_without(written: &[(String, String)], secrets: &[String]) {
    for (file, text) in written {
        for secret in secrets {
            let found = text.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(found, None, "{file} holds {secret:?}");
        }
    }
}

/// What clients do, right and wrong, each with a secret in it.
struct Scene {
    phones: Phones,
    room: Room<3>,
    ann: Client,
    bob: Client,
    devices: Vec<Phone>,
    jwts: Vec<String>,
}

impl Scene {
    async fn new() -> Self {
        let start = finest(Deployment::start())
            .env("PARLEY_PUSH__GRACE_MS", "300")
            .env("PARLEY_HTTP__QUERY_TOKEN", "true")
            .env("PARLEY_CONNECTION__SENDS_PER_SECOND", "20");
        let phones = start.with_phones(Options::default()).await;
        let room = phones.deployment.group(["ann", "bob", "cat"]).await;
        let named = phones
            .deployment
            .token_with(&room.users[0].id, &["--name", &secret("name")])
            .await;
        let (ann, bob) = tokio::join!(
            room.users[0].socket().token(&named).first_frame().connect(),
            room.users[1].socket().query_token().connect()
        );
        let mut jwts: Vec<String> = room.users.iter().map(|it| it.token.clone()).collect();
        jwts.push(named);
        Self {
            phones,
            room,
            ann,
            bob,
            devices: Vec::new(),
            jwts,
        }
    }

    fn user(&self, index: usize) -> &User {
        &self.room.users[index]
    }

    async fn what_is_right(&mut self) {
        let id = self.room.id.clone();
        self.user(0).api.rename(&id, &secret("group")).await.ok();
        let cat = self.user(2);
        let devices = [Phone::apple(), Phone::google(), self.phones.browser()];
        for device in &devices {
            cat.register(device).await;
        }
        self.devices.extend(devices);
        let sent = self.ann.say(&id, &secret("body")).await;
        self.bob.expect("conversation:updated").await;
        self.bob.expect_text(&secret("body")).await;
        let read = json!({"type": "message:read", "conversation_id": id, "seq": sent["seq"]});
        self.bob.send(read).await;
        self.bob.subscribe(&id).await;
        self.ann.send_room("typing:start", &id).await;
        self.bob.barrier().await;
        for device in &self.devices {
            self.phones.rings(device, 1).await;
        }
        self.user(1).api.history(&id, "limit=10").await.ok();
    }

    async fn what_is_wrong_on_a_socket(&self) {
        let (id, long) = (self.room.id.as_str(), SECRET.repeat(500));
        for text in [
            format!(r#"{{"type":"message:send","text":"{SECRET}"#),
            format!(r#"{{"type":"{SECRET}"}}"#),
            format!(r#"{{"type":"message:send","client_id":"{SECRET}","conversation_id":"{id}","text":"x"}}"#),
            format!(r#"{{"type":"message:send","text":{{"{SECRET}":"{SECRET}"}}}}"#),
            format!(r#"{{"type":"message:read","conversation_id":"{SECRET}","seq":"{SECRET}"}}"#),
            format!(r#"{{"type":"auth","token":"{SECRET}"}}"#),
            SECRET.to_owned(),
        ] {
            self.ann.send_text(&text).await;
        }
        let foreign = format!("g{}", "0".repeat(32));
        for (conversation, text) in [
            (foreign.as_str(), secret("refused")),
            (SECRET, secret("nowhere")),
            (id, long),
        ] {
            self.ann.send(message(&client_id(), conversation, &text)).await;
        }
        // Past the limit of sends.
        let flood = (0..60).map(|_| message(&client_id(), id, &secret("flood")));
        self.ann.send_at_once(flood).await;
        self.ann.barrier().await;
        // Too large a frame ends the socket.
        let other = self.user(0).connect().await;
        let _ = other.try_send_text(&SECRET.repeat(10_000)).await;
        let forged = format!("eyJhbGciOiJIUzI1NiJ9.{SECRET}.{SECRET}");
        let forger = self.user(0).socket().token(&forged).open().await;
        forger.expect_error("unauthenticated").await;
    }

    async fn what_is_wrong_over_http(&self) {
        let (api, id) = (&self.user(0).api, &self.room.id);
        let forged = api.with_token(&format!("{SECRET}.{SECRET}.{SECRET}"));
        assert_eq!(forged.get("/v1/conversations").await.status, 401);
        for path in [
            "/v1/conversations",
            &format!("/v1/conversations/{id}/messages"),
            "/v1/devices",
        ] {
            let body = format!(r#"{{"type":"{SECRET}","text":{{"a":"{SECRET}"}},"token":"{SECRET}"#);
            assert_eq!(
                api.post_bytes(path, body.clone().into_bytes()).await.status,
                400,
                "{path}"
            );
            assert_eq!(
                api.post_bytes(path, (body + "}").into_bytes()).await.status,
                400,
                "{path}"
            );
        }
        api.get(&format!("/v1/conversations/{SECRET}"))
            .await
            .assert_problem(404, "not_found");
        api.get(&format!("/v1/messages?since={SECRET}")).await;
        api.get(&format!("/v1/conversations?next={SECRET}")).await;
    }

    /// Providers that refuse and fail, services that die in between, and entries that cannot be read.
    async fn what_fails_behind(&mut self) {
        let refused = [
            (Provider::Apns, Answer::new(400, "BadDeviceToken")),
            (Provider::Fcm, Answer::new(503, "UNAVAILABLE")),
            (Provider::Webpush, Answer::new(410, "Gone")),
        ];
        for (provider, answer) in refused {
            self.phones.fake.script(Rule::answer(provider, answer).times(1));
        }
        let id = self.room.id.clone();
        self.user(0)
            .api
            .send(
                &id,
                &json!({"client_id": client_id(), "text": secret("pushed in vain")}),
            )
            .await;
        let broker = Broker::of(&self.phones.deployment).await;
        for stream in broker.log_streams().await {
            let partition = stream.strip_prefix("CHAT_").unwrap();
            for entry in [
                format!(r#"{{"v":1,"state_at":"{SECRET}","frame":{{}}}}"#),
                format!(
                    r#"{{"v":1,"state_at":0,"frame":{{"type":"message:incoming","text":"{SECRET}","seq":"{SECRET}"}}}}"#
                ),
                format!(r#"{{"v":1,"state_at":0,"frame":{{"type":"{SECRET}"}}}}"#),
                SECRET.to_owned(),
            ] {
                let subject = format!("chat.log.{partition}.g{}", "1".repeat(32));
                broker.publish_bytes(subject, entry.into_bytes()).await;
            }
        }
        let wrong = format!(r#"{{"user_id":"{SECRET}","seq":"{SECRET}"}}"#);
        for subject in [
            "chat.rpc.message.send",
            "chat.rpc.message.timeline",
            "chat.rpc.push.register",
            "chat.live.typing",
            "chat.live.presence",
            "chat.presence.report.x",
            "chat.timeline.handed",
            "push.device.dA.dB",
            "push.job.apns.x",
            "push.dead.apns.x",
        ] {
            broker
                .publish_bytes(subject.to_owned(), wrong.clone().into_bytes())
                .await;
        }
        let deployment = &self.phones.deployment;
        let killed = ["message-0", "push-0"].map(|name| (name, deployment.kill(name)));
        self.ann
            .send(message(&client_id(), &id, &secret("while it is away")))
            .await;
        for (name, old) in killed {
            deployment.restarted(name, old).await;
        }
        self.ann.say_patiently(&id, &secret("after it")).await;
        // Apple's and the browser's are gone by now; Google's was refused once.
        let android = self.devices[1].clone();
        until("a push after all that", Duration::from_secs(30), async || {
            let texts = self.phones.texts(&android);
            texts.iter().any(|it| it.contains("after it")).then_some(())
        })
        .await;
    }

    /// All that may not be found.
    fn secrets(&self) -> Vec<String> {
        let mut secrets = vec![SECRET.to_owned()];
        let signature = |jwt: &String| jwt.rsplit('.').next().unwrap().to_owned();
        secrets.extend(self.jwts.iter().map(signature));
        for device in &self.devices {
            secrets.push(device.name.clone());
            for part in ["endpoint", "/keys/p256dh", "/keys/auth"] {
                let value = device.token.pointer(part).or_else(|| device.token.get(part));
                secrets.extend(value.and_then(Value::as_str).map(str::to_owned));
            }
        }
        let key = self.phones.deployment.data().join("auth.key");
        secrets.push(std::fs::read_to_string(key).unwrap().trim().to_owned());
        // Any JWT, also those that are made for Apple and Google; any private key.
        secrets.extend(["eyJ".to_owned(), "PRIVATE KEY".to_owned()]);
        secrets
    }
}

/// One run for all of it: a deployment at the finest level takes a while to start.
#[tokio::test]
async fn a_full_run_at_the_finest_level_writes_whole_lines_and_no_secret() {
    let mut scene = Scene::new().await;
    scene.what_is_right().await;
    scene.what_is_wrong_on_a_socket().await;
    scene.what_is_wrong_over_http().await;
    scene.what_fails_behind().await;
    level_by_the_private_port(&scene.phones.deployment).await;
    let secrets = scene.secrets();
    assert!(
        secrets.len() > 12,
        "the key and every token are among them: {secrets:?}"
    );
    scene
        .phones
        .deployment
        .stop_with(nix::sys::signal::Signal::SIGTERM)
        .await;
    let written = written(&scene.phones.deployment);
    assert_without(&written, &secrets);
    for name in SERVICES {
        let (_, text) = written.iter().find(|(file, _)| file == name).unwrap();
        assert!(text.lines().count() > 3, "{name} says something");
        for line in text.lines() {
            let object = serde_json::from_str::<serde_json::Map<String, Value>>(line);
            let object = object.unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
            for field in ["timestamp", "level", "target", "message"] {
                assert!(object.contains_key(field), "{name}: no {field}: {line}");
            }
        }
    }
}

async fn level_by_the_private_port(deployment: &Deployment) {
    for name in SERVICES {
        let admin = deployment.admin(name);
        assert_eq!(admin.log_level().await.body, json!("trace\n"), "{name}");
        for (filter, query) in [
            ("connection=loud", ""),
            ("", ""),
            ("info", "?for=soon"),
            ("info", "?fro=1m"),
        ] {
            let refused = admin.set_log_level(filter, query).await;
            refused.assert_problem(400, "invalid");
        }
        assert_eq!(
            admin.log_level().await.body,
            json!("trace\n"),
            "{name}: nothing was changed"
        );
        assert_eq!(admin.set_log_level("warn", "").await.body, json!("warn\n"), "{name}");
        let set = admin.set_log_level("info,push=debug", "?for=300ms").await.body;
        let set = set.as_str().unwrap().to_owned();
        assert!(
            set.starts_with("info,push=debug\nuntil ") && set.ends_with(", then trace\n"),
            "{set}"
        );
        until("the level to fall back", PATIENCE, async || {
            (admin.log_level().await.body == json!("trace\n")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn passwords_of_servers_that_are_away_are_in_no_log() {
    let data = std::env::temp_dir().join(format!("parley-passwords-{}", std::process::id()));
    for (name, value) in [("nats", "127.0.0.1:1"), ("mongodb", "127.0.0.1:1/?replicaSet=rs0")] {
        let start = finest(Deployment::start())
            .env("PARLEY_NATS__WAIT", "1s")
            .env("PARLEY_MONGODB__WAIT", "1s")
            .arg(&format!("--{name}"))
            .arg(&format!("{name}://user:{SECRET}@{value}"));
        let refused = start.refused_on(&data, Duration::from_secs(60)).await;
        assert_ne!(refused.code, Some(0));
        let mut written = logs(&data);
        written.push(("stderr".to_owned(), refused.stderr.clone()));
        written.push(("stdout".to_owned(), refused.stdout.clone()));
        assert_without(&written, &[SECRET.to_owned()]);
        std::fs::remove_dir_all(&data).unwrap();
    }
}
