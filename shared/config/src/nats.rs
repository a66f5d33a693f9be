//! Section `nats`: where the message bus is and who we are to it. Stream settings are in `stream`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::{Setting, invalid, variable};
use crate::{ConfigError, duration, without_passwords};

pub(crate) const SETTINGS: &[Setting] = &[
    Setting::secret(
        "nats.url",
        "one or more addresses such as nats://127.0.0.1:4222, separated by commas",
    ),
    Setting::new("nats.credentials", "the path of a credentials file"),
    Setting::new("nats.user", "the name of a NATS user"),
    Setting::secret("nats.password", "the password of the NATS user in nats.user"),
    Setting::new("nats.ca_file", "the path of a PEM file with certificates"),
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
    /// Name of the user to log in as; user information in `url` beats it. None: as the server takes us.
    pub user: Option<String>,
    /// His password, or an empty one for none. Set exactly if `user` is.
    #[serde(skip_serializing)]
    pub password: Option<String>,
    /// Certificates that are trusted as roots instead of the machine's own. With it, a server without TLS is refused.
    pub ca_file: Option<PathBuf>,
    /// How long a start waits for NATS before it gives up with exit code 69.
    #[serde(with = "duration")]
    pub wait: Duration,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            credentials: None,
            user: None,
            password: None,
            ca_file: None,
            wait: Duration::from_secs(30),
        }
    }
}

impl Nats {
    /// # Errors
    /// An empty or strange address, a user without a password, a password without a user, or two ways to log in.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let usable = |part: &str| {
            let (scheme, address) = part.split_once("://").unwrap_or(("nats", part));
            matches!(scheme, "nats" | "tls" | "ws" | "wss")
                && !address.is_empty()
                && !address.contains(char::is_whitespace)
        };
        if !self.url.split(',').all(|part| usable(part.trim())) {
            return Err(invalid("nats.url", ""));
        }
        let wrong = |key, problem: &str| Err(ConfigError::new(variable(key), problem));
        match (&self.user, &self.password) {
            (Some(_), None) => wrong(
                "nats.password",
                "not set, but the user that it belongs to is (nats.user)",
            ),
            (None, Some(_)) => wrong("nats.user", "not set, but a password is (nats.password)"),
            (Some(_), _) if self.credentials.is_some() => wrong(
                "nats.credentials",
                "set together with nats.user: leave out the one that the server does not know",
            ),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats")
            .field("url", &without_passwords(&self.url))
            .field("credentials", &self.credentials)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "(secret)"))
            .field("ca_file", &self.ca_file)
            .field("wait", &self.wait)
            .finish()
    }
}
