//! Section `http`: the public side of the connection service.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ConfigError;
use crate::setting::{Setting, invalid};

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
    #[serde(deserialize_with = "list", serialize_with = "text")]
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

/// As one text: an empty list would vanish from the layer that [`crate::Config::load`] makes of the defaults.
fn text<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&list.join(","))
}

/// A list, or one text with commas: environment variables have no lists.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        List(Vec<String>),
    }
    let list = match Either::deserialize(deserializer)? {
        Either::Text(text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
        Either::List(list) => list,
    };
    Ok(list.into_iter().filter(|origin: &String| !origin.is_empty()).collect())
}
