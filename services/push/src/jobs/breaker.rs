//! A circuit breaker: whether a provider's app is tried at all. Pure: time and chance are passed in.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// How long it stays open at first, and at most without being asked to.
const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);
/// What a provider may ask for at most: it could be wrong by years.
const ASKED_MOST: Duration = Duration::from_secs(60 * 60);
/// A probe that has said nothing for so long is taken for lost.
const PROBE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Breaker {
    state: State,
    /// Failures in a row.
    failures: u32,
    /// How often it opened in a row.
    opened: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// One push is on its way to see whether it works again.
    Probing {
        since: Instant,
    },
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// All.
    All,
    /// One, to see. It is taken with this answer.
    Probe,
    /// Nothing before this.
    Not(Instant),
}

impl Breaker {
    /// Asks for leave to send.
    pub(crate) fn ask(&mut self, now: Instant) -> Leave {
        match self.state {
            State::Closed => Leave::All,
            State::Open { until } if now < until => Leave::Not(until),
            State::Probing { since } if now < since + PROBE => Leave::Not(since + PROBE),
            State::Open { .. } | State::Probing { .. } => {
                self.state = State::Probing { since: now };
                Leave::Probe
            }
        }
    }

    /// For how long nothing passes but a probe, if so: until it may be asked again, or a moment while a probe is on its way.
    pub(crate) fn shut_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Open { until } => Some(until.saturating_duration_since(now)),
            State::Probing { .. } => Some(FIRST),
        }
    }

    /// Gives a probe back that was not sent.
    pub(crate) fn unused(&mut self, now: Instant) {
        if let State::Probing { .. } = self.state {
            self.state = State::Open { until: now };
        }
    }

    /// The provider did its work.
    pub(crate) fn succeeded(&mut self) {
        // What was sent before it opened says nothing of now.
        if !matches!(self.state, State::Open { .. }) {
            *self = Self::default();
        }
    }

    /// The provider did not, and may have asked for a pause. Returns for how long it is open now, if it has just opened.
    pub(crate) fn failed(&mut self, asked: Option<Duration>, now: Instant, random: &mut impl Rng) -> Option<Duration> {
        self.failures += 1;
        let opens = match self.state {
            State::Closed => asked.is_some() || self.failures >= FAILURES,
            State::Probing { .. } => true,
            State::Open { until } => {
                // Others were under way: the longest pause that any was asked for holds.
                let asked_until = asked.map(|it| now + it.min(ASKED_MOST));
                self.state = State::Open {
                    until: asked_until.map_or(until, |it| it.max(until)),
                };
                false
            }
        };
        if !opens {
            return None;
        }
        let ours = FIRST.saturating_mul(1 << self.opened.min(10)).min(MOST);
        let ours = ours.mul_f64(random.random_range(0.75..=1.0));
        let pause = asked.map_or(ours, |it| it.min(ASKED_MOST).max(ours));
        self.opened += 1;
        self.state = State::Open { until: now + pause };
        Some(pause)
    }

    #[cfg(test)]
    fn is_closed(&self) -> bool {
        self.state == State::Closed
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn opened(now: Instant, random: &mut StdRng) -> Breaker {
        let mut breaker = Breaker::default();
        for failure in 1..=FAILURES {
            assert_eq!(breaker.ask(now), Leave::All);
            assert_eq!(breaker.failed(None, now, random).is_some(), failure == FAILURES);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_probe_at_a_time_closes_it() {
        let (now, mut random) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut breaker = opened(now, &mut random);
        assert!(matches!(breaker.ask(now), Leave::Not(_)));
        let later = now + second(1);
        assert_eq!(breaker.ask(later), Leave::Probe);
        assert!(matches!(breaker.ask(later), Leave::Not(_)), "one probe only");
        breaker.succeeded();
        assert_eq!(breaker.ask(later), Leave::All);
    }

    #[test]
    fn probes_that_fail_open_it_for_longer_and_longer_up_to_half_a_minute() {
        let (mut now, mut random) = (Instant::now(), StdRng::seed_from_u64(2));
        let mut breaker = opened(now, &mut random);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let Leave::Not(until) = breaker.ask(now) else {
                panic!("open")
            };
            now = until;
            assert_eq!(breaker.ask(now), Leave::Probe);
            pauses.extend(breaker.failed(None, now, &mut random));
        }
        assert_eq!(pauses.len(), 8);
        assert!(
            pauses[0] <= second(2) && pauses[7] > second(20) && pauses[7] <= MOST,
            "{pauses:?}"
        );
    }

    #[test]
    fn what_the_provider_asks_for_is_obeyed_within_an_hour() {
        let (now, mut random) = (Instant::now(), StdRng::seed_from_u64(3));
        let mut breaker = Breaker::default();
        assert_eq!(breaker.failed(Some(second(90)), now, &mut random), Some(second(90)));
        assert!(breaker.failed(Some(second(120)), now, &mut random).is_none());
        assert_eq!(breaker.ask(now + second(100)), Leave::Not(now + second(120)));
        let mut breaker = Breaker::default();
        let years = breaker.failed(Some(second(99_999_999)), now, &mut random);
        assert_eq!(years, Some(ASKED_MOST));
    }

    #[test]
    fn a_late_success_of_before_does_not_close_it_and_a_success_between_failures_starts_anew() {
        let (now, mut random) = (Instant::now(), StdRng::seed_from_u64(4));
        let mut breaker = opened(now, &mut random);
        breaker.succeeded();
        assert!(!breaker.is_closed());
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..FAILURES {
                assert!(breaker.failed(None, now, &mut random).is_none());
            }
            breaker.succeeded();
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_probe_that_was_not_sent_or_is_lost_is_not_the_last() {
        let (now, mut random) = (Instant::now(), StdRng::seed_from_u64(5));
        let mut breaker = opened(now, &mut random);
        let later = now + second(2);
        assert_eq!(breaker.ask(later), Leave::Probe);
        breaker.unused(later);
        assert_eq!(breaker.ask(later), Leave::Probe);
        assert_eq!(breaker.ask(later + PROBE), Leave::Probe);
    }
}
