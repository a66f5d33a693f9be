//! Pushes while something breaks: none is lost, none that is expired is sent, and at most what was in flight comes twice.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fake_push::{Answer, Listener, Options, Provider, Rule, Shown};
use nix::sys::signal::Signal;

use crate::harness::{Deployment, Phone, Phones, RING, Start, User, process, until};

/// What was in the hands of a killed process comes again after its time to ack.
const AGAIN: Duration = Duration::from_secs(60);

async fn started(start: Start) -> Phones {
    start
        .env("PARLEY_PUSH__GRACE_MS", "500")
        .env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0")
        .with_phones(Options::default())
        .await
}

/// Ann's group of users with a phone each.
struct Crowd {
    ann: User,
    room: String,
    phones: Vec<Phone>,
}

impl Crowd {
    async fn of(phones: &Phones, count: usize) -> Self {
        let ann = phones.deployment.user("ann").await;
        let users = futures_util::future::join_all((0..count).map(|_| phones.deployment.user("bob"))).await;
        let mut registered = Vec::new();
        for user in &users {
            registered.push(user.iphone().await);
        }
        let ids: Vec<&str> = users.iter().map(|it| it.id.as_str()).collect();
        let room = ann.api.group(&ids).await;
        Self {
            ann,
            room,
            phones: registered,
        }
    }

    async fn say(&self, texts: std::ops::Range<usize>) {
        let client = self.ann.connect().await;
        client
            .say_all(&self.room, texts.map(|it| format!("message {it}")))
            .await;
    }

    /// Waits until every phone has every message, and returns those that came more than once.
    async fn all_arrive(&self, phones: &Phones, messages: usize, patience: Duration) -> Vec<Vec<Shown>> {
        let expected = self.phones.len() * messages;
        let enough = |all: &[Shown]| distinct(all).len() >= expected;
        if phones.fake.wait(patience, enough).await.is_err() {
            let came = distinct(&phones.fake.shown()).len();
            let refused = phones.fake.refused();
            panic!(
                "{came} of {expected} pushes came; refused: {refused:?}; {}",
                phones.deployment.stderr()
            );
        }
        // A second copy would come a moment later.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let all = phones.fake.shown();
        let pushes = distinct(&all);
        assert_eq!(pushes.len(), expected, "nothing else came");
        pushes.into_values().filter(|it| it.len() > 1).collect()
    }
}

/// By device and message.
fn distinct(all: &[Shown]) -> HashMap<(String, String), Vec<Shown>> {
    let mut pushes: HashMap<_, Vec<Shown>> = HashMap::new();
    for shown in all.iter().filter(|it| !it.silent) {
        let message = shown.data["server_id"].to_string();
        pushes
            .entry((shown.token.clone(), message))
            .or_default()
            .push(shown.clone());
    }
    pushes
}

#[tokio::test]
async fn ten_thousand_pushes_survive_the_death_of_a_replica_in_their_midst() {
    let phones = started(Deployment::start().separate().replicas("push=2")).await;
    let crowd = Crowd::of(&phones, 100).await;
    crowd.say(0..100).await;
    phones.fake.wait(RING, |all| all.len() > 1_000).await.unwrap();
    phones.deployment.kill("push-0");
    let at_kill = phones.fake.shown().len();
    let doubled = crowd.all_arrive(&phones, 100, AGAIN * 2).await;
    println!("{at_kill} pushed at the kill, {} came twice", doubled.len());
    assert!(at_kill < 9_000, "the kill was in the midst");
    assert!(
        doubled.len() <= 512,
        "{} came twice: more than were under way",
        doubled.len()
    );
    for pushes in doubled {
        assert_eq!(pushes.len(), 2);
        assert_eq!(pushes[0].collapse_id, pushes[1].collapse_id, "the phone shows one");
        assert_eq!(pushes[0].id, pushes[1].id);
    }
    assert!(phones.fake.refused().is_empty(), "{:?}", phones.fake.refused());
}

