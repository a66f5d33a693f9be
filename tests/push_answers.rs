//! What providers answer, and what is done about it: nothing is lost, no token is forgotten for our own mistakes, and
//! nobody is hammered.

use std::time::Duration;

use fake_push::{Act, Answer, Options, Provider, Rule};
use serde_json::json;

use crate::harness::{Deployment, Phone, Phones, RING, User, phones, until};

/// A message from Ann to Bob's device.
struct Scene {
    phones: &'static Phones,
    phone: Phone,
    ann: User,
    bob: User,
    room: String,
}

impl Scene {
    async fn with(phone: impl FnOnce(&Phones) -> Phone) -> Self {
        let phones = phones().await;
        let room = phones.deployment.direct().await;
        let [ann, bob] = room.users;
        let phone = phone(phones);
        bob.register(&phone).await;
        Self {
            phones,
            phone,
            ann,
            bob,
            room: room.id,
        }
    }

    async fn apple() -> Self {
        Self::with(|_| Phone::apple()).await
    }

    async fn google() -> Self {
        Self::with(|_| Phone::google()).await
    }

    async fn browser() -> Self {
        Self::with(Phones::browser).await
    }

    fn provider(&self) -> Provider {
        match self.phone.platform {
            "apns" => Provider::Apns,
            "fcm" => Provider::Fcm,
            _ => Provider::Webpush,
        }
    }

    /// The next requests to this device are answered so.
    fn answers(&self, times: u64, answer: Answer) {
        self.acts(times, Act::Answer(answer));
    }

    fn acts(&self, times: u64, act: Act) {
        let rule = Rule::new(self.provider(), act).to(&self.phone.name).times(times);
        self.phones.fake.script(rule);
    }

    async fn say(&self, text: &str) -> serde_json::Value {
        self.ann.api.say(&self.room, text).await
    }

    /// Requests to this device so far.
    fn tried(&self) -> Vec<fake_push::Seen> {
        let all = self.phones.fake.seen();
        all.into_iter().filter(|it| it.token == self.phone.name).collect()
    }

    async fn is_registered(&self) -> bool {
        let devices = self.bob.api.get("/v1/devices").await.ok()["devices"].clone();
        devices.as_array().is_some_and(|it| !it.is_empty())
    }

    async fn until_forgotten(&self) {
        until("the token to be forgotten", Duration::from_secs(10), async || {
            (!self.is_registered().await).then_some(())
        })
        .await;
    }

    /// The answer is a passing one: the push comes after it, and once.
    async fn comes_after(&self, times: u64, act: Act) {
        self.acts(times, act);
        self.say("patience").await;
        let rung = self.phones.rings(&self.phone, 1).await;
        assert_eq!(rung.len(), 1);
        assert!(self.tried().len() as u64 > times, "{:?}", self.tried());
        assert!(self.is_registered().await);
    }

    /// The answer is a token's end: it is forgotten, and nothing is sent again.
    async fn forgets_after(&self, answer: Answer, says: &str) {
        self.answers(100, answer);
        let sent = self.say("gone").await;
        self.until_forgotten().await;
        let steps = until("the push to be settled", RING, async || {
            let steps = self.phones.reasons(&sent, &self.phone).await;
            (steps.len() == 2).then_some(steps)
        })
        .await;
        assert_eq!(steps[0], "queued");
        assert!(steps[1].starts_with(&format!("gone: {says}")), "{steps:?}");
        assert_eq!(
            self.tried().len(),
            1,
            "a dead token is removed once: {:?}",
            self.tried()
        );
    }

    /// The answer is our mistake with this push alone: a dead letter, and the token stays.
    async fn buries_after(&self, answer: Answer, says: &str) {
        self.answers(1, answer);
        let sent = self.say("never").await;
        let steps = until("the push to be given up", RING, async || {
            let steps = self.phones.reasons(&sent, &self.phone).await;
            (steps.len() == 2).then_some(steps)
        })
        .await;
        assert!(steps[1].starts_with("dead: ") && steps[1].contains(says), "{steps:?}");
        assert!(self.is_registered().await);
        assert_eq!(self.tried().len(), 1);
    }
}

#[tokio::test]
async fn apple_says_bad_device_token() {
    let scene = Scene::apple().await;
    scene
        .forgets_after(Answer::new(400, "BadDeviceToken"), "BadDeviceToken")
        .await;
}

#[tokio::test]
async fn apple_says_unregistered() {
    let scene = Scene::apple().await;
    let answer = Answer::new(410, "Unregistered").since(protocol::Timestamp::now());
    // The token was registered before that.
    scene.forgets_after(answer, "Unregistered").await;
}

#[tokio::test]
async fn apple_says_unregistered_of_a_token_that_was_registered_again_since() {
    let scene = Scene::apple().await;
    let hour_ago = protocol::Timestamp::from_millis(protocol::Timestamp::now().as_millis() - 3_600_000);
    scene.answers(1, Answer::new(410, "Unregistered").since(hour_ago));
    scene.say("still here").await;
    scene.phones.rings(&scene.phone, 1).await;
    assert!(scene.is_registered().await);
}

