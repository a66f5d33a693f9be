//! `parley fake-push`: the played push providers alone, for a deployment whose services are elsewhere, as in containers.
//!
//! `parley up --fake-push` plays them beside everything else; its part is in [`crate::up`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use config::ConfigError;
use fake_push::{FakePush, Options as Playing, Ports};
use lifecycle::{Shutdown, check, report};

use crate::data_dir::{self, DataDir};

/// Their folder in that of the deployment.
pub(crate) const FOLDER: &str = "fake-push";

/// Where they are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// Address of the page; APNs, its sandbox, FCM and Web Push are at the four ports above
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// What the services call this machine, in URLs and in the certificate
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    name: String,
}

/// What `parley fake-push` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints on stderr what the push service is to be told. The keys are made at the first start, or by \
                        `parley setup --fake-push`."
)]
pub(crate) struct Options {
    /// The deployment's folder, for the keys
    #[arg(long, value_name = "DIR", default_value = data_dir::DEFAULT)]
    data: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Ask the one that runs here whether it answers; exit 0 if it does
    #[arg(long)]
    check_ready: bool,
}

impl Place {
    /// As the players take it.
    ///
    /// # Errors
    /// There are not four ports above the page's.
    pub(crate) fn options(&self) -> anyhow::Result<Playing> {
        let page = self.listen.port();
        let after = |step| {
            page.checked_add(step)
                .ok_or_else(|| ConfigError::new("--listen", format!("there are not four ports above {page}")))
        };
        let ports = Ports {
            page,
            apns: after(1)?,
            apns_sandbox: after(2)?,
            fcm: after(3)?,
            webpush: after(4)?,
        };
        Ok(Playing {
            ports,
            address: self.listen.ip(),
            name: self.name.clone(),
            ..Playing::default()
        })
    }
}

/// Plays until SIGINT or SIGTERM, or asks the one that does.
pub(crate) fn run(options: &Options) -> ExitCode {
    let result = match options.check_ready {
        true => check(options.place.listen, "/counters"),
        false => play(options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(report("parley", &error)),
    }
}

fn play(options: &Options) -> anyhow::Result<()> {
    let folder = DataDir::create(&options.data)?.join(FOLDER);
    let playing = options.place.options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        let fake = FakePush::start(&folder, playing).await;
        let fake = fake.context("cannot play the push providers")?;
        for (name, value) in fake.settings() {
            eprintln!("{name}={value}");
        }
        eprintln!("parley: what phones would show is on {}", fake.page_url());
        shutdown.triggered().await;
        fake.stop().await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_providers_are_above_the_page() {
        let at = |listen: &str| {
            let place = Place {
                listen: listen.parse().unwrap(),
                name: "played".to_owned(),
            };
            place
                .options()
                .map(|it| it.ports.webpush)
                .map_err(|error| error.to_string())
        };
        assert_eq!(at("0.0.0.0:8090"), Ok(8094));
        assert!(
            at("0.0.0.0:65533")
                .unwrap_err()
                .starts_with("--listen: there are not four ports")
        );
    }
}
