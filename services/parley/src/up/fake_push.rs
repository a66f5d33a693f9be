//! `--fake-push`: Apple, Google and a browser's push service, played in this process.

use std::ffi::OsString;

use anyhow::Context;
use config::Config;
use fake_push::{FakePush, Options};

use crate::data_dir::DataDir;

/// Its name among the ports of the deployment: that of the page.
pub(crate) const NAME: &str = "fake-push";

/// The players, and what services are told of them.
#[derive(Debug)]
pub(super) struct Played {
    fake: FakePush,
    /// For services in this process.
    pub(super) settings: config::Push,
    /// For services in others.
    pub(super) environment: Vec<(String, String)>,
}

/// Starts to play. Keys and registrations outlive a restart, since they are in the deployment's folder.
///
/// # Errors
/// The folder or the ports cannot be used.
pub(super) async fn start(data: &DataDir) -> anyhow::Result<Played> {
    let folder = data.join(NAME);
    let fake = FakePush::start(&folder, Options::default()).await;
    let fake = fake.context("cannot play the push providers")?;
    data.write_port(NAME, fake.ports().page)
        .context("cannot write the port of the page")?;
    let settings = fake.settings();
    // Over what the environment says: the keys of a real provider are not shown to a player.
    let of_push = |name: &OsString| name.to_str().is_some_and(|it| it.starts_with("PARLEY_PUSH__"));
    let keys: Vec<&String> = settings.iter().map(|it| &it.0).collect();
    let others = std::env::vars_os().filter(|(name, _)| of_push(name) && !keys.iter().any(|key| name == key.as_str()));
    let played = settings.iter().map(|(name, value)| (name.into(), value.into()));
    let config = Config::load_from(None, others.chain(played), |_| {})?;
    Ok(Played {
        settings: config.push,
        environment: settings,
        fake,
    })
}

impl Played {
    /// Plays no more.
    pub(super) async fn stop(self, data: &DataDir) {
        data.remove_child(NAME);
        self.fake.stop().await;
    }
}
