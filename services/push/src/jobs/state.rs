//! What the attempts of one queue share: whether its provider works.

use std::time::Duration;

use parking_lot::Mutex;
use protocol::push::Platform;
use tokio::time::Instant;

use super::breaker::{Breaker, Leave};
use super::job::{Job, Lane};
use super::origins::{Origins, Place};

/// See the module.
#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) lane: Lane,
    /// Of the queue as a whole; that of browsers is never closed.
    breaker: Mutex<Breaker>,
    /// Of browsers: each push service has a breaker of its own.
    origins: Origins,
    /// Shows whether the breaker is open.
    open: metrics::Gauge,
}

impl LaneState {
    pub(super) fn new(lane: Lane) -> Self {
        let (provider, app) = (lane.platform.as_str(), lane.name.clone());
        // At zero before anything goes wrong.
        drop(metrics::counter!("parley_push_breaker_opened_total", "provider" => provider, "app" => app.clone()));
        Self {
            open: metrics::gauge!("parley_push_breaker_open", "provider" => provider, "app" => app),
            lane,
            breaker: Mutex::default(),
            origins: Origins::new(),
        }
    }

    fn is_of_browsers(&self) -> bool {
        self.lane.platform == Platform::Webpush
    }

    /// Leave to fetch.
    pub(super) fn ask(&self, now: Instant) -> Leave {
        if self.is_of_browsers() {
            return Leave::All;
        }
        self.breaker.lock().ask(now)
    }

    /// For how long nothing may be sent by this queue but a probe, if so.
    pub(super) fn shut(&self, now: Instant) -> Option<Duration> {
        self.breaker.lock().shut_for(now)
    }

    /// Gives a probe back.
    pub(super) fn unused(&self, now: Instant) {
        self.breaker.lock().unused(now);
    }

    /// A place for a job.
    ///
    /// # Errors
    /// After which time to ask again.
    pub(super) fn admit(&self, job: &Job, now: Instant) -> Result<Place, Duration> {
        if self.is_of_browsers() {
            return self.origins.admit(&job.app, now);
        }
        Ok(Place::default())
    }

    /// The provider did its work.
    pub(super) fn succeeded(&self, job: &Job, took: Duration, now: Instant) {
        if self.is_of_browsers() {
            self.origins.succeeded(&job.app, took, now);
        } else {
            let mut breaker = self.breaker.lock();
            breaker.succeeded();
            self.open.set(f64::from(breaker.shut_for(now).is_some()));
        }
    }

    /// It did not, and may have asked for a pause. Returns for how long it is left alone, if it has just come to that.
    pub(super) fn failed(&self, job: &Job, asked: Option<Duration>, now: Instant) -> Option<Duration> {
        if self.is_of_browsers() {
            return self.origins.failed(&job.app, now);
        }
        let mut breaker = self.breaker.lock();
        let opened = breaker.failed(asked, now, &mut rand::rng());
        self.open.set(f64::from(breaker.shut_for(now).is_some()));
        opened
    }
}
