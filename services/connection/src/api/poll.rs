//! `GET /v1/events/poll`: a session for the time of one request. Queue, catch-up and order are those of a WebSocket: see
//! [`Feed`].

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Json as Body;
use axum::extract::State;
use protocol::client_frame::AppState;
use protocol::http::Events;
use protocol::limits::{EVENTS_DEFAULT, EVENTS_MOST};
use protocol::server_frame::ResyncReason;
use protocol::{Code, Refusal, Timestamp};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use super::caller::{Fields, StreamCaller};
use super::problem::Problem;
use crate::app::App;
use crate::session::Session;
use crate::session::feed::{Feed, Step};
use crate::session::start::{self, Who};

/// What a poll waits where the client does not say, and at most (contract §2).
const WAIT_DEFAULT_MS: u64 = 30_000;
const WAIT_MOST_MS: u64 = 60_000;
/// For catching up with what is in the log already, however short the client wants to wait.
const CATCH_UP: Duration = Duration::from_millis(1_900);

/// `GET /v1/events/poll?cursor=&timeout_ms=`
pub async fn poll(
    State(app): State<Arc<App>>,
    StreamCaller(caller): StreamCaller,
    fields: Fields,
) -> Result<Body<Events>, Problem> {
    app.drain.admit()?;
    let limit = fields.limit(EVENTS_DEFAULT, EVENTS_MOST)? as usize;
    let wait_ms = fields
        .number("timeout_ms")?
        .unwrap_or(WAIT_DEFAULT_MS)
        .min(WAIT_MOST_MS);
    let cursor = fields.text("cursor").filter(|it| !it.is_empty());
    let who = Who {
        user_id: caller.user_id.clone(),
        device_id: String::new(),
        state: AppState::Background,
        // A poll comes and goes: somebody who polls would flicker.
        is_present: false,
    };
    let opened = start::open(&app, &who, cursor).await?;
    let now = Instant::now();
    let mut poll = LongPoll {
        feed: opened.feed,
        session: opened.session,
        events: Vec::new(),
        limit,
        caught_up_by: now + CATCH_UP,
        until: (now + Duration::from_millis(wait_ms)).min(caller.ends_at(Timestamp::now(), now)),
    };
    match opened.refused {
        Some(reason) => Err(refused(reason).into()),
        None => Ok(Body(poll.answer().await?)),
    }
}

fn refused(reason: ResyncReason) -> Refusal {
    let reason = serde_json::to_string(&reason).unwrap_or_default();
    let message = format!("the log cannot be read from there ({reason}): read conversations and history");
    Refusal::new(Code::Resync, message)
}

struct LongPoll {
    feed: Feed,
    session: Arc<Session>,
    events: Vec<Box<RawValue>>,
    limit: usize,
    caught_up_by: Instant,
    until: Instant,
}

impl LongPoll {
    async fn answer(&mut self) -> Result<Events, Refusal> {
        loop {
            let reason = self.session.queue().take_resync();
            if let Some(reason) = reason {
                return Err(refused(reason));
            }
            self.take();
            if self.events.len() < self.limit && self.feed.step() == Step::Forward {
                continue;
            }
            let now = Instant::now();
            let deadline = if self.feed.was_caught_up() {
                self.until
            } else {
                self.caught_up_by
            };
            let some = !self.events.is_empty() && self.feed.was_caught_up();
            if some || self.events.len() >= self.limit || now >= deadline || self.session.is_draining() {
                return self.finish();
            }
            self.wait(deadline).await;
        }
    }

    fn take(&mut self) {
        while self.events.len() < self.limit
            && let Some(event) = self.feed.pop()
        {
            let _span = event.delivery_span(&self.session, "http");
            let frame = event.frame_for(&self.session.user_id).as_str().to_owned();
            self.events.extend(RawValue::from_string(frame));
        }
    }

    async fn wait(&mut self, deadline: Instant) {
        let until = self.feed.again_at().map_or(deadline, |at| at.min(deadline));
        let (feed, session) = (&mut self.feed, &self.session);
        let news = poll_fn(|cx| {
            if let Poll::Ready(read) = feed.poll_page(cx) {
                return Poll::Ready(Some(read));
            }
            if session.heard(cx.waker()) {
                return Poll::Ready(None);
            }
            Poll::Pending
        });
        let read = tokio::select! {
            read = news => read,
            () = sleep_until(until) => None,
        };
        self.feed.on_time(Instant::now());
        if let Some(read) = read {
            self.feed.on_page(read);
        }
    }

    fn finish(&mut self) -> Result<Events, Refusal> {
        let more = !self.session.queue().is_empty() || !self.feed.was_caught_up();
        let (_, cursor) = self
            .feed
            .place()
            .ok_or_else(|| Refusal::unavailable("the log was just made anew"))?;
        let events = std::mem::take(&mut self.events);
        Ok(Events { events, cursor, more })
    }
}
