//! Section `stream`: how the log is kept. The declarations of the streams themselves are in the `bus` crate.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::{Setting, invalid, variable};
use crate::{ConfigError, duration};

pub(crate) const SETTINGS: &[Setting] = &[
    Setting::new("stream.partitions", "a number from 1 to 256"),
    Setting::new("stream.replicas", "a number from 1 to 5"),
    Setting::new("stream.duplicate_window", "a duration above zero such as 2m"),
    Setting::new("stream.max_age", "a duration such as 7d"),
    Setting::new("stream.ack", "logged or stored"),
];

/// What an ack to a client waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// The entry is in the log.
    #[default]
    Logged,
    /// The entry is in MongoDB too, with its journal.
    Stored,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stream {
    /// Partitions, 1 to 256; fixed for the life of a deployment.
    pub partitions: u16,
    /// Copies that NATS keeps of each stream, 1 to 5.
    pub replicas: usize,
    /// How long NATS itself knows a repeated send.
    #[serde(with = "duration")]
    pub duplicate_window: Duration,
    /// How long the log is kept; never below the window.
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// What an ack waits for.
    pub ack: Ack,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            partitions: 4,
            replicas: 1,
            duplicate_window: Duration::from_secs(2 * 60),
            max_age: Duration::from_secs(7 * 24 * 3600),
            ack: Ack::Logged,
        }
    }
}

impl Stream {
    /// # Errors
    /// A number out of bounds, no window, or entries that would age out inside the window.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=256).contains(&self.partitions) {
            return Err(invalid("stream.partitions", self.partitions));
        }
        if !(1..=5).contains(&self.replicas) {
            return Err(invalid("stream.replicas", self.replicas));
        }
        if self.duplicate_window.is_zero() {
            return Err(invalid("stream.duplicate_window", "0"));
        }
        if self.max_age < self.duplicate_window {
            let problem = format!(
                "{:?} is below the {:?} of PARLEY_STREAM__DUPLICATE_WINDOW: entries would be gone while their repeats \
                 are still expected",
                self.max_age, self.duplicate_window
            );
            return Err(ConfigError::new(variable("stream.max_age"), problem));
        }
        Ok(())
    }
}
