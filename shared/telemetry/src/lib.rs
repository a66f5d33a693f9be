//! What a process tells about itself: log lines on stderr, metrics in Prometheus' text form, traces over OTLP.
//!
//! What libraries write at finer levels than `info` is never written: it holds whole requests and documents.
//! The recorder and the subscriber are global, as their crates make them. Serving `/metrics` is not done here: that is
//! the admin server of the `lifecycle` crate.

mod json;
mod level;
mod lines;
mod metrics;
mod panics;
pub mod trace;

use anyhow::Context;
use config::Log;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use level::{BadFilter, Change, InForce, LogLevel};
pub use lines::log_level;
pub use metrics::{
    Kind, Label, Latency, METRICS, Metric, MetricsHandle, Samples, Table, Values, declare, metrics, watch_queue,
};

/// Lives as long as the process tells anything: dropped at the end, it hands over what it still has.
#[derive(Debug)]
pub struct Telemetry {
    _exporting: Option<trace::Exporting>,
}

/// Sends this process's log lines to stderr, in the format and above the level asked for, panics among them, and the spans
/// of `service`, such as `parley-connection`, where the standard `OTEL_*` variables say. Once per process, and not within a
/// runtime.
///
/// # Errors
/// A [`ConfigError`](config::ConfigError) if the level is no env-filter; another error if a subscriber is installed
/// already, or the variables name no collector that could be one.
pub fn init(log: &Log, service: &str) -> anyhow::Result<Telemetry> {
    let lines = lines::layer(log)?;
    let exporting = trace::start(service)?;
    let spans = exporting.as_ref().map(|exporting| {
        let only_ours = FilterFn::new(|it| it.is_span() && it.target() == trace::TARGET);
        tracing_opentelemetry::layer()
            .with_tracer(exporting.tracer())
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(only_ours.with_max_level_hint(LevelFilter::INFO))
    });
    tracing_subscriber::registry()
        .with(spans)
        .with(lines)
        .try_init()
        .map_err(|error| anyhow::anyhow!(error))
        .context("telemetry was started twice")?;
    // Of those that write by `log`: none of ours does. Its own check is far cheaper than ours, and they write for each frame.
    log::set_max_level(log::LevelFilter::Info);
    panics::install();
    Ok(Telemetry { _exporting: exporting })
}

#[cfg(test)]
mod tests {
    use config::{ConfigError, Format};

    use super::*;

    #[test]
    fn what_libraries_write_finely_is_not_even_made() {
        let log = Log {
            format: Format::Json,
            level: "info".to_owned(),
        };
        let _telemetry = init(&log, "test").unwrap();
        assert_eq!(LevelFilter::current(), LevelFilter::INFO);
        assert_eq!(log::max_level(), log::LevelFilter::Info);
    }

    #[test]
    fn a_level_that_is_no_filter_names_its_setting() {
        let log = Log {
            format: Format::Text,
            level: "connection=loud".to_owned(),
        };
        let error = init(&log, "test").unwrap_err();
        assert_eq!(
            error.downcast_ref::<ConfigError>().map(ConfigError::setting),
            Some("PARLEY_LOG__LEVEL")
        );
    }
}
