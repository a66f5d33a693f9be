//! The search for the highest rate that is good: up in steps until one is bad, then closer. Pure.

/// From one step to the next.
const STEP: f64 = 1.25;
/// The last step, between the highest good rate and the lowest bad one.
const CLOSE: f64 = 1.06;

/// Which rate to try next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Search {
    next: f64,
    good: Option<f64>,
    bad: Option<f64>,
}

impl Search {
    pub(super) fn from(rate: f64) -> Self {
        Self {
            next: rate,
            good: None,
            bad: None,
        }
    }

    /// The rate to try, `None` once the answer is near enough.
    pub(super) fn next(&self) -> Option<f64> {
        let is_close = self.good.zip(self.bad).is_some_and(|(good, bad)| bad / good <= CLOSE);
        (!is_close && self.next >= 1.0).then_some(self.next.round())
    }

    /// How the rate went that was tried last.
    pub(super) fn record(&mut self, is_good: bool) {
        let slot = if is_good { &mut self.good } else { &mut self.bad };
        *slot = Some(self.next);
        self.next = match (self.good, self.bad) {
            (Some(good), Some(bad)) => (good * bad).sqrt(),
            (None, Some(bad)) => bad / STEP.powi(3),
            (Some(good), None) => good * STEP,
            (None, None) => self.next,
        };
    }

    /// The highest rate that was good.
    pub(super) fn best(&self) -> Option<f64> {
        self.good.map(f64::round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(start: f64, limit: f64) -> (Search, usize) {
        let mut search = Search::from(start);
        let mut steps = 0;
        while let Some(rate) = search.next() {
            search.record(rate <= limit);
            steps += 1;
            assert!(steps < 50);
        }
        (search, steps)
    }

    #[test]
    fn the_limit_is_found_from_below_and_from_above() {
        for start in [1_000.0, 20_000.0, 90_000.0] {
            let (search, steps) = search(start, 21_000.0);
            let best = search.best().unwrap();
            assert!((21_000.0 / CLOSE..=21_000.0).contains(&best), "{best} from {start}");
            assert!(steps < 20, "{steps}");
        }
    }

    #[test]
    fn where_no_rate_is_good_it_ends() {
        assert_eq!(search(1_000.0, 0.0).0.best(), None);
    }
}
