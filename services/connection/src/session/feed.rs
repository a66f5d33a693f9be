//! A session's events in their order: from its queue, and from the log where it is behind. Whatever carries them to the
//! client, a WebSocket, an event stream or an answer to a poll, takes them from here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bus::LogError;
use protocol::server_frame::ResyncReason;
use tokio::time::{Duration, Instant};

use super::Session;
use crate::app::App;
use crate::hub::event::Event;
use crate::hub::{CatchUp, PAGE_EVENTS, Page};
use crate::metrics::Standing;

/// Between asking again for something that was not there yet.
pub const AGAIN: Duration = Duration::from_millis(20);
/// For the tail to bring what is known to be in the log.
const SOON: Duration = Duration::from_millis(2);

/// A page of the stream that came, or not.
#[derive(Debug)]
pub struct Read {
    lane: usize,
    from: u64,
    page: Result<Page, LogError>,
}

/// What bringing lanes forward came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There may be an event now.
    Forward,
    /// All lanes are live, for the first time since the session began.
    CaughtUp,
    /// Nothing to do for now: a page, the bell or [`Feed::again_at`] will tell.
    Nothing,
}

/// See the module. When it ends, the session is registered nowhere any more.
pub struct Feed {
    app: Arc<App>,
    session: Arc<Session>,
    page: Option<Pin<Box<dyn Future<Output = Read> + Send>>>,
    caught_up_once: bool,
    again_at: Option<Instant>,
    /// The next wait for the tail: it grows while the tail lags, when many wait for it.
    soon: Duration,
    /// When the stream is read again that could not be.
    read_at: Option<Instant>,
    standing: Standing,
}

impl Drop for Feed {
    /// However its owner ends, by a panic too, the hub forgets the session.
    fn drop(&mut self) {
        self.app.detach(&self.session);
    }
}

impl Feed {
    /// The events of a session that is about to be registered.
    pub fn new(app: Arc<App>, session: Arc<Session>) -> Self {
        Self {
            app,
            session,
            page: None,
            caught_up_once: false,
            again_at: None,
            soon: SOON,
            read_at: None,
            standing: Standing::behind(),
        }
    }

    /// The next event, if one waits, and whether it came live, not by a replay.
    pub fn pop(&mut self) -> Option<(Arc<Event>, bool)> {
        self.session.queue().pop()
    }

    /// When [`Feed::step`] makes sense again.
    pub fn again_at(&self) -> Option<Instant> {
        self.again_at.into_iter().chain(self.read_at).min()
    }

    /// Notes what time it is.
    pub fn on_time(&mut self, now: Instant) {
        for at in [&mut self.again_at, &mut self.read_at] {
            at.take_if(|at| *at <= now);
        }
    }

    /// Whether all lanes were live at some time.
    pub fn was_caught_up(&self) -> bool {
        self.caught_up_once
    }

    /// Brings lanes forward that are behind.
    pub fn step(&mut self) -> Step {
        let waits = !self.session.queue().is_empty();
        if waits || self.page.is_some() {
            return if waits { Step::Forward } else { Step::Nothing };
        }
        let mut behind = false;
        for lane in 0..self.app.hub.lanes.len() {
            if self.session.queue().behind(lane).is_none() {
                continue;
            }
            behind = true;
            match self.app.hub.catch_up(&self.session, lane) {
                CatchUp::Stepped => {
                    self.soon = SOON;
                    return Step::Forward;
                }
                CatchUp::Ahead => {
                    self.again_at = Some(Instant::now() + self.soon);
                    self.soon = AGAIN.min(self.soon * 2);
                }
                CatchUp::ReadStream(from, until) => {
                    if self.read_at.is_none_or(|at| at <= Instant::now()) {
                        self.standing.set(false);
                        self.read_stream(lane, from, until);
                        return Step::Nothing;
                    }
                }
            }
        }
        self.standing.set(!behind);
        if !behind && !self.caught_up_once {
            self.caught_up_once = true;
            return Step::CaughtUp;
        }
        Step::Nothing
    }

    fn read_stream(&mut self, lane: usize, from: u64, until: u64) {
        let Some(user) = self.session.user().cloned() else {
            return;
        };
        let (app, told) = (self.app.clone(), self.session.queue().told());
        self.page = Some(Box::pin(async move {
            let mine = user.memberships(Clone::clone);
            let page = app.hub.stream_page(lane, &mine, (from, until), told, PAGE_EVENTS).await;
            Read { lane, from, page }
        }));
    }

    /// Whether a page that was asked for has come; it is for [`Feed::on_page`].
    pub fn poll_page(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let Some(page) = &mut self.page else {
            return Poll::Pending;
        };
        let read = std::task::ready!(page.as_mut().poll(cx));
        self.page = None;
        Poll::Ready(read)
    }

    /// Takes a page in.
    pub fn on_page(&mut self, read: Read) {
        let mut queue = self.session.queue();
        if queue.behind(read.lane) != Some(read.from) {
            return;
        }
        match read.page {
            Ok(page) => {
                queue.note_end(read.lane, page.end);
                queue.extend(read.lane, page.events, Some(page.reached));
            }
            Err(LogError::Expired) => {
                let position = self.app.hub.lanes[read.lane].known();
                queue.reset_lane(read.lane, position, ResyncReason::Expired);
            }
            Err(error) => {
                tracing::debug!(%error, "a replay has to wait");
                self.read_at = Some(Instant::now() + AGAIN * 10);
            }
        }
    }

    /// For each lane the position up to which everything was taken out, and the cursor that says so; `None` while the
    /// log is being made anew.
    pub fn place(&self) -> Option<(Vec<u64>, String)> {
        let hub = &self.app.hub;
        let (resets, dispatched) = (hub.resets(), hub.dispatched());
        let positions = self.session.queue().positions(&dispatched);
        let cursor = hub.cursor(positions.clone(), resets)?;
        Some((positions, cursor))
    }
}
