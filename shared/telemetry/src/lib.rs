//! What a process tells about itself: log lines on stderr, metrics in Prometheus' text form, traces over OTLP.
//!
//! The recorder and the subscriber are global, as their crates make them. Serving `/metrics` is not done here: that is
//! the admin server of the `lifecycle` crate.

mod metrics;
pub mod trace;

use anyhow::Context;
use config::{ConfigError, Format, Log};
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use metrics::{MetricsHandle, metrics};

/// Libraries that write tokens, keys or whole requests at finer levels: these are not to be had.
const SECRETIVE: [&str; 5] = [
    "yup_oauth2=info",
    "web_push=info",
    "h2=info",
    "hyper=info",
    "rustls=info",
];

/// Lives as long as the process tells anything: dropped at the end, it hands over what it still has.
#[derive(Debug)]
pub struct Telemetry {
    _exporting: Option<trace::Exporting>,
}

/// Sends this process's log lines to stderr, in the format and above the level asked for, and the spans of `service`, such
/// as `parley-connection`, where the standard `OTEL_*` variables say. Once per process, and not within a runtime.
///
/// # Errors
/// A [`ConfigError`] if the level is no env-filter; another error if a subscriber is installed already, or the variables
/// name no collector that could be one.
pub fn init(log: &Log, service: &str) -> anyhow::Result<Telemetry> {
    let filter = EnvFilter::builder().parse(&log.level).map_err(|error| {
        ConfigError::new(
            "PARLEY_LOG__LEVEL",
            format!("expected a filter such as info or warn,connection=debug: {error}"),
        )
    })?;
    // Log lines know their span's ids at whatever level.
    let ours = format!("{}=info", trace::TARGET);
    let filter = SECRETIVE
        .into_iter()
        .chain([ours.as_str()])
        .try_fold(filter, |filter, directive| {
            anyhow::Ok(filter.add_directive(directive.parse()?))
        })?;
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
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        Format::Text => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(spans)
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|error| anyhow::anyhow!(error))
        .context("telemetry was started twice")?;
    Ok(Telemetry { _exporting: exporting })
}

#[cfg(test)]
mod tests {
    use super::*;

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
