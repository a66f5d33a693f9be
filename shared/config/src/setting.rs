//! The table of all settings: what may be set, and the words for an error. Tests hold it against the types.

use crate::{ConfigError, admin, auth, connection, http, log, mongodb, nats, presence, push, stream};

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its key in the file, such as `stream.partitions`.
    pub key: &'static str,
    /// What is expected, to follow the word "expected".
    pub expected: &'static str,
    /// Whether its value may hold a secret, and so is never shown.
    pub secret: bool,
}

impl Setting {
    pub(crate) const fn new(key: &'static str, expected: &'static str) -> Self {
        Self {
            key,
            expected,
            secret: false,
        }
    }

    pub(crate) const fn secret(key: &'static str, expected: &'static str) -> Self {
        Self {
            key,
            expected,
            secret: true,
        }
    }

    /// Its environment variable, such as `PARLEY_STREAM__PARTITIONS`.
    pub fn variable(&self) -> String {
        variable(self.key)
    }
}

/// All settings, section by section.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    const SECTIONS: [&[Setting]; 10] = [
        nats::SETTINGS,
        mongodb::SETTINGS,
        stream::SETTINGS,
        http::SETTINGS,
        connection::SETTINGS,
        presence::SETTINGS,
        push::SETTINGS,
        auth::SETTINGS,
        admin::SETTINGS,
        log::SETTINGS,
    ];
    SECTIONS.into_iter().flatten()
}

/// The environment variable of a key, known or not.
pub(crate) fn variable(key: &str) -> String {
    format!("PARLEY_{}", key.replace('.', "__").to_uppercase())
}

/// The error of a known setting with a value out of bounds; `got` is left out where it could be a secret.
pub(crate) fn invalid(key: &str, got: impl std::fmt::Display) -> ConfigError {
    let known = settings().find(|setting| setting.key == key);
    let problem = match known {
        Some(Setting {
            expected, secret: true, ..
        }) => format!("expected {expected} (the value is not shown)"),
        Some(Setting { expected, .. }) => format!("expected {expected}, got {got}"),
        None => "not a usable value".to_owned(),
    };
    ConfigError::new(variable(key), problem)
}
