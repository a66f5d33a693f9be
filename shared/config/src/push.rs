//! Section `push`: notifications to devices that did not get a message, and the providers that carry them.
//!
//! A provider without a key is off: its devices may register, and are pushed to once there is one.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::{Setting, invalid};
use crate::{ConfigError, duration, list};

pub(crate) const SETTINGS: &[Setting] = &[
    Setting::new("push.grace_ms", "milliseconds from 0 to 60000"),
    Setting::new("push.ttl", "a duration from 1s to 28d such as 24h"),
    Setting::new("push.attempts", "a number of attempts from 1 to 1000"),
    Setting::new("push.ca_file", "the path of a PEM file with certificates"),
    Setting::new("push.apns.url", "a URL such as https://api.push.apple.com"),
    Setting::new(
        "push.apns.sandbox_url",
        "a URL such as https://api.sandbox.push.apple.com",
    ),
    Setting::new("push.apns.key_file", "the path of a .p8 key file"),
    Setting::new("push.apns.key_id", "the id of the key, needed with push.apns.key_file"),
    Setting::new(
        "push.apns.team_id",
        "the id of the developer team, needed with push.apns.key_file",
    ),
    Setting::new(
        "push.apns.apps",
        "bundle ids separated by commas, needed with push.apns.key_file",
    ),
    Setting::new("push.fcm.url", "a URL such as https://fcm.googleapis.com"),
    Setting::new(
        "push.fcm.credentials",
        "the paths of service account files, one per project, separated by commas",
    ),
    Setting::new(
        "push.webpush.key_file",
        "the path of a PEM file with an EC P-256 private key (VAPID)",
    ),
    Setting::new(
        "push.webpush.subject",
        "a mailto: or https: URL of the operator, needed with push.webpush.key_file",
    ),
    Setting::new("push.webpush.allow_private", "true or false"),
];

/// When a device is notified, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Push {
    /// Milliseconds for which a device with a live session may confirm a message before it is pushed, 0 to 60,000.
    pub grace_ms: u64,
    /// A notification of a message older than this is not sent, and providers are told not to keep one for longer.
    #[serde(with = "duration")]
    pub ttl: Duration,
    /// Attempts per notification; then it is a dead letter.
    pub attempts: u32,
    /// Certificates that are trusted as roots beside the public ones, of all providers.
    pub ca_file: Option<PathBuf>,
    /// Apple.
    pub apns: Apns,
    /// Google.
    pub fcm: Fcm,
    /// Browsers.
    pub webpush: Webpush,
}

/// Apple Push Notification service, with a token signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Apns {
    /// Where devices of the production environment are pushed to.
    pub url: String,
    /// Where devices of the sandbox are pushed to.
    pub sandbox_url: String,
    /// The `.p8` file. None: no pushes to Apple.
    pub key_file: Option<PathBuf>,
    /// Id of that key.
    pub key_id: Option<String>,
    /// Id of the developer team.
    pub team_id: Option<String>,
    /// Bundle ids that may be pushed to; the first is that of devices that name none.
    #[serde(with = "list")]
    pub apps: Vec<String>,
}

/// Firebase Cloud Messaging, HTTP v1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fcm {
    /// Where messages are sent.
    pub url: String,
    /// Service account files, one per project; the first is that of devices that name none. Empty: no pushes to Google.
    #[serde(with = "list")]
    pub credentials: Vec<String>,
}

/// Web Push with VAPID.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webpush {
    /// The VAPID private key. None: no pushes to browsers.
    pub key_file: Option<PathBuf>,
    /// Whom a push service's operator may write to.
    pub subject: Option<String>,
    /// Whether endpoints may be at private and loopback addresses. Off: a subscription is not a way into the network.
    pub allow_private: bool,
}

impl Default for Push {
    fn default() -> Self {
        Self {
            grace_ms: 3_000,
            ttl: Duration::from_secs(24 * 60 * 60),
            attempts: 20,
            ca_file: None,
            apns: Apns::default(),
            fcm: Fcm::default(),
            webpush: Webpush::default(),
        }
    }
}

impl Default for Apns {
    fn default() -> Self {
        Self {
            url: "https://api.push.apple.com".to_owned(),
            sandbox_url: "https://api.sandbox.push.apple.com".to_owned(),
            key_file: None,
            key_id: None,
            team_id: None,
            apps: Vec::new(),
        }
    }
}

impl Default for Fcm {
    fn default() -> Self {
        Self {
            url: "https://fcm.googleapis.com".to_owned(),
            credentials: Vec::new(),
        }
    }
}

impl Push {
    /// # Errors
    /// A number out of bounds, a URL that is not `https`, or a provider's key without what belongs to it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.grace_ms > 60_000 {
            return Err(invalid("push.grace_ms", self.grace_ms));
        }
        let day = Duration::from_secs(24 * 60 * 60);
        if !(Duration::from_secs(1)..=day * 28).contains(&self.ttl) {
            return Err(invalid("push.ttl", format_args!("{:?}", self.ttl)));
        }
        if !(1..=1_000).contains(&self.attempts) {
            return Err(invalid("push.attempts", self.attempts));
        }
        for (key, url) in [
            ("push.apns.url", &self.apns.url),
            ("push.apns.sandbox_url", &self.apns.sandbox_url),
            ("push.fcm.url", &self.fcm.url),
        ] {
            let host = url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
            if !host.is_some_and(|it| !it.is_empty() && !it.contains(['/', '?', '#', '@', ' '])) {
                return Err(invalid(key, format_args!("{url:?}")));
            }
        }
        self.apns.validate()?;
        self.webpush.validate()
    }
}

impl Apns {
    fn validate(&self) -> Result<(), ConfigError> {
        if self.key_file.is_none() {
            return Ok(());
        }
        for (key, value) in [("push.apns.key_id", &self.key_id), ("push.apns.team_id", &self.team_id)] {
            if value.as_deref().is_none_or(str::is_empty) {
                return Err(invalid(key, "nothing"));
            }
        }
        if self.apps.is_empty() {
            return Err(invalid("push.apns.apps", "nothing"));
        }
        Ok(())
    }
}

impl Webpush {
    fn validate(&self) -> Result<(), ConfigError> {
        let usable = |subject: &str| subject.starts_with("mailto:") || subject.starts_with("https://");
        match &self.subject {
            None if self.key_file.is_some() => Err(invalid("push.webpush.subject", "nothing")),
            Some(subject) if !usable(subject) => Err(invalid("push.webpush.subject", format_args!("{subject:?}"))),
            _ => Ok(()),
        }
    }
}
