//! How long to wait before the next attempt to connect. Randomness is passed in.

use std::time::Duration;

/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait, before jitter.
const LONGEST: Duration = Duration::from_secs(15);

/// Doubles with every failed attempt; half of each wait is random, so that not all clients come back at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure. `random` is from 0 (inclusive) to 1 (exclusive).
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// After a connection that held.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next(0.999_999_9).as_millis()).collect();
        assert_eq!(waits, [499, 999, 1_999, 3_999, 7_999, 14_999, 14_999, 14_999]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), FIRST / 2);
    }

    #[test]
    fn a_wait_is_never_shorter_than_half_and_never_overflows() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert!(backoff.next(0.0) >= FIRST / 2);
        }
        assert_eq!(backoff.next(0.0), LONGEST / 2);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.next(7.0), LONGEST);
    }
}
