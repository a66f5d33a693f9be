//! Section `connection`: sessions.

use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::setting::{Setting, invalid};

pub(crate) const SETTINGS: &[Setting] = &[
    Setting::new("connection.heartbeat_ms", "milliseconds from 100 to 600000"),
    Setting::new("connection.memory_mib", "mebibytes from 1 to 1048576"),
    Setting::new(
        "connection.sends_per_second",
        "a number of sends per second, 0 for no limit",
    ),
    Setting::new("connection.drain_delay_ms", "milliseconds from 0 to 60000"),
    Setting::new("connection.drain_window_ms", "milliseconds from 0 to 600000"),
];

/// How sessions are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connection {
    /// Milliseconds between the server's pings, 100 to 600,000.
    pub heartbeat_ms: u64,
    /// Mebibytes of the log's tail that a node keeps in memory for replay.
    pub memory_mib: u64,
    /// Sends per second and session, with a burst of twice it; 0 means no limit.
    pub sends_per_second: u32,
    /// Milliseconds from SIGTERM, at which the node is no longer ready, to when it takes no more connections: as long as a
    /// load balancer needs to notice. 0 to 60,000.
    pub drain_delay_ms: u64,
    /// Milliseconds after that over which sessions are told to go elsewhere, at most; few sessions are told sooner. 0 to
    /// 600,000.
    pub drain_window_ms: u64,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            heartbeat_ms: 20_000,
            memory_mib: 64,
            sends_per_second: 50,
            drain_delay_ms: 1_000,
            drain_window_ms: 5_000,
        }
    }
}

impl Connection {
    /// # Errors
    /// A number out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(100..=600_000).contains(&self.heartbeat_ms) {
            return Err(invalid("connection.heartbeat_ms", self.heartbeat_ms));
        }
        if !(1..=1_048_576).contains(&self.memory_mib) {
            return Err(invalid("connection.memory_mib", self.memory_mib));
        }
        if self.drain_delay_ms > 60_000 {
            return Err(invalid("connection.drain_delay_ms", self.drain_delay_ms));
        }
        if self.drain_window_ms > 600_000 {
            return Err(invalid("connection.drain_window_ms", self.drain_window_ms));
        }
        Ok(())
    }
}
