//! What a process tells about itself: log lines on stderr, and metrics in Prometheus' text form.
//!
//! What libraries write at finer levels than `info` is never written: it holds whole requests and documents.
//! The recorder and the subscriber are global, as their crates make them. Serving `/metrics` is not done here: that is
//! the admin server of the `lifecycle` crate.

mod json;
mod level;
mod lines;
mod metrics;
mod panics;

use anyhow::Context;
use config::Log;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use level::{BadFilter, Change, InForce, LogLevel};
pub use lines::log_level;
pub use metrics::{MetricsHandle, metrics};

/// Sends this process's log lines to stderr, in the format and above the level asked for, panics among them. Once per
/// process.
///
/// # Errors
/// A [`ConfigError`](config::ConfigError) if the level is no env-filter; another error if a subscriber is installed already.
pub fn init(log: &Log) -> anyhow::Result<()> {
    let lines = lines::layer(log)?;
    tracing_subscriber::registry()
        .with(lines)
        .try_init()
        .map_err(|error| anyhow::anyhow!(error))
        .context("telemetry was started twice")?;
    panics::install();
    Ok(())
}

#[cfg(test)]
mod tests {
    use config::{ConfigError, Format};

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
