//! One attempt at a job, and what its answer means: done, again, never, or that the device is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message as Entry};
use bus::write::{Terms, write};
use parking_lot::Mutex;
use protocol::Timestamp;
use protocol::push::Platform;
use tokio::time::Instant;

use super::backoff::pause_by_chance;
use super::breaker::{Breaker, Leave};
use super::check::settle;
use super::dead;
use super::job::{Job, Lane};
use crate::provider::{Answer, Push, Scope, Subscription};
use crate::records::Step;
use crate::registry::{Known, Registration};
use crate::service::Service;

/// While our own key is wrong a provider is tried so often.
const OUR_FAULT: Duration = Duration::from_secs(60);
/// Browsers' push services that are watched one by one; more share one breaker.
const ORIGINS_MOST: usize = 1_000;

/// Of the pushes that a replica has under way to browsers, those to one push service at most.
const UNDER_WAY_MOST: usize = 64;

/// A job that is to be tried now.
pub(super) struct Attempt {
    pub(super) entry: Entry,
    pub(super) job: Job,
    /// From 1.
    pub(super) number: u32,
    pub(super) known: Known,
}

/// What the attempts of one queue share.
#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) lane: Lane,
    /// By the origin of a browser's push service; of the others there is one, without a name.
    breakers: Mutex<HashMap<String, Breaker>>,
    /// Pushes under way to each of browsers' push services.
    under_way: Arc<Mutex<HashMap<String, usize>>>,
}

/// A place among the pushes under way to one push service of browsers.
struct Place {
    origin: String,
    under_way: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        if let Some(count) = under_way.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.origin);
            }
        }
    }
}

impl LaneState {
    pub(super) fn new(lane: Lane) -> Self {
        Self {
            lane,
            breakers: Mutex::default(),
            under_way: Arc::default(),
        }
    }

    /// Leave to fetch. A queue of browsers is never closed as a whole: each push service has a breaker of its own.
    pub(super) fn ask_lane(&self, now: Instant) -> Leave {
        if self.lane.platform == Platform::Webpush {
            return Leave::All;
        }
        self.with("", |it| it.ask(now))
    }

    /// For how long nothing may be sent by this queue, if so; also while a probe is on its way.
    pub(super) fn lane_shut(&self, now: Instant) -> Option<Duration> {
        if self.lane.platform == Platform::Webpush {
            return None;
        }
        self.with("", |it| it.shut_for(now))
    }

    /// Gives a probe back.
    pub(super) fn unused_lane(&self, now: Instant) {
        if self.lane.platform != Platform::Webpush {
            self.with("", |it| it.unused(now));
        }
    }

    /// `None`: one push service has as many as it gets. Anybody may register one that never answers.
    fn place(&self, origin: &str) -> Option<Place> {
        let mut under_way = self.under_way.lock();
        let count = under_way.entry(origin.to_owned()).or_default();
        if *count >= UNDER_WAY_MOST {
            return None;
        }
        *count += 1;
        Some(Place {
            origin: origin.to_owned(),
            under_way: self.under_way.clone(),
        })
    }

    fn with<T>(&self, origin: &str, act: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breakers = self.breakers.lock();
        if breakers.len() >= ORIGINS_MOST && !breakers.contains_key(origin) {
            breakers.retain(|_, it| !it.is_closed());
        }
        let full = breakers.len() >= ORIGINS_MOST && !breakers.contains_key(origin);
        let origin = if full { "" } else { origin };
        act(breakers.entry(origin.to_owned()).or_default())
    }
}

impl Attempt {
    /// Makes the attempt and settles the job.
    pub(super) async fn make(self, service: &Service, state: &LaneState) {
        let Some(provider) = service.providers.get(self.job.platform) else {
            // Its key was taken away since.
            again(&self.entry, OUR_FAULT).await;
            return;
        };
        let mut push = self.job.push(&self.known.registration);
        let origin = origin_of(&self.known.registration);
        let mut place = None;
        if let Some(origin) = &origin {
            push.address.app.clone_from(origin);
            place = state.place(origin);
            if place.is_none() {
                metrics::counter!("parley_push_origins_full_total").increment(1);
                again(&self.entry, pause_by_chance(1, None)).await;
                return;
            }
            if let Leave::Not(until) = state.with(origin, |it| it.ask(Instant::now())) {
                let left = until.saturating_duration_since(Instant::now());
                again(&self.entry, left + pause_by_chance(1, None)).await;
                return;
            }
        }
        let began = Instant::now();
        let answer = provider.push(&push).await;
        drop(place);
        self.count(&answer, began);
        self.tell_breaker(state, origin.as_deref().unwrap_or_default(), &answer);
        self.settle(service, state, answer, &push).await;
    }

