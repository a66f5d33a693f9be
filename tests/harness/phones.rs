//! Phones and browsers: a deployment whose push providers are played in this process.

use std::sync::LazyLock;
use std::time::Duration;

use fake_push::{FakePush, Options, Recording, Shown, TokenUri};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use super::api::Reply;
use super::deployment::Deployment;
use super::people::User;
use super::start::{Start, new_root};

/// A push comes within this: the grace, and a busy machine.
pub const RING: Duration = Duration::from_secs(20);

/// The grace of the shared deployment: long enough to do something within it on a busy machine.
pub const GRACE: Duration = Duration::from_millis(2_500);

/// Outlives every test: the providers of the shared deployment are played on it.
static STAGE: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
});

/// A deployment and its providers.
pub struct Phones {
    pub deployment: Deployment,
    pub fake: FakePush,
}

/// A device that can be pushed to.
#[derive(Debug, Clone)]
pub struct Phone {
    pub device: String,
    pub platform: &'static str,
    pub token: Value,
    /// As the provider names it: the token, or the id of the subscription.
    pub name: String,
}

impl Phone {
    /// An iPhone.
    pub fn apple() -> Self {
        let token = format!("{0}{0}", uuid::Uuid::new_v4().simple());
        Self::with("apns", json!(token), token)
    }

    /// An Android phone.
    pub fn google() -> Self {
        let token = format!("{0}:{0}", uuid::Uuid::new_v4().simple());
        Self::with("fcm", json!(token), token)
    }

    fn with(platform: &'static str, token: Value, name: String) -> Self {
        Self {
            device: format!("device-{}", uuid::Uuid::new_v4().simple()),
            platform,
            token,
            name,
        }
    }

    /// Body of its registration.
    pub fn registration(&self) -> Value {
        json!({"device_id": self.device, "platform": self.platform, "token": self.token})
    }
}

impl User {
    /// Registers a device.
    pub async fn register(&self, phone: &Phone) -> Reply {
        let reply = self.api.post("/v1/devices", &phone.registration()).await;
        assert!(matches!(reply.status, 200 | 201), "{} {}", reply.status, reply.body);
        reply
    }

    /// A new iPhone of the user's, registered.
    pub async fn iphone(&self) -> Phone {
        let phone = Phone::apple();
        self.register(&phone).await;
        phone
    }
}

impl Start {
    /// Starts it with providers that are played here.
    pub async fn with_phones(self, options: Options) -> Phones {
        let folder = new_root();
        let options = Options {
            token_uri: TokenUri::Tls,
            ..options
        };
        let fake = STAGE.spawn(async move { FakePush::start(&folder, options).await });
        let fake = fake.await.expect("the stage stands").expect("the providers play");
        let mut start = self.env("SSL_CERT_FILE", &fake.ca_file().display().to_string());
        for (name, value) in fake.settings() {
            start.set_env(&name, &value);
        }
        Phones {
            deployment: start.launch().await,
            fake,
        }
    }
}

impl Phones {
    /// Waits for so many pushes to a device, and returns those that show something.
    pub async fn rings(&self, phone: &Phone, count: usize) -> Vec<Shown> {
        let name = phone.name.clone();
        let is_ring = move |it: &Shown| it.token == name && !it.silent;
        let enough = |all: &[Shown]| all.iter().filter(|it| is_ring(it)).count() >= count;
        if let Err(missed) = self.fake.wait(RING, enough).await {
            panic!(
                "{count} pushes should have come to {phone:?}: {missed}; refused: {:?}",
                self.fake.refused()
            );
        }
        self.rung(phone)
    }

    /// The pushes to a device so far that show something.
    pub fn rung(&self, phone: &Phone) -> Vec<Shown> {
        let all = self.fake.shown_to(&phone.name);
        all.into_iter().filter(|it| !it.silent).collect()
    }

    /// The texts of them.
    pub fn texts(&self, phone: &Phone) -> Vec<String> {
        self.rung(phone).into_iter().filter_map(|it| it.body).collect()
    }

    /// A browser.
    pub fn browser(&self) -> Phone {
        let subscription = self.fake.subscribe().expect("a subscription");
        let endpoint = subscription["endpoint"].as_str().expect("an endpoint").to_owned();
        let name = endpoint.rsplit('/').next().expect("an id").to_owned();
        Phone::with("webpush", subscription, name)
    }

    /// Asserts that a device got nothing of what was sent before this.
    pub async fn assert_silent(&self, phone: &Phone) {
        self.assert_silent_but(phone, 0).await;
    }

    /// Asserts that a device got no more than so many pushes of what was sent before this: another device of the same
    /// deployment gets something that was sent after it, and a whole grace later.
    pub async fn assert_silent_but(&self, phone: &Phone, count: usize) {
        let room = self.deployment.direct().await;
        let [ann, bob] = &room.users;
        let witness = bob.iphone().await;
        tokio::time::sleep(GRACE).await;
        ann.api.say(&room.id, "witness").await;
        self.rings(&witness, 1).await;
        let rung = self.rung(phone);
        assert_eq!(rung.len(), count, "{phone:?} should not have been pushed: {rung:?}");
    }

    /// What was decided of a message for a device and what came of it, as `parley push decisions` tells.
    pub async fn reasons(&self, message: &Value, phone: &Phone) -> Vec<String> {
        let id = message["server_id"].as_str().expect("a message");
        let output = self.deployment.parley(&["push", "decisions", id, "--json"]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let steps = text.lines().map(|it| serde_json::from_str::<Value>(it).expect("JSON"));
        steps
            .filter(|it| it["device_id"] == phone.device.as_str())
            .map(|it| match it["reason"].as_str() {
                Some(reason) => format!("{}: {reason}", it["step"].as_str().unwrap_or_default()),
                None => it["step"].as_str().unwrap_or_default().to_owned(),
            })
            .collect()
    }
}

/// The deployment for tests of single pushes: two replicas of push, a short grace.
pub async fn phones() -> &'static Phones {
    static PHONES: OnceCell<Phones> = OnceCell::const_new();
    PHONES
        .get_or_init(|| {
            Deployment::start()
                .replicas("connection=2,push=2")
                .env("PARLEY_PUSH__GRACE_MS", &GRACE.as_millis().to_string())
                .env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0")
                .beside()
                .with_phones(Options {
                    recording: Recording::Everything,
                    ..Options::default()
                })
        })
        .await
}