#[tokio::test]
async fn apple_says_too_many_requests_to_this_device_and_the_others_do_not_wait() {
    let scene = Scene::apple().await;
    let other = scene.bob.iphone().await;
    scene.answers(1, Answer::new(429, "TooManyRequests").after(4));
    scene.say("patience").await;
    scene.phones.rings(&other, 1).await;
    scene.phones.rings(&scene.phone, 1).await;
    let tried = scene.tried();
    let waited = tried[1].at.as_millis() - tried[0].at.as_millis();
    assert!(waited >= 4_000, "Retry-After is obeyed: {waited} ms");
    let others = scene.phones.rung(&other)[0].at.as_millis();
    assert!(others < tried[1].at.as_millis(), "the other device did not wait");
}

#[tokio::test]
async fn apple_says_payload_too_large() {
    let scene = Scene::apple().await;
    scene
        .buries_after(Answer::new(413, "PayloadTooLarge"), "PayloadTooLarge")
        .await;
}

#[tokio::test]
async fn apple_says_goaway() {
    let scene = Scene::apple().await;
    scene.acts(1, Act::GoAway);
    for count in 1..=3 {
        scene.say(&format!("message {count}")).await;
        let rung = scene.phones.rings(&scene.phone, count).await;
        assert_eq!(rung.len(), count);
    }
}

#[tokio::test]
async fn apple_breaks_the_connection() {
    Scene::apple().await.comes_after(1, Act::Reset).await;
}

#[tokio::test]
async fn google_says_unregistered() {
    let scene = Scene::google().await;
    scene
        .forgets_after(Answer::new(404, "UNREGISTERED"), "UNREGISTERED")
        .await;
}

#[tokio::test]
async fn google_says_invalid_argument_of_the_token() {
    let scene = Scene::google().await;
    let body = json!({"error": {"code": 400, "status": "INVALID_ARGUMENT",
        "message": "The registration token is not a valid FCM registration token",
        "details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"},
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "message.token",
                "description": "The registration token is not a valid FCM registration token"}]}]}});
    let answer = Answer::new(400, "INVALID_ARGUMENT").with_body(body);
    scene.forgets_after(answer, "INVALID_ARGUMENT").await;
}

