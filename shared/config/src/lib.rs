//! The settings of all services: one section per file, environment over file over default.
//!
//! Every mistake is one line that names the setting as an environment variable and never shows a secret. This crate
//! only reads and checks: it opens no connection, and state of the running services never lives here.

mod admin;
mod auth;
mod connection;
mod duration;
mod error;
mod http;
mod list;
mod load;
mod log;
mod mongodb;
mod nats;
mod presence;
mod push;
mod redact;
mod setting;
mod stream;

use serde::{Deserialize, Serialize};

pub use admin::Admin;
pub use auth::{Auth, Secret};
pub use connection::Connection;
pub use duration::{BadDuration, parse_duration};
pub use error::{ConfigError, Unavailable};
pub use http::Http;
pub use log::{Format, Log};
pub use mongodb::Mongodb;
pub use nats::Nats;
pub use presence::Presence;
pub use push::{Apns, Fcm, Push, Webpush};
pub use redact::without_passwords;
pub use setting::{Setting, settings};
pub use stream::{Ack, Stream};

/// Exit code of a process whose configuration is wrong (`EX_USAGE`).
pub const EXIT_CONFIG: u8 = 64;
/// Exit code of a process whose servers did not answer in time (`EX_UNAVAILABLE`).
pub const EXIT_UNAVAILABLE: u8 = 69;

/// All settings. Every service takes the same ones and reads the sections that concern it, so that one environment
/// serves a whole deployment.
///
/// `Serialize` exists for the layering in [`Config::load`]: it leaves `auth.hs256_secret` and `nats.password` out, but
/// not the passwords in URLs. Never print it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The message bus and log.
    pub nats: Nats,
    /// The searchable history.
    pub mongodb: Mongodb,
    /// How the log is kept.
    pub stream: Stream,
    /// The public address.
    pub http: Http,
    /// Sessions.
    pub connection: Connection,
    /// Who counts as online.
    pub presence: Presence,
    /// Push notifications.
    pub push: Push,
    /// Tokens.
    pub auth: Auth,
    /// The private address.
    pub admin: Admin,
    /// Log lines of the process itself.
    pub log: Log,
}

impl Config {
    /// Checks what a type cannot say: ranges, and settings that contradict each other.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.nats.validate()?;
        self.mongodb.validate()?;
        self.stream.validate()?;
        self.http.validate()?;
        self.connection.validate()?;
        self.presence.validate()?;
        self.push.validate()?;
        self.auth.validate()?;
        self.admin.validate()?;
        self.log.validate()
    }
}
