//! Where the servers of a running deployment are: where an option says, else the environment, as for the services
//! themselves, else in the folder of `parley up`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use bus::Bus;
use clap::Args;
use config::Config;

use crate::data_dir;

/// The options by which a command finds NATS.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The deployment's folder: where to find its NATS
    #[arg(long, value_name = "DIR", default_value = data_dir::DEFAULT)]
    data: PathBuf,
    /// The deployment's NATS, instead of PARLEY_NATS__URL or the one in DIR
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
        config.nats.url = nats(self.nats.as_deref(), &self.data)?;
        config.validate()?;
        // No service: its answers come where an operator's do.
        Ok(Bus::connect(&config.nats, "parley-tool").await?)
    }
}

/// The address of NATS; `option` is what `--nats` says.
///
/// # Errors
/// Nothing says it.
pub(crate) fn nats(option: Option<&str>, data: &Path) -> anyhow::Result<String> {
    let said = said(option, variable("PARLEY_NATS__URL"));
    match said.or_else(|| port(data, "nats").map(|port| format!("nats://127.0.0.1:{port}"))) {
        Some(url) => Ok(url),
        None => bail!(not_running(data, "--nats or PARLEY_NATS__URL")),
    }
}

/// The address of MongoDB; `option` is what `--mongodb` says.
///
/// # Errors
/// Nothing says it.
pub(crate) fn mongodb(option: Option<&str>, data: &Path) -> anyhow::Result<String> {
    let said = said(option, variable("PARLEY_MONGODB__URI"));
    let of_port = |port| format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    match said.or_else(|| port(data, "mongod").map(of_port)) {
        Some(uri) => Ok(uri),
        None => bail!(not_running(data, "--mongodb or PARLEY_MONGODB__URI")),
    }
}

/// A variable that is set, and not to nothing.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The port of a child of the `parley up` that runs on a folder.
pub(crate) fn port(data: &Path, name: &str) -> Option<u16> {
    let written = std::fs::read_to_string(data.join("ports").join(name)).ok()?;
    written.trim().parse().ok()
}

fn said(option: Option<&str>, variable: Option<String>) -> Option<String> {
    option.map(str::to_owned).or(variable)
}

fn not_running(data: &Path, names: &str) -> String {
    format!(
        "no deployment runs in {}: start it with `parley up`, or name its server with {names}",
        data.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_counts_more_than_the_environment() {
        let environment = || Some("b".to_owned());
        assert_eq!(said(Some("a"), environment()).as_deref(), Some("a"));
        assert_eq!(said(None, environment()).as_deref(), Some("b"));
        assert_eq!(said(None, None), None);
    }
}
