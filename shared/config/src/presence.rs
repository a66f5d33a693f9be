//! Section `presence`: who counts as online.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::{Setting, invalid};
use crate::{ConfigError, duration};

pub(crate) const SETTINGS: &[Setting] = &[
    Setting::new("presence.away_after", "a duration of 100ms or more such as 5m"),
    Setting::new("presence.lease", "a duration from 1s to 25s such as 10s"),
];

/// How presence is judged. The connection and the presence service must be given the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Presence {
    /// A session on which nothing was done for so long is idle; a user with idle sessions only is away.
    #[serde(with = "duration")]
    pub away_after: Duration,
    /// A connection node that is not heard of for so long is dead, and its sessions with it. It beats five times in it.
    #[serde(with = "duration")]
    pub lease: Duration,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            away_after: Duration::from_secs(5 * 60),
            lease: Duration::from_secs(10),
        }
    }
}

impl Presence {
    /// # Errors
    /// A duration out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.away_after < Duration::from_millis(100) {
            return Err(invalid("presence.away_after", format_args!("{:?}", self.away_after)));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(25)).contains(&self.lease) {
            return Err(invalid("presence.lease", format_args!("{:?}", self.lease)));
        }
        Ok(())
    }
}
