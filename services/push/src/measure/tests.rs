//! The two ways of a load, compared: a figure is worth something only if both send the same.

use std::sync::Arc;

use config::Config;
use fake_push::{FakePush, Shown};
use protocol::Timestamp;

use super::{Ours, Raw, Sample};

fn settings(fake: &FakePush) -> config::Push {
    let environment = fake.settings().into_iter();
    let environment = environment.map(|(name, value)| (name.into(), value.into()));
    Config::load_from(None, environment, |_| {}).unwrap().push
}

#[tokio::test]
async fn a_phone_shows_the_same_of_both() {
    let folder = std::env::temp_dir().join(format!("parley-measure-{}", std::process::id()));
    let fake = FakePush::start(&folder, fake_push::Options::default()).await.unwrap();
    let config = settings(&fake);
    let sample = Arc::new(Sample::new(&config, 100).unwrap());
    let ours = Ours::new(&config, sample.clone()).unwrap();
    let raw = Raw::connect(&config, &sample).await.unwrap();
    ours.one(7).await.unwrap();
    raw.one(7).await.unwrap();

    let shown: Vec<Shown> = fake.shown();
    let plain = |it: &Shown| Shown {
        number: 0,
        at: Timestamp::from_millis(0),
        ..it.clone()
    };
    let [ours, raw] = shown.as_slice() else {
        panic!("{shown:?}");
    };
    assert_eq!(plain(ours), plain(raw));
    assert_eq!(ours.body.as_ref().map(String::len), Some(100));
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_load_counts_what_the_provider_counts() {
    let folder = std::env::temp_dir().join(format!("parley-measure-load-{}", std::process::id()));
    let fake = FakePush::start(&folder, fake_push::Options::default()).await.unwrap();
    let config = settings(&fake);
    let sample = Arc::new(Sample::new(&config, 100).unwrap());
    let length = std::time::Duration::from_millis(100);
    let ours = Ours::new(&config, sample.clone()).unwrap().load(20, length).await;
    let raw = Raw::connect(&config, &sample).await.unwrap().load(20, length).await;
    for made in [&ours, &raw] {
        assert!(made.accepted > 0 && made.failed.is_empty(), "{made:?}");
        assert!(made.took >= length);
    }
    assert_eq!(fake.counters().apns.accepted, ours.accepted + raw.accepted);
    std::fs::remove_dir_all(folder).unwrap();
}
