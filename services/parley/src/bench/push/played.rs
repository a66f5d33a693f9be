//! Apple, played on one thread of its own, so that neither a client that is measured nor the senders' work waits for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;
use config::Config;
use fake_push::{Counts, FakePush, Options, Ports, Recording};
use tokio::runtime::{Builder, Runtime};

/// The running fake. Its folder is removed in the end.
#[derive(Debug)]
pub(super) struct Played {
    fake: Option<FakePush>,
    runtime: Option<Runtime>,
    folder: PathBuf,
}

impl Played {
    /// # Errors
    /// The folder or a port cannot be used.
    pub(super) async fn start(recording: Recording) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fake-push")
            .enable_all()
            .build()?;
        let mut played = Self {
            fake: None,
            runtime: Some(runtime),
            folder: std::env::temp_dir().join(format!("parley-bench-push-{}", std::process::id())),
        };
        played.play(recording, Ports::default()).await?;
        Ok(played)
    }

    /// The same providers once more, with the same keys at the same ports.
    ///
    /// # Errors
    /// A port cannot be used again.
    pub(super) async fn restart(&mut self, recording: Recording) -> anyhow::Result<()> {
        let ports = self.fake()?.ports();
        if let Some(fake) = self.fake.take() {
            fake.stop().await;
        }
        self.play(recording, ports).await
    }

    async fn play(&mut self, recording: Recording, ports: Ports) -> anyhow::Result<()> {
        let folder = self.folder.clone();
        let options = Options {
            ports,
            recording,
            // Each client that is measured has a token of its own.
            provider_token_pace: std::time::Duration::ZERO,
            ..Options::default()
        };
        let runtime = self.runtime.as_ref().context("no runtime")?;
        // It lives where it was started.
        let started = runtime.spawn(async move { FakePush::start(&folder, options).await });
        self.fake = Some(started.await?.context("cannot play the push providers")?);
        Ok(())
    }

    pub(super) fn fake(&self) -> anyhow::Result<&FakePush> {
        self.fake.as_ref().context("the push providers are not played")
    }

    /// What Apple has counted.
    ///
    /// # Errors
    /// It is not played.
    pub(super) fn counts(&self) -> anyhow::Result<Counts> {
        Ok(self.fake()?.counters().apns)
    }

    /// Environment variables for the services.
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        self.fake.as_ref().map(FakePush::settings).unwrap_or_default()
    }

    /// The same for a client in this process.
    ///
    /// # Errors
    /// None.
    pub(super) fn config(&self) -> anyhow::Result<config::Push> {
        let settings = self.settings().into_iter();
        let variables = settings.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Ok(Config::load_from(None, variables, |_| {})?.push)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.fake.take();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        // What stays behind is in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
