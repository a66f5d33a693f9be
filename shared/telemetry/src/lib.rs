//! What a process tells about itself: log lines on stderr, and metrics in Prometheus' text form.
//!
//! The recorder and the subscriber are global, as their crates make them. Serving `/metrics` is not done here: that is
//! the admin server of the `lifecycle` crate.

mod metrics;

use anyhow::Context;
use config::{ConfigError, Format, Log};
use tracing_subscriber::EnvFilter;

pub use metrics::{MetricsHandle, metrics};

/// Libraries that write tokens, keys or whole requests at finer levels: these are not to be had. And one that writes the
/// same error several times a second for as long as a server is away: `bus` tells what matters of it, once.
const HELD: [&str; 7] = [
    "async_nats=warn",
    "async_nats::connector=off",
    "yup_oauth2=info",
    "web_push=info",
    "h2=info",
    "hyper=info",
    "rustls=info",
];

/// Sends this process's log lines to stderr, in the format and above the level asked for. Once per process.
///
/// # Errors
/// A [`ConfigError`] if the level is no env-filter; another error if a subscriber is installed already.
pub fn init(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(&log.level).map_err(|error| {
        ConfigError::new(
            "PARLEY_LOG__LEVEL",
            format!("expected a filter such as info or warn,connection=debug: {error}"),
        )
    })?;
    let filter = HELD.iter().try_fold(filter, |filter, directive| {
        anyhow::Ok(filter.add_directive(directive.parse()?))
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let installed = match log.format {
        Format::Text => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    installed
        .map_err(|error| anyhow::anyhow!(error))
        .context("telemetry was started twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_no_filter_names_its_setting() {
        let error = init(&Log {
            format: Format::Text,
            level: "connection=loud".to_owned(),
        })
        .unwrap_err();
        assert_eq!(
            error.downcast_ref::<ConfigError>().map(ConfigError::setting),
            Some("PARLEY_LOG__LEVEL")
        );
    }
}
