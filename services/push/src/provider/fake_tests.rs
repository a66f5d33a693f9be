//! All providers against the fakes, which check requests as the real ones document.

use std::collections::HashMap;
use std::path::PathBuf;

use fake_push::{APPS, Act, FakePush, Listener, Options, PROJECT, Provider as Fake, Rule};
use futures_util::future::join_all;
use protocol::push::Platform;

use super::testing::{DEADLINE, alert, push};
use super::*;

struct World {
    fake: FakePush,
    providers: Providers,
}

async fn world(name: &str) -> World {
    let folder = std::env::temp_dir().join(format!("parley-push-fake-{}-{name}", std::process::id()));
    let fake = FakePush::start(&folder, Options::default()).await.unwrap();
    let settings: HashMap<String, String> = fake.settings().into_iter().collect();
    let text = |name: &str| settings[&format!("PARLEY_PUSH__{name}")].clone();
    let path = |name: &str| Some(PathBuf::from(text(name)));
    let list = |name: &str| text(name).split(',').map(str::to_owned).collect();
    let config = config::Push {
        ca_file: path("CA_FILE"),
        apns: config::Apns {
            url: text("APNS__URL"),
            sandbox_url: text("APNS__SANDBOX_URL"),
            key_file: path("APNS__KEY_FILE"),
            key_id: Some(text("APNS__KEY_ID")),
            team_id: Some(text("APNS__TEAM_ID")),
            apps: list("APNS__APPS"),
        },
        fcm: config::Fcm {
            url: text("FCM__URL"),
            credentials: list("FCM__CREDENTIALS"),
        },
        webpush: config::Webpush {
            key_file: path("WEBPUSH__KEY_FILE"),
            subject: Some(text("WEBPUSH__SUBJECT")),
            allow_private: true,
        },
        ..config::Push::default()
    };
    let providers = Providers::new(&config).unwrap();
    World { fake, providers }
}

impl World {
    /// Pushes to device `number`, until an hour from now.
    async fn push(&self, platform: Platform, number: usize, content: Content) -> Answer {
        let mut push = push(content);
        push.id = uuid::Uuid::new_v4();
        push.expires_at = Timestamp::from_millis(Timestamp::now().as_millis() + 3_600_000);
        push.address = self.address(platform, number);
        self.providers.get(platform).unwrap().push(&push).await
    }

    fn address(&self, platform: Platform, number: usize) -> Address {
        let (token, app) = match platform {
            Platform::Apns => (format!("{number:064x}"), APPS[0].to_owned()),
            Platform::Fcm => (format!("device{number}:{}", "A".repeat(140)), PROJECT.to_owned()),
            Platform::Webpush => (self.fake.subscribe().unwrap().to_string(), String::new()),
        };
        Address {
            token,
            app,
            sandbox: false,
        }
    }
}

#[tokio::test]
async fn every_provider_takes_an_alert_as_it_is_written() {
    let world = world("alert").await;
    for platform in Platform::ALL {
        let answer = world.push(platform, 1, Content::Alert(alert())).await;
        assert_eq!(answer, Answer::Accepted, "{platform:?} {:?}", world.fake.refused());
    }
    let shown = world.fake.wait(DEADLINE, |it| it.len() == 3).await.unwrap();
    for shown in shown {
        let texts = (shown.title.as_deref(), shown.body.as_deref());
        assert_eq!(texts, (Some("Ann"), Some("Hello")), "{shown:?}");
        assert!(!shown.silent, "{shown:?}");
        assert_eq!(shown.data["server_id"], "0190a1b2", "{shown:?}");
    }
    assert!(world.fake.refused().is_empty(), "{:?}", world.fake.refused());
}

#[tokio::test]
async fn the_longest_messages_are_taken() {
    let world = world("long").await;
    for body in ["x".repeat(5_000), "ä\"\n👍".repeat(2_000)] {
        for platform in Platform::ALL {
            let content = Content::Alert(Alert {
                body: body.clone(),
                ..alert()
            });
            let answer = world.push(platform, 1, content).await;
            assert_eq!(answer, Answer::Accepted, "{platform:?} {:?}", world.fake.refused());
        }
    }
}

#[tokio::test]
async fn a_badge_alone_is_taken_and_not_noticed() {
    let world = world("badge").await;
    for platform in [Platform::Apns, Platform::Fcm] {
        let answer = world.push(platform, 1, Content::Badge(0)).await;
        assert_eq!(answer, Answer::Accepted, "{platform:?} {:?}", world.fake.refused());
    }
    let shown = world.fake.wait(DEADLINE, |it| it.len() == 2).await.unwrap();
    assert!(shown.iter().all(|it| it.silent), "{shown:?}");
}

#[tokio::test]
async fn a_device_that_is_gone_is_said_to_be() {
    let world = world("gone").await;
    let since = Timestamp::from_millis(1_700_000_000_000);
    for platform in [Platform::Apns, Platform::Fcm] {
        world.fake.uninstall(&world.address(platform, 1).token, since);
        let answer = world.push(platform, 1, Content::Alert(alert())).await;
        let Answer::Gone { since: said, .. } = answer else {
            panic!("{platform:?} {answer:?}");
        };
        assert_eq!(said, (platform == Platform::Apns).then_some(since));
    }
    let mut push = push(Content::Alert(alert()));
    push.address = world.address(Platform::Webpush, 1);
    let subscription: serde_json::Value = serde_json::from_str(&push.address.token).unwrap();
    world
        .fake
        .unsubscribe(subscription["endpoint"].as_str().unwrap())
        .unwrap();
    let answer = world.providers.get(Platform::Webpush).unwrap().push(&push).await;
    assert!(matches!(answer, Answer::Gone { .. }), "{answer:?}");
}

#[tokio::test]
async fn connections_that_go_away_under_load_lose_no_push_and_double_none() {
    let world = world("goaway").await;
    for fake in [Fake::Apns, Fake::Fcm] {
        world.fake.script(Rule::new(fake, Act::GoAway).times(5));
    }
    for platform in [Platform::Apns, Platform::Fcm] {
        let pushes = (0..300).map(|it| world.push(platform, it, Content::Alert(alert())));
        let answers = join_all(pushes).await;
        let accepted = answers.iter().filter(|it| **it == Answer::Accepted).count();
        assert_eq!(accepted, 300, "{platform:?} {answers:?}");
    }
    let shown = world.fake.wait(DEADLINE, |it| it.len() >= 600).await.unwrap();
    let tokens: std::collections::HashSet<_> = shown.iter().map(|it| &it.token).collect();
    assert_eq!((shown.len(), tokens.len()), (600, 600));
}

#[tokio::test]
async fn an_outage_is_for_later_and_passes() {
    let world = world("outage").await;
    let apns = |number| world.push(Platform::Apns, number, Content::Alert(alert()));
    assert_eq!(apns(1).await, Answer::Accepted);
    world.fake.stop_listener(Listener::Apns).await;
    let answer = apns(2).await;
    assert!(matches!(answer, Answer::Later { scope: Scope::App, .. }), "{answer:?}");
    world.fake.start_listener(Listener::Apns).await.unwrap();
    assert_eq!(apns(3).await, Answer::Accepted);
}

#[tokio::test]
async fn access_tokens_that_google_has_forgotten_are_renewed() {
    let world = world("revoked").await;
    let fcm = |number| world.push(Platform::Fcm, number, Content::Alert(alert()));
    assert_eq!(fcm(1).await, Answer::Accepted);
    world.fake.revoke_access_tokens();
    assert_eq!(fcm(2).await, Answer::Accepted);
}