    fn tell_breaker(&self, state: &LaneState, origin: &str, answer: &Answer) {
        let (asked, why) = match answer {
            Answer::Later {
                scope: Scope::App,
                after,
                reason,
            } => (*after, reason),
            Answer::OurFault { after, reason } => (Some(after.unwrap_or(OUR_FAULT)), reason),
            _ => {
                state.with(origin, Breaker::succeeded);
                return;
            }
        };
        let opened = state.with(origin, |it| it.failed(asked, Instant::now(), &mut rand::rng()));
        let Some(pause) = opened else { return };
        let (provider, app) = (self.job.platform.as_str(), state.lane.name.as_str());
        metrics::counter!("parley_push_breaker_opened_total", "provider" => provider, "app" => app.to_owned())
            .increment(1);
        if matches!(answer, Answer::OurFault { .. }) {
            tracing::error!(
                provider,
                app,
                reason = why,
                "the provider refuses our key or settings: nothing is pushed until that is mended; no device is forgotten"
            );
        } else {
            tracing::warn!(
                provider,
                app,
                reason = why,
                ?pause,
                "the provider does not work: pushes wait"
            );
        }
    }

    fn count(&self, answer: &Answer, began: Instant) {
        let name = match answer {
            Answer::Accepted => "accepted",
            Answer::Gone { .. } => "gone",
            Answer::Refused { .. } => "refused",
            Answer::OurFault { .. } => "our_fault",
            Answer::Later { .. } => "later",
        };
        let provider = self.job.platform.as_str();
        metrics::counter!("parley_push_answers_total", "provider" => provider, "answer" => name).increment(1);
        metrics::histogram!("parley_push_request_seconds", "provider" => provider)
            .record(began.elapsed().as_secs_f64());
        if *answer == Answer::Accepted {
            let age = Timestamp::now().as_millis() - self.job.made_at.as_millis();
            metrics::histogram!("parley_push_latency_seconds", "provider" => provider).record(age.max(0) as f64 / 1e3);
        }
    }

    async fn settle(self, service: &Service, state: &LaneState, answer: Answer, push: &Push) {
        match answer {
            Answer::Accepted => {
                self.job.record(service, Step::Sent { attempt: self.number }).await;
                settle(&self.entry, AckKind::Ack).await;
            }
            Answer::Gone { reason, since } => self.forget(service, state, reason, since).await,
            Answer::Refused { reason } => {
                tracing::warn!(id = %push.id, reason, provider = self.job.platform.as_str(), "a push was refused");
                dead::bury(service, &state.lane, &self.entry, &self.job, self.number, reason).await;
            }
            Answer::OurFault { reason, after } | Answer::Later { reason, after, .. } => {
                self.later(service, state, reason, after).await;
            }
        }
    }

    /// Puts the job back for another attempt, which is counted: what was only delivered and not tried is not.
    async fn later(self, service: &Service, state: &LaneState, reason: String, after: Option<Duration>) {
        if self.number >= service.settings.attempts {
            dead::bury(service, &state.lane, &self.entry, &self.job, self.number, reason).await;
            return;
        }
        let pause = pause_by_chance(self.number, after);
        let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        let due = Timestamp::from_millis(Timestamp::now().as_millis().saturating_add(pause_ms));
        let (next, key) = self.job.after_attempt(self.number, due);
        let payload = serde_json::to_vec(&next).unwrap_or_default();
        let terms = Terms {
            message_id: Some(&key),
            ..Terms::default()
        };
        match write(&service.bus, state.lane.subject(), payload.into(), terms).await {
            Ok(_) => settle(&self.entry, AckKind::Ack).await,
            // This one comes again instead, uncounted.
            Err(error) => {
                tracing::debug!(%error, "an attempt could not be counted");
                again(&self.entry, pause).await;
            }
        }
    }

    /// The token is dead: it is forgotten, unless it was registered after it died.
    async fn forget(self, service: &Service, state: &LaneState, reason: String, since: Option<Timestamp>) {
        let registered_at = self.known.registration.registered_at;
        if since.is_some_and(|since| registered_at > since) {
            self.later(service, state, format!("{reason}, but registered again since"), None)
                .await;
            return;
        }
        let (user, device) = (&self.job.user_id, &self.job.device_id);
        match service.registry.forget(user, device, &self.known).await {
            Ok(true) => {
                metrics::counter!("parley_push_tokens_forgotten_total", "provider" => self.job.platform.as_str())
                    .increment(1);
                self.job.record(service, Step::Gone { reason }).await;
                settle(&self.entry, AckKind::Ack).await;
            }
            // Registered again just now: the next attempt goes there.
            Ok(false) => again(&self.entry, Duration::from_millis(100)).await,
            Err(error) => {
                tracing::debug!(%error, "a dead token could not be forgotten yet");
                again(&self.entry, Duration::from_secs(1)).await;
            }
        }
    }
}

/// Puts a job off.
pub(super) async fn again(entry: &Entry, pause: Duration) {
    settle(entry, AckKind::Nak(Some(pause))).await;
}

/// Scheme, host and port of a browser's push service.
fn origin_of(registration: &Registration) -> Option<String> {
    if registration.platform != Platform::Webpush {
        return None;
    }
    // Whether it may be connected to is for the provider to say.
    let subscription = Subscription::parse(&registration.token.0, true).ok()?;
    Some(subscription.endpoint.origin)
}
