//! When a failed push is tried again.

use std::time::Duration;

use rand::Rng;

const FIRST: Duration = Duration::from_secs(1);
/// The longest pause for one device.
pub(crate) const MOST: Duration = Duration::from_secs(5 * 60);
/// The longest while a provider does not work: its breaker spares it, and when it works again nobody is to wait for long.
pub(crate) const MOST_IN_OUTAGE: Duration = Duration::from_secs(20);

/// The pause after an attempt, counted from 1: it doubles from a second to `most`, and lies anywhere in its upper
/// half, so that what failed together does not come back together. Never shorter than what the provider asked for.
pub(crate) fn pause(attempt: u32, asked: Option<Duration>, most: Duration, random: &mut impl Rng) -> Duration {
    let whole = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(most);
    let ours = whole.mul_f64(random.random_range(0.5..=1.0));
    match asked {
        // Behind it, not at it: everybody was told the same.
        Some(asked) => asked + ours.min(asked.mul_f64(0.1).max(FIRST)),
        None => ours,
    }
}

/// [`pause`] by this thread's own chance.
pub(crate) fn pause_by_chance(attempt: u32, asked: Option<Duration>, most: Duration) -> Duration {
    pause(attempt, asked, most, &mut rand::rng())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes_and_differ() {
        let mut random = StdRng::seed_from_u64(1);
        for (attempt, most) in [(1, 1), (2, 2), (3, 4), (6, 32), (10, 300), (1_000, 300)] {
            let pauses: Vec<_> = (0..50).map(|_| pause(attempt, None, MOST, &mut random)).collect();
            let most = Duration::from_secs(most);
            assert!(
                pauses.iter().all(|it| (most / 2..=most).contains(it)),
                "{attempt}: {pauses:?}"
            );
            assert!(pauses.iter().any(|it| *it != pauses[0]));
        }
    }

    #[test]
    fn what_the_provider_asks_for_is_never_undercut() {
        let mut random = StdRng::seed_from_u64(2);
        let asked = Duration::from_secs(120);
        for attempt in 1..20 {
            let pause = pause(attempt, Some(asked), MOST, &mut random);
            assert!(pause >= asked && pause <= asked + Duration::from_secs(12), "{pause:?}");
        }
    }
}
