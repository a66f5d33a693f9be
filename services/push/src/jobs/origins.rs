//! Browsers' push services: how much of a replica each of them gets. Anybody may register one that never answers, or
//! answers slowly, so that one that has not proven itself gets a few places, and all such together a part of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::breaker::{Breaker, Leave};

/// Places of a push service that has not proven itself, and of all such together.
const UNPROVEN_MOST: usize = 8;
const ALL_UNPROVEN_MOST: usize = 64;
/// Whoever accepts a push within this has proven himself,
const QUICK: Duration = Duration::from_secs(2);
/// for so long.
const PROVEN: Duration = Duration::from_secs(10 * 60);
/// Push services that are remembered; the ones used least go first.
const KNOWN_MOST: u64 = 4_096;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Origins(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    known: moka::sync::Cache<String, Arc<Mutex<Origin>>>,
    unproven: Mutex<HashMap<String, usize>>,
}

#[derive(Debug, Default)]
struct Origin {
    breaker: Breaker,
    proven_at: Option<Instant>,
}

/// A place among the pushes under way; of others than browsers nothing but that.
#[derive(Debug, Default)]
pub(super) struct Place {
    held: Option<(Origins, String)>,
    is_unproven: bool,
    /// It is a probe of the breaker, and not sent yet.
    is_probe: bool,
}

impl Origins {
    pub(super) fn new() -> Self {
        let known = moka::sync::Cache::builder()
            .max_capacity(KNOWN_MOST)
            .time_to_idle(Duration::from_secs(60 * 60))
            .build();
        Self(Arc::new(Shared {
            known,
            unproven: Mutex::default(),
        }))
    }

    fn origin(&self, name: &str) -> Arc<Mutex<Origin>> {
        self.0.known.get_with_by_ref(name, Arc::default)
    }

    /// Asks for a place.
    ///
    /// # Errors
    /// After which time to ask again.
    pub(super) fn admit(&self, name: &str, now: Instant) -> Result<Place, Duration> {
        let origin = self.origin(name);
        let mut origin = origin.lock();
        let is_unproven = origin
            .proven_at
            .is_none_or(|at| now.saturating_duration_since(at) > PROVEN);
        if is_unproven && !self.take_unproven(name) {
            metrics::counter!("parley_push_origins_full_total").increment(1);
            return Err(QUICK);
        }
        let mut place = Place {
            held: Some((self.clone(), name.to_owned())),
            is_unproven,
            is_probe: false,
        };
        match origin.breaker.ask(now) {
            Leave::All => Ok(place),
            Leave::Probe => {
                place.is_probe = true;
                Ok(place)
            }
            Leave::Not(until) => Err(until.saturating_duration_since(now)),
        }
    }

    fn take_unproven(&self, name: &str) -> bool {
        let mut unproven = self.0.unproven.lock();
        let all: usize = unproven.values().sum();
        let own = unproven.get(name).copied().unwrap_or(0);
        let free = own < UNPROVEN_MOST && all < ALL_UNPROVEN_MOST;
        if free {
            unproven.insert(name.to_owned(), own + 1);
        }
        free
    }

    fn give_unproven(&self, name: &str) {
        let mut unproven = self.0.unproven.lock();
        if let Some(count) = unproven.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                unproven.remove(name);
            }
        }
    }

    /// Notes that a push was answered, and how quickly.
    pub(super) fn succeeded(&self, name: &str, took: Duration, now: Instant) {
        let origin = self.origin(name);
        let mut origin = origin.lock();
        origin.breaker.succeeded();
        if took <= QUICK {
            origin.proven_at = Some(now);
        }
    }

    /// Notes that it was not. Whatever pause is asked for, one answer to one subscription closes no push service to all the
    /// others: anybody can have one that is refused.
    pub(super) fn failed(&self, name: &str, now: Instant) -> Option<Duration> {
        let origin = self.origin(name);
        let mut origin = origin.lock();
        origin.breaker.failed(None, now, &mut rand::rng())
    }
}

impl Place {
    /// The push is on its way.
    pub(super) fn sent(&mut self) {
        self.is_probe = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((origins, name)) = self.held.take() else {
            return;
        };
        if self.is_unproven {
            origins.give_unproven(&name);
        }
        if self.is_probe {
            origins.origin(&name).lock().breaker.unused(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_service_that_has_not_proven_itself_gets_a_few_places_and_all_such_a_part() {
        let (origins, now) = (Origins::new(), Instant::now());
        let places: Vec<_> = (0..20).filter_map(|_| origins.admit("slow", now).ok()).collect();
        assert_eq!(places.len(), UNPROVEN_MOST);
        let others: Vec<_> = (0..100)
            .filter_map(|number| origins.admit(&format!("slow {number}"), now).ok())
            .collect();
        assert_eq!(places.len() + others.len(), ALL_UNPROVEN_MOST);
        drop(places);
        assert!(origins.admit("slow", now).is_ok());
    }

    #[test]
    fn one_that_answers_quickly_has_no_such_bound_and_one_that_accepts_slowly_keeps_it() {
        let (origins, now) = (Origins::new(), Instant::now());
        origins.succeeded("quick", Duration::from_millis(50), now);
        origins.succeeded("slow", Duration::from_secs(9), now);
        let places = |name: &str| {
            (0..500)
                .filter_map(|_| origins.admit(name, now).ok())
                .collect::<Vec<_>>()
        };
        assert_eq!(places("quick").len(), 500);
        assert_eq!(places("slow").len(), UNPROVEN_MOST);
        let later = now + PROVEN * 2;
        assert_eq!(
            (0..500)
                .filter_map(|_| origins.admit("quick", later).ok())
                .collect::<Vec<_>>()
                .len(),
            UNPROVEN_MOST
        );
    }

    #[test]
    fn one_failure_closes_nothing_and_a_probe_that_is_not_sent_is_given_back() {
        let (origins, now) = (Origins::new(), Instant::now());
        assert!(origins.failed("a", now).is_none());
        assert!(origins.admit("a", now).is_ok());
        while origins.failed("a", now).is_none() {}
        let pause = origins.admit("a", now).unwrap_err();
        let later = now + pause;
        drop(origins.admit("a", later).unwrap());
        let mut probe = origins.admit("a", later + Duration::from_secs(1)).unwrap();
        probe.sent();
        assert!(origins.admit("a", later + Duration::from_secs(1)).is_err(), "one probe");
        assert!(origins.admit("b", now).is_ok());
    }
}
