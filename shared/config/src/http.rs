//! Section `http`: the public side of the connection service.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::setting::{Setting, invalid};
use crate::{ConfigError, list};

pub(crate) const SETTINGS: &[Setting] = &[
    Setting::new("http.listen", "an address and port such as 0.0.0.0:8080"),
    Setting::new("http.query_token", "true or false"),
    Setting::new(
        "http.allowed_origins",
        "origins such as https://chat.example, separated by commas",
    ),
];

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Public address.
    pub listen: SocketAddr,
    /// Whether `?token=` is taken on `/v1/ws` and `/v1/events`. Off: query strings end up in logs of proxies.
    pub query_token: bool,
    /// Origins of browsers that may connect, compared exactly; empty: only the same origin.
    #[serde(with = "list")]
    pub allowed_origins: Vec<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            query_token: false,
            allowed_origins: Vec::new(),
        }
    }
}

impl Http {
    /// # Errors
    /// An origin that no browser would send.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let usable = |origin: &str| {
            origin.split_once("://").is_some_and(|(scheme, host)| {
                let host_only = !host.contains(|c: char| c == '/' || c == '*' || c == '@' || c.is_whitespace());
                !scheme.is_empty() && !host.is_empty() && host_only
            })
        };
        match self.allowed_origins.iter().find(|origin| !usable(origin)) {
            Some(origin) => Err(invalid("http.allowed_origins", format_args!("{origin:?}"))),
            None => Ok(()),
        }
    }
}
