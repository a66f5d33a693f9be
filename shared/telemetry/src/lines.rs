//! The layer that writes log lines, with the filter of the process.

use std::sync::OnceLock;

use config::{ConfigError, Format, Log};
use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, fmt, layer};

use crate::{LogLevel, json};

static LEVEL: OnceLock<LogLevel> = OnceLock::new();

/// A layer that writes to stderr, in the format and above the level asked for. Its filter is its own: other layers see
/// what it hides.
///
/// # Errors
/// A [`ConfigError`] if the level is no env-filter.
pub(crate) fn layer<S>(log: &Log) -> Result<Box<dyn Layer<S> + Send + Sync>, ConfigError>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    EnvFilter: layer::Filter<S>,
{
    let level = LogLevel::new(&log.level);
    let (filter, level) = level.map_err(|error| ConfigError::new("PARLEY_LOG__LEVEL", error.to_string()))?;
    // A second start fails where its subscriber is installed.
    LEVEL.get_or_init(|| level);
    Ok(match log.format {
        Format::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            let lines = fmt::layer().with_ansi(is_terminal).with_writer(std::io::stderr);
            lines.with_filter(filter).boxed()
        }
        Format::Json => json::layer(std::io::stderr).with_filter(filter).boxed(),
    })
}

/// The filter of this process's log; `None` before [`crate::init`].
pub fn log_level() -> Option<LogLevel> {
    LEVEL.get().cloned()
}
