//! One attempt at a job, and what its answer means: done, again, never, or that the device is gone.

use std::convert::Infallible;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message as Entry};
use bus::write::{Terms, write};
use lifecycle::Shutdown;
use protocol::push::Platform;
use protocol::{Timestamp, UserId};
use telemetry::trace::{self, Origin};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::backoff::{MOST, MOST_IN_OUTAGE, pause_by_chance};
use super::check::settle;
use super::dead;
use super::job::Job;
use super::origins::Place;
use super::state::LaneState;
use super::worker::PROGRESS;
use crate::provider::{Answer, Push, Scope};
use crate::records::Step;
use crate::registry::Known;
use crate::service::Service;

/// While our own key is wrong a provider is tried so often.
const OUR_FAULT: Duration = Duration::from_secs(60);
/// What a browser's push service may ask for at most: jobs that are put off take up room.
const ASKED_OF_BROWSERS: Duration = Duration::from_secs(10 * 60);
/// What a replica that ends gives back comes again after this.
const GIVEN_BACK: Duration = Duration::from_millis(100);
const CLOCKS_APART_MS: i64 = 60 * 60 * 1_000;

/// A job that is to be tried now.
pub(super) struct Attempt {
    pub(super) entry: Entry,
    pub(super) job: Job,
    /// From 1.
    pub(super) number: u32,
    pub(super) place: Place,
    pub(super) known: Known,
}

impl Attempt {
    /// The device, and what the push replaces on its screen.
    pub(super) fn key(&self) -> (UserId, String, String) {
        let (user, device) = self.job.device();
        (user, device, self.job.collapse_id())
    }

    /// Makes the attempt and settles the job, or gives it back when told to give up: another replica makes it then,
    /// instead of nobody until NATS' patience ends.
    pub(super) async fn make(mut self, service: &Service, state: &LaneState, give_up: &Shutdown) {
        if give_up.is_triggered() {
            again(&self.entry, GIVEN_BACK).await;
            return;
        }
        let Some(provider) = service.providers.get(self.job.platform) else {
            // Its key was taken away since.
            again(&self.entry, OUR_FAULT).await;
            return;
        };
        let push = self.job.push(&self.known.registration);
        let span = self.span();
        let began = Instant::now();
        self.place.sent();
        let answer = tokio::select! {
            answer = provider.push(&push).instrument(span.clone()) => answer,
            never = self.keep() => match never {},
            () = give_up.triggered() => {
                again(&self.entry, GIVEN_BACK).await;
                return;
            }
        };
        self.place = Place::default();
        self.count(&answer, began);
        trace::set(&span, "parley.push.answer", name(&answer));
        if answer != Answer::Accepted {
            trace::fail(&span, name(&answer));
        }
        self.tell_breaker(state, &answer, began.elapsed());
        self.settle(service, state, answer, &push).instrument(span).await;
    }

    fn span(&self) -> Span {
        telemetry::span!(
            Origin::inside(self.job.traceparent()),
            "consumer",
            format!("push to {}", self.job.platform.as_str()),
            messaging.system = "nats",
            messaging.operation.name = "process",
            messaging.operation.r#type = "process",
            messaging.destination.name = self.entry.subject.as_str(),
            messaging.message.id = self.job.push_id().to_string(),
            parley.push.attempt = i64::from(self.number),
            user.id = self.job.user_id.as_str(),
            device.id = self.job.device_id.as_str()
        )
    }

    /// Tells NATS that the job is in hand, until dropped.
    async fn keep(&self) -> Infallible {
        loop {
            tokio::time::sleep(PROGRESS).await;
            settle(&self.entry, AckKind::Progress).await;
        }
    }

    fn tell_breaker(&self, state: &LaneState, answer: &Answer, took: Duration) {
        let (asked, why) = match answer {
            Answer::Later {
                scope: Scope::App,
                after,
                reason,
            } => (*after, reason),
            // It may be the app, and it may be one device: nobody else waits for it before that is clear.
            Answer::Later {
                scope: Scope::Either,
                reason,
                ..
            } => (None, reason),
            Answer::OurFault { after, reason } => (Some(after.unwrap_or(OUR_FAULT)), reason),
            _ => {
                state.succeeded(&self.job, took, Instant::now());
                return;
            }
        };
        let Some(pause) = state.failed(&self.job, asked, Instant::now()) else {
            return;
        };
        let (provider, app) = (self.job.platform.as_str(), state.lane.name.as_str());
        metrics::counter!("parley_push_breaker_opened_total", "provider" => provider, "app" => app.to_owned())
            .increment(1);
        let app = self.job.app.as_str();
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
        let name = name(answer);
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
            Answer::Later {
                reason,
                after,
                scope: Scope::Device | Scope::Either,
            } => self.later(service, state, reason, after, MOST).await,
            Answer::OurFault { reason, after } | Answer::Later { reason, after, .. } => {
                self.later(service, state, reason, after, MOST_IN_OUTAGE).await;
            }
        }
    }

    /// Puts the job back for another attempt, which is counted: what was only delivered and not tried is not.
    async fn later(
        self,
        service: &Service,
        state: &LaneState,
        reason: String,
        after: Option<Duration>,
        most: Duration,
    ) {
        if self.number >= service.settings.attempts {
            dead::bury(service, &state.lane, &self.entry, &self.job, self.number, reason).await;
            return;
        }
        let is_of_browser = self.job.platform == Platform::Webpush;
        let after = after.map(|it| if is_of_browser { it.min(ASKED_OF_BROWSERS) } else { it });
        let pause = pause_by_chance(self.number, after, most);
        let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        let due = Timestamp::from_millis(Timestamp::now().as_millis().saturating_add(pause_ms));
        let place = self.entry.info().map_or(0, |info| info.stream_sequence);
        let (next, key) = self.job.after_attempt(self.number, due, place);
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
        let age = Timestamp::now().as_millis() - registered_at.as_millis();
        // Clocks differ by minutes: what is said to be dead an hour after it was registered is.
        if since.is_some_and(|since| registered_at > since) && age < CLOCKS_APART_MS {
            self.later(
                service,
                state,
                format!("{reason}, but registered again since"),
                None,
                MOST,
            )
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

/// What an answer is called in metrics and traces.
fn name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Accepted => "accepted",
        Answer::Gone { .. } => "gone",
        Answer::Refused { .. } => "refused",
        Answer::OurFault { .. } => "our_fault",
        Answer::Later { .. } => "later",
    }
}

/// Puts a job off.
pub(super) async fn again(entry: &Entry, pause: Duration) {
    settle(entry, AckKind::Nak(Some(pause))).await;
}