#[tokio::test]
async fn google_says_invalid_argument_of_something_else() {
    let scene = Scene::google().await;
    let body = json!({"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Invalid value at 'message.android.ttl'",
        "details": [{"@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "message.android.ttl", "description": "Invalid value"}]}]}});
    let answer = Answer::new(400, "INVALID_ARGUMENT").with_body(body);
    scene.buries_after(answer, "INVALID_ARGUMENT").await;
}

#[tokio::test]
async fn google_says_sender_id_mismatch() {
    let scene = Scene::google().await;
    scene
        .forgets_after(Answer::new(403, "SENDER_ID_MISMATCH"), "SENDER_ID_MISMATCH")
        .await;
}

#[tokio::test]
async fn google_takes_our_access_token_for_old_once() {
    let scene = Scene::google().await;
    scene.say("with the old token").await;
    scene.phones.rings(&scene.phone, 1).await;
    // A token that Google gave us this moment is not taken for too old.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let before = scene.phones.fake.counters().oauth.accepted;
    scene.phones.fake.revoke_access_tokens();
    scene.say("with a new token").await;
    scene.phones.rings(&scene.phone, 2).await;
    assert!(scene.phones.fake.counters().oauth.accepted > before);
    assert!(scene.is_registered().await);
}

#[tokio::test]
async fn a_browsers_push_service_says_that_the_subscription_is_gone() {
    for status in [404, 410] {
        let scene = Scene::browser().await;
        scene.answers(100, Answer::new(status, "gone"));
        scene.say("gone").await;
        scene.until_forgotten().await;
        assert_eq!(scene.tried().len(), 1);
    }
}

#[tokio::test]
async fn a_browsers_push_service_says_payload_too_large() {
    let scene = Scene::browser().await;
    scene.buries_after(Answer::new(413, "too large"), "413").await;
}

#[tokio::test]
async fn a_browsers_push_service_says_too_many_requests() {
    let scene = Scene::browser().await;
    scene.answers(1, Answer::new(429, "slower").after(2));
    scene.say("patience").await;
    scene.phones.rings(&scene.phone, 1).await;
    let tried = scene.tried();
    assert!(tried[1].at.as_millis() - tried[0].at.as_millis() >= 2_000, "{tried:?}");
}

#[tokio::test]
async fn a_browsers_push_service_that_refuses_one_subscription_serves_the_others() {
    let scene = Scene::browser().await;
    let other = scene.phones.browser();
    scene.bob.register(&other).await;
    scene.answers(3, Answer::new(403, "made with another key"));
    scene.say("to both").await;
    let began = std::time::Instant::now();
    scene.phones.rings(&other, 1).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    scene.phones.rings(&scene.phone, 1).await;
    assert!(scene.is_registered().await);
}

/// A deployment of its own: these answers stop a whole app.
async fn alone() -> (Phones, User, User, String) {
    let phones = Deployment::start()
        .env("PARLEY_PUSH__GRACE_MS", "500")
        .env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0")
        .with_phones(Options::default())
        .await;
    let room = phones.deployment.direct().await;
    let [ann, bob] = room.users;
    (phones, ann, bob, room.id)
}

#[tokio::test]
async fn an_outage_of_one_provider_delays_no_other_and_its_pushes_come_after_it() {
    let (phones, ann, bob, room) = alone().await;
    let (apple, google, browser) = (Phone::apple(), Phone::google(), phones.browser());
    for phone in [&apple, &google, &browser] {
        bob.register(phone).await;
    }
    phones.fake.script(Rule::answer(
        Provider::Apns,
        Answer::new(503, "ServiceUnavailable").after(1),
    ));
    for number in 0..20 {
        ann.api.say(&room, &format!("message {number}")).await;
    }
    for phone in [&google, &browser] {
        phones.rings(phone, 20).await;
    }
    assert!(phones.rung(&apple).is_empty());
    let tried = phones
        .fake
        .seen()
        .iter()
        .filter(|it| it.provider == Provider::Apns)
        .count();
    assert!(tried < 60, "{tried} requests are a storm");
    phones.fake.clear();
    let rung = phones.rings(&apple, 20).await;
    assert_eq!(rung.len(), 20);
}

#[tokio::test]
async fn an_app_that_apple_refuses_delays_no_other_app() {
    let (phones, ann, bob, room) = alone().await;
    let (one, other) = (Phone::apple(), Phone::apple());
    bob.register(&one).await;
    let mut body = other.registration();
    body["app_id"] = json!("org.parley.other");
    bob.api.post("/v1/devices", &body).await.ok();
    phones
        .fake
        .script(Rule::new(Provider::Apns, Act::Silence).to(&one.name));
    for number in 0..30 {
        ann.api.say(&room, &format!("message {number}")).await;
    }
    let began = std::time::Instant::now();
    phones.rings(&other, 30).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(phones.rung(&one).is_empty());
}

#[tokio::test]
async fn a_wrong_key_of_ours_alarms_forgets_nobody_and_does_not_hammer() {
    let (phones, ann, bob, room) = alone().await;
    let phone = bob.iphone().await;
    phones
        .fake
        .script(Rule::answer(Provider::Apns, Answer::new(403, "InvalidProviderToken")));
    for number in 0..200 {
        ann.api.say(&room, &format!("message {number}")).await;
    }
    until("the alarm", RING, async || {
        let log = phones.deployment.stderr();
        (log.contains("ERROR") && log.contains("InvalidProviderToken")).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let tried = phones.fake.seen().len();
    assert!(tried <= 100, "{tried} requests with a wrong key");
    let before = tried;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(phones.fake.seen().len(), before, "nothing more is sent for a while");
    assert_eq!(
        bob.api.get("/v1/devices").await.ok()["devices"][0]["device_id"],
        json!(phone.device)
    );
}

#[tokio::test]
async fn google_is_asked_no_sooner_than_it_wants() {
    let (phones, ann, bob, room) = alone().await;
    for (status, reason) in [(429, "QUOTA_EXCEEDED"), (503, "UNAVAILABLE")] {
        let phone = Phone::google();
        bob.register(&phone).await;
        let rule = Rule::answer(Provider::Fcm, Answer::new(status, reason).after(3)).to(&phone.name);
        phones.fake.script(rule.times(1));
        ann.api.say(&room, reason).await;
        phones.rings(&phone, 1).await;
        let tried: Vec<_> = phones
            .fake
            .seen()
            .into_iter()
            .filter(|it| it.token == phone.name)
            .collect();
        let waited = tried[1].at.as_millis() - tried[0].at.as_millis();
        assert!(waited >= 3_000, "{reason}: {waited} ms");
        let path = format!("/v1/devices/{}", phone.device);
        assert_eq!(bob.api.delete(&path).await.status, 204);
    }
}

#[tokio::test]
async fn a_provider_that_says_nothing_is_asked_again_and_rings_once() {
    let (phones, ann, bob, room) = alone().await;
    let phone = bob.iphone().await;
    phones.fake.script(Rule::new(Provider::Apns, Act::Silence).times(1));
    ann.api.say(&room, "hello?").await;
    let patience = Duration::from_secs(40);
    let name = phone.name.clone();
    let rung = phones
        .fake
        .wait(patience, |all| all.iter().any(|it| it.token == name))
        .await
        .unwrap();
    assert_eq!(rung.len(), 1);
}