#[tokio::test]
async fn a_replica_that_is_restarted_in_their_midst_hands_over_at_once_and_doubles_none() {
    let phones = started(Deployment::start().separate().replicas("push=2")).await;
    let crowd = Crowd::of(&phones, 50).await;
    crowd.say(0..60).await;
    phones.fake.wait(RING, |all| all.len() > 300).await.unwrap();
    process::signal(phones.deployment.pid("push-0"), Signal::SIGTERM);
    let began = Instant::now();
    let doubled = crowd.all_arrive(&phones, 60, AGAIN).await;
    assert!(doubled.is_empty(), "{} came twice", doubled.len());
    // What is handed over need not wait for the time that a killed replica's jobs wait: 25 s.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_kill_within_the_grace_or_a_restart_loses_no_push_and_doubles_none() {
    let phones = started(Deployment::start().separate().env("PARLEY_PUSH__GRACE_MS", "3000")).await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    let _desktop = bob.connect().await;
    ann.api.say(&room.id, "killed").await;
    let old = phones.deployment.kill("push-0");
    phones.deployment.restarted("push-0", old).await;
    let enough = |all: &[Shown]| !all.is_empty();
    phones.fake.wait(AGAIN, enough).await.unwrap();
    assert_eq!(phones.texts(&phone), ["killed"]);
}

#[tokio::test]
async fn a_provider_that_is_down_for_a_minute_gets_all_pushes_later_once() {
    // It does little but wait: it takes no other test's place.
    let phones = started(Deployment::start().beside()).await;
    let crowd = Crowd::of(&phones, 20).await;
    phones.fake.stop_listener(Listener::Apns).await;
    crowd.say(0..10).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    crowd.say(10..20).await;
    phones.fake.start_listener(Listener::Apns).await.unwrap();
    // The pause of what was tried meanwhile has grown with the outage.
    let doubled = crowd.all_arrive(&phones, 20, AGAIN * 2).await;
    assert!(doubled.is_empty(), "{} came twice", doubled.len());
}

#[tokio::test]
async fn what_has_expired_during_an_outage_is_never_sent_and_what_has_not_is() {
    let phones = started(Deployment::start().env("PARLEY_PUSH__TTL", "8s")).await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    phones.fake.stop_listener(Listener::Apns).await;
    let old = ann.api.say(&room.id, "too old").await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    ann.api.say(&room.id, "in time").await;
    phones.fake.start_listener(Listener::Apns).await.unwrap();
    phones.rings(&phone, 1).await;
    let steps = until("the old push to be dropped", RING, async || {
        let steps = phones.reasons(&old, &phone).await;
        (steps.len() == 2).then_some(steps)
    })
    .await;
    assert_eq!(steps, ["queued", "suppressed: expired"]);
    assert_eq!(phones.texts(&phone), ["in time"]);
}

