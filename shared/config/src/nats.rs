//! Section `nats`: where the message bus is. Stream settings are in `stream`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::{Setting, invalid};
use crate::{ConfigError, duration, without_passwords};

pub(crate) const SETTINGS: &[Setting] = &[
    Setting::secret(
        "nats.url",
        "one or more addresses such as nats://127.0.0.1:4222, separated by commas",
    ),
    Setting::new("nats.credentials", "the path of a credentials file"),
    Setting::new("nats.wait", "a duration such as 30s"),
];

/// How to reach NATS.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nats {
    /// Servers, separated by commas: `nats://`, `tls://`, `ws://`, `wss://`, or just `host:port`.
    pub url: String,
    /// A credentials file (JWT and seed).
    pub credentials: Option<PathBuf>,
    /// How long a start waits for NATS before it gives up with exit code 69.
    #[serde(with = "duration")]
    pub wait: Duration,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            credentials: None,
            wait: Duration::from_secs(30),
        }
    }
}

impl Nats {
    /// # Errors
    /// An empty or strange address.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let usable = |part: &str| {
            let (scheme, address) = part.split_once("://").unwrap_or(("nats", part));
            matches!(scheme, "nats" | "tls" | "ws" | "wss")
                && !address.is_empty()
                && !address.contains(char::is_whitespace)
        };
        if self.url.split(',').all(|part| usable(part.trim())) {
            Ok(())
        } else {
            Err(invalid("nats.url", ""))
        }
    }
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats")
            .field("url", &without_passwords(&self.url))
            .field("credentials", &self.credentials)
            .field("wait", &self.wait)
            .finish()
    }
}
