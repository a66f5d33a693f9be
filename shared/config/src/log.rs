//! Section `log`: the process's own log lines, on stderr. The filter's syntax is checked by `telemetry`, which owns it.

use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::setting::{Setting, invalid};

pub(crate) const SETTINGS: &[Setting] = &[
    Setting::new("log.format", "text or json"),
    Setting::new("log.level", "a filter such as info or warn,connection=debug"),
];

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// For machines.
    #[default]
    Json,
}

/// Log lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Text or JSON.
    pub format: Format,
    /// An env-filter.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: Format::Json,
            level: "info".to_owned(),
        }
    }
}

impl Log {
    /// # Errors
    /// An empty filter.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.level.trim().is_empty() {
            Err(invalid("log.level", format_args!("{:?}", self.level)))
        } else {
            Ok(())
        }
    }
}
