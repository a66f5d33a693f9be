//! Where the deployment's NATS is.

use std::path::PathBuf;

use anyhow::bail;
use bus::Bus;
use clap::Args;
use config::Config;

use crate::data_dir;

/// The options that say so.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The deployment's folder: where to find its NATS
    #[arg(long, value_name = "DIR", default_value = data_dir::DEFAULT)]
    data: PathBuf,
    /// The deployment's NATS, instead of the one in DIR
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
}

impl Server {
    /// Connects.
    ///
    /// # Errors
    /// It cannot be found or reached.
    pub(crate) async fn connect(&self) -> anyhow::Result<Bus> {
        let mut config = Config::load(None, |_| {})?;
        let port = std::fs::read_to_string(self.data.join("ports").join("nats")).ok();
        match (&self.nats, port) {
            (Some(url), _) => config.nats.url.clone_from(url),
            (None, Some(port)) => config.nats.url = format!("nats://127.0.0.1:{}", port.trim()),
            (None, None) => bail!(
                "no deployment runs in {}: start it with `parley up`, or name its server with --nats",
                self.data.display()
            ),
        }
        config.validate()?;
        Ok(Bus::connect(&config.nats, "parley-push").await?)
    }
}
