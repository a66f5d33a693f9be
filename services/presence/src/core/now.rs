//! The time as it is passed in: the core reads no clock.

use std::time::Instant;

use protocol::Timestamp;

/// One moment, by the clock that only runs forward and by the one on the wall.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// For leases, graces and every other wait.
    pub(crate) at: Instant,
    /// For what users are shown: when somebody was last seen.
    pub(crate) time: Timestamp,
}

impl Now {
    /// This machine's clocks. Only the edges call it.
    pub(crate) fn real() -> Self {
        Self {
            at: Instant::now(),
            time: Timestamp::now(),
        }
    }
}
