//! How often the same thing is told: a flapping phone, or somebody who plays with his status, must not flood a big group.
//!
//! What is held back is not queued: when its time has come, what is so then is told, if it is new.

use std::time::{Duration, Instant};

use super::deadlines::Deadlines;
use super::table::Key;

/// Signals about one key without a pause.
pub(crate) const BURST: u32 = 8;
/// Between two signals about one key after that.
pub(crate) const PAUSE: Duration = Duration::from_secs(2);

/// Only keys that were told of lately are in it: each with the time at which its burst is whole again.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    whole_at: Deadlines<Key>,
}

impl Pace {
    /// From when on the key may be told of; `None`: now.
    pub(crate) fn free_at(&self, key: &Key, now: Instant) -> Option<Instant> {
        let free_at = self.whole_at.get(key)? - PAUSE * (BURST - 1);
        (free_at > now).then_some(free_at)
    }

    /// The key was told of.
    pub(crate) fn charge(&mut self, key: &Key, now: Instant) {
        let whole_at = self.whole_at.get(key).map_or(now, |at| at.max(now));
        self.whole_at.set(key.clone(), whole_at + PAUSE);
    }

    /// Forgets those whose burst is whole.
    pub(crate) fn forget(&mut self, now: Instant) {
        while self.whole_at.pop(now).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use protocol::UserId;

    use super::*;

    #[test]
    fn after_a_burst_there_is_one_per_pause() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let key = Key::User(UserId::parse("ada").unwrap());
        let mut told = 0;
        for tenth in 0..600 {
            let now = start + Duration::from_millis(100 * tenth);
            if pace.free_at(&key, now).is_none() {
                pace.charge(&key, now);
                told += 1;
            }
            pace.forget(now);
        }
        assert_eq!(told, 8 + 29);
    }
}
