//! `GET /v1/events`: a session whose events go out as Server-Sent Events. Queue, catch-up and order are those of a
//! WebSocket: see [`Feed`].

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse;
use axum::response::{IntoResponse, Response, Sse};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use protocol::client_frame::AppState;
use protocol::server_frame::{Resync, ResyncReason};
use protocol::{ServerFrame, Timestamp};
use tokio::time::{Instant, sleep_until};

use super::caller::{Fields, StreamCaller};
use super::problem::Problem;
use crate::app::App;
use crate::session::Session;
use crate::session::feed::{Feed, Read, Step};
use crate::session::handshake::device_of;
use crate::session::start::{self, Who};

/// Between comments, without which proxies and browsers take a quiet stream for a dead one (contract §2).
const COMMENT: Duration = Duration::from_secs(15);
/// What a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);

/// `GET /v1/events`
pub async fn events(
    State(app): State<Arc<App>>,
    StreamCaller(caller): StreamCaller,
    fields: Fields,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.drain.admit()?;
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    // The field is for clients that cannot set the header on their first request.
    let resume = header.or(fields.text("last_event_id")).filter(|it| !it.is_empty());
    let who = Who {
        device_id: device_of(&caller, fields.text("device_id").map(str::to_owned))?,
        user_id: caller.user_id.clone(),
        state: AppState::Foreground,
        is_present: true,
    };
    let opened = start::open(&app, &who, resume).await?;
    let now = Instant::now();
    let mut stream = EventStream {
        app,
        feed: opened.feed,
        session: opened.session,
        first: vec![place(sse::Event::default().retry(RETRY), &opened.cursor)],
        cursor: opened.cursor,
        comment_at: now + COMMENT,
        expires_at: caller.ends_at(Timestamp::now(), now),
    };
    if let Some(reason) = opened.refused {
        stream.first.push(resync(reason, &stream.cursor));
    }
    stream.first.reverse();
    metrics::counter!("parley_event_streams_total").increment(1);
    let events = stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    let mut response = Sse::new(events).into_response();
    // A proxy that collects an answer before it passes it on would hold events back for ever.
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

struct EventStream {
    app: Arc<App>,
    feed: Feed,
    session: Arc<Session>,
    /// What goes out before anything else, last first.
    first: Vec<sse::Event>,
    /// As last told.
    cursor: String,
    comment_at: Instant,
    expires_at: Instant,
}

enum Turn {
    Page(Read),
    Bell,
    Time,
}

impl EventStream {
    /// The next event; `None` ends the stream: the token has expired, or this node goes away.
    async fn next(&mut self) -> Option<sse::Event> {
        // What was returned before is on its way, or the next would not be asked for.
        self.session.queue().note_written();
        if let Some(event) = self.first.pop() {
            return Some(event);
        }
        loop {
            let now = Instant::now();
            if self.session.is_draining() || now >= self.expires_at {
                return None;
            }
            let reason = self.session.queue().take_resync();
            if let Some(reason) = reason {
                self.note_place();
                return Some(resync(reason, &self.cursor));
            }
            if let Some(event) = self.feed.pop() {
                self.note_place();
                let _span = event.delivery_span(&self.session, "sse");
                let frame = event.frame_for(&self.session.user_id);
                let kind = event.kind.frame_type();
                return Some(sse::Event::default().event(kind).id(&self.cursor).data(frame.as_str()));
            }
            if self.feed.step() == Step::Forward {
                continue;
            }
            if now >= self.comment_at {
                self.comment_at = now + COMMENT;
                self.note_place();
                return Some(place(sse::Event::default(), &self.cursor));
            }
            match self.turn().await {
                Turn::Page(read) => self.feed.on_page(read),
                Turn::Bell => {}
                Turn::Time => {
                    let now = Instant::now();
                    self.feed.on_time(now);
                    self.app.note_idle(&self.session, now);
                }
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        let mut until = self.comment_at.min(self.expires_at);
        let idle = self.session.idle_at(self.app.settings.away_after);
        for at in [self.feed.again_at(), idle].into_iter().flatten() {
            until = until.min(at);
        }
        let (feed, session) = (&mut self.feed, &self.session);
        let news = poll_fn(|cx| {
            if let Poll::Ready(read) = feed.poll_page(cx) {
                return Poll::Ready(Turn::Page(read));
            }
            if session.heard(cx.waker()) {
                return Poll::Ready(Turn::Bell);
            }
            Poll::Pending
        });
        tokio::select! {
            turn = news => turn,
            () = sleep_until(until) => Turn::Time,
        }
    }

    /// While the log is being made anew the last place stands; the `resync` that follows has a new one.
    fn note_place(&mut self) {
        if let Some((_, cursor)) = self.feed.place() {
            self.cursor = cursor;
        }
    }
}

/// A comment that moves the browser's last event id: how far a quiet stream has come.
fn place(event: sse::Event, cursor: &str) -> sse::Event {
    event.comment("").id(cursor)
}

fn resync(reason: ResyncReason, cursor: &str) -> sse::Event {
    metrics::counter!("parley_resyncs_total").increment(1);
    let frame = ServerFrame::Resync(Resync { reason });
    sse::Event::default().event("resync").id(cursor).data(frame.encode())
}
