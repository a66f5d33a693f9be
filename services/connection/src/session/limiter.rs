//! A limit on how often a client may do something: a token bucket that also notices who does not listen.
//!
//! Pure: the time is passed in. Somebody who keeps sending through refusals is refused until he pauses, the longer the
//! longer he went on, up to a second; so "nothing but refusals" is a state that a flood reaches and a client that
//! heeds `retry_after_ms` never does.

use std::time::Duration;

use tokio::time::Instant;

/// Refusals for this long, with nothing accepted between, are a flood.
pub const FLOOD: Duration = Duration::from_secs(10);
const PAUSE_MOST: Duration = Duration::from_secs(1);
/// What a refused attempt takes, in tokens: whoever keeps on at a third more than the rate gets nothing, and whoever is
/// only a little too fast gets most of it.
const REFUSAL_COST: f64 = 0.75;

/// See the module.
#[derive(Debug, Clone)]
pub struct Limiter {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled_at: Instant,
    refused_since: Option<Instant>,
}

/// Not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// When trying again makes sense, in milliseconds, at least 1.
    pub retry_after_ms: u64,
    /// Whether this has gone on for [`FLOOD`].
    pub flood: bool,
}

impl Limiter {
    /// So many a second with a burst of twice it; 0 means no limit.
    pub fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            burst: per_second * 2.0,
            tokens: per_second * 2.0,
            filled_at: now,
            refused_since: None,
        }
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn take(&mut self, now: Instant) -> Result<(), Refused> {
        if self.per_second == 0.0 {
            return Ok(());
        }
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.filled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            self.refused_since = None;
            return Ok(());
        }
        let since = *self.refused_since.get_or_insert(now);
        let refused_for = now.saturating_duration_since(since);
        let one = Duration::from_secs_f64(1.0 / self.per_second);
        let pause = (refused_for / 4).max(one).min(PAUSE_MOST.max(one));
        // Never further into debt than the pause that is told, so that waiting as told by any refusal is enough.
        let deepest = 1.0 - self.per_second * pause.as_secs_f64();
        self.tokens = (self.tokens - REFUSAL_COST).max(deepest.min(self.tokens));
        let retry_after_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        Err(Refused {
            retry_after_ms,
            flood: refused_for >= FLOOD,
        })
    }

    /// Whether this limiter is as good as new: nothing is lost by forgetting it.
    pub fn is_full(&self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens + passed * self.per_second >= self.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_of_twice_the_rate_passes_and_no_more() {
        let now = Instant::now();
        let mut limiter = Limiter::new(10, now);
        assert_eq!((0..100).filter(|_| limiter.take(now).is_ok()).count(), 20);
    }

    #[test]
    fn whoever_waits_as_told_by_any_refusal_of_a_burst_is_let_in() {
        let now = Instant::now();
        let mut limiter = Limiter::new(10, now);
        let first = (0..100).find_map(|_| limiter.take(now).err()).unwrap();
        (0..500).for_each(|_| assert!(limiter.take(now).is_err()));
        assert!(limiter.take(now + ms(first.retry_after_ms)).is_ok());
    }

    #[test]
    fn a_flood_with_hiccups_is_refused_throughout_and_named_after_ten_seconds() {
        let start = Instant::now();
        let mut limiter = Limiter::new(50, start);
        let mut now = start;
        let mut flooded_at = None;
        for step in 0..20_000u32 {
            now += if step % 500 == 499 { ms(60) } else { ms(1) };
            if let Err(Refused { flood: true, .. }) = limiter.take(now) {
                flooded_at = Some(now - start);
                break;
            }
        }
        let flooded_at = flooded_at.unwrap();
        assert!(flooded_at >= FLOOD && flooded_at < FLOOD + ms(1_500), "{flooded_at:?}");
    }

    #[test]
    fn a_little_too_fast_is_held_back_and_is_no_flood() {
        let start = Instant::now();
        let mut limiter = Limiter::new(50, start);
        let (mut taken, seconds) = (0, 30);
        for step in 0..60 * seconds {
            match limiter.take(start + ms(step * 1000 / 60)) {
                Ok(()) => taken += 1,
                Err(refused) => assert!(!refused.flood),
            }
        }
        assert!((25 * seconds..=50 * seconds + 100).contains(&taken), "{taken}");
    }

    #[test]
    fn zero_is_no_limit() {
        let now = Instant::now();
        let mut limiter = Limiter::new(0, now);
        assert!((0..10_000).all(|_| limiter.take(now).is_ok()));
    }
}