#[tokio::test]
async fn a_push_that_waits_for_its_provider_is_cancelled_when_the_message_is_read() {
    let phones = started(Deployment::start()).await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    phones.fake.stop_listener(Listener::Apns).await;
    let read = ann.api.say(&room.id, "read meanwhile").await;
    until("the push to be queued", RING, async || {
        (!phones.reasons(&read, &phone).await.is_empty()).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let desktop = bob.connect().await;
    desktop
        .send(serde_json::json!({"type": "message:read", "conversation_id": room.id, "seq": read["seq"]}))
        .await;
    desktop.barrier().await;
    desktop.kill().await;
    ann.api.say(&room.id, "unread").await;
    phones.fake.start_listener(Listener::Apns).await.unwrap();
    phones.rings(&phone, 1).await;
    until("the first push to be cancelled", AGAIN, async || {
        let steps = phones.reasons(&read, &phone).await;
        (steps == ["queued", "suppressed: read"]).then_some(())
    })
    .await;
    assert_eq!(phones.texts(&phone), ["unread"]);
}

#[tokio::test]
async fn what_was_tried_too_often_is_a_dead_letter_that_can_be_replayed_once() {
    let phones = started(Deployment::start().env("PARLEY_PUSH__ATTEMPTS", "2")).await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    let rule = Rule::answer(Provider::Apns, Answer::new(429, "TooManyRequests"));
    phones.fake.script(rule.to(&phone.name));
    let sent = ann.api.say(&room.id, "never give up").await;
    let listed = until("the push to be given up", RING, async || {
        let output = phones.deployment.parley(&["push", "dead", "list"]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (!text.is_empty()).then_some(text)
    })
    .await;
    for part in [
        bob.id.as_str(),
        &phone.device,
        sent["server_id"].as_str().unwrap(),
        "2 attempts",
        "TooManyRequests",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    for secret in ["never give up", &phone.name] {
        assert!(!listed.contains(secret), "{listed}");
    }
    // It dies again, and can be replayed again.
    let again = phones.deployment.parley(&["push", "dead", "replay", "--all"]).await;
    assert!(String::from_utf8_lossy(&again.stdout).starts_with("1 queued again"));
    until("the push to be given up again", RING, async || {
        let output = phones.deployment.parley(&["push", "dead", "list"]).await;
        (!output.stdout.is_empty()).then_some(())
    })
    .await;
    phones.fake.clear();
    let replayed = phones.deployment.parley(&["push", "dead", "replay", "--all"]).await;
    let told = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(told.starts_with("1 queued again"), "{told}");
    assert_eq!(phones.rings(&phone, 1).await[0].body.as_deref(), Some("never give up"));
    let again = phones.deployment.parley(&["push", "dead", "replay", "--all"]).await;
    assert!(String::from_utf8_lossy(&again.stdout).starts_with("0 queued again"));
    let steps = phones.reasons(&sent, &phone).await;
    assert_eq!(steps.len(), 4, "{steps:?}");
    assert_eq!(phones.texts(&phone).len(), 1);
}

#[tokio::test]
async fn entries_by_the_thousand_are_written_together_and_none_waits_for_the_others_for_ever() {
    let shared = crate::harness::shared().await;
    let config = config::Nats {
        url: format!("nats://127.0.0.1:{}", shared.port("nats")),
        ..config::Nats::default()
    };
    let bus = bus::Bus::connect(&config, "test").await.unwrap();
    let id = protocol::ConversationId::parse("g00000000000000000000000000000000").unwrap();
    let entry = |number: u64| bus::write::Entry {
        subject: bus::subjects::push_record(&id, number),
        payload: bytes::Bytes::from_static(b"{}"),
        message_id: None,
    };
    // The client lets 5,000 wait for their acks.
    let written = tokio::time::timeout(RING, bus::write::write_all(&bus, (0..6_000).map(entry).collect()));
    let written = written.await.expect("an end");
    assert!(written.iter().all(Result::is_ok));
}

#[tokio::test]
async fn every_decision_is_counted_with_its_reason() {
    let phones = started(Deployment::start().separate()).await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    ann.iphone().await;
    let phone = bob.iphone().await;
    ann.api.say(&room.id, "hello").await;
    phones.rings(&phone, 1).await;
    let metrics = format!("http://127.0.0.1:{}/metrics", phones.deployment.port("push-0"));
    let text = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    let counted = |decision: &str| {
        let label = format!(r#"decision="{decision}""#);
        let mut lines = text.lines().filter(|it| it.starts_with("parley_push_decisions_total"));
        lines.any(|line| line.contains(&label) && line.ends_with(" 1"))
    };
    assert!(counted("pushed") && counted("sender"), "{text}");
}

#[tokio::test]
async fn pushes_go_on_while_mongodb_is_away() {
    let phones = started(Deployment::start()).await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    ann.api.say(&room.id, "before").await;
    phones.rings(&phone, 1).await;
    phones.deployment.pause("mongod");
    let socket = ann.connect().await;
    socket.say(&room.id, "during").await;
    let rung = phones.rings(&phone, 2).await;
    phones.deployment.unpause("mongod");
    let during = rung.iter().find(|it| it.body.as_deref() == Some("during")).unwrap();
    assert_eq!(during.badge, None, "nobody can count: the icon stays as it is");
}

#[tokio::test]
async fn the_death_of_nats_loses_no_push() {
    let phones = started(Deployment::start()).await;
    let crowd = Crowd::of(&phones, 20).await;
    crowd.say(0..10).await;
    let old = phones.deployment.kill("nats");
    phones.deployment.restarted("nats", old).await;
    let doubled = crowd.all_arrive(&phones, 10, AGAIN).await;
    // What was accepted while NATS was dead could not be acked.
    assert!(doubled.len() <= 200, "{} came twice", doubled.len());
}

#[tokio::test]
async fn an_operator_sees_what_phones_show_under_fake_push() {
    let deployment = Deployment::start().arg("--fake-push").launch().await;
    let room = deployment.direct().await;
    let [ann, bob] = &room.users;
    let phone = bob.iphone().await;
    ann.api.say(&room.id, "hello phone").await;
    let told = until("the push to be shown", RING, async || {
        let output = deployment.parley(&["push", "tail", "--once"]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("hello phone").then_some(text)
    })
    .await;
    assert!(told.contains("apns") && told.contains(&phone.name[..8]), "{told}");
    let page = format!("http://127.0.0.1:{}/", deployment.port("fake-push"));
    let html = reqwest::get(page).await.unwrap().text().await.unwrap();
    assert!(html.contains("<html"), "{html}");
}
