//! A socket's way from behind to live: pages of the log when its queue is empty, and checkpoints of how far it came.

use bus::LogError;
use protocol::ServerFrame;
use protocol::server_frame::{Checkpoint, Resync, ResyncReason};
use rand::Rng;
use tokio::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::socket::{AGAIN, Socket};
use crate::hub::{CatchUp, PAGE_EVENTS, Page};

/// For the tail to bring what is known to be in the log.
const SOON: Duration = Duration::from_millis(2);

/// A page of the stream that came, or not.
pub(super) struct Read {
    lane: usize,
    from: u64,
    page: Result<Page, LogError>,
}

impl Socket {
    /// Brings lanes forward that are behind. Returns whether there may be something to send now.
    pub(super) fn step(&mut self) -> bool {
        if self.page.is_some() || !self.session.queue().is_empty() {
            return !self.session.queue().is_empty();
        }
        let mut behind = false;
        for lane in 0..self.app.hub.lanes.len() {
            if self.session.queue().behind(lane).is_none() {
                continue;
            }
            behind = true;
            match self.app.hub.catch_up(&self.session, lane) {
                CatchUp::Stepped => return true,
                CatchUp::Ahead => self.again_at = Some(Instant::now() + SOON),
                CatchUp::ReadStream(from, until) => {
                    if self.again_at.is_none_or(|at| at <= Instant::now()) {
                        self.read_stream(lane, from, until);
                        return false;
                    }
                }
            }
        }
        if !behind && !self.caught_up_once {
            self.caught_up_once = true;
            self.checkpoint_at = Some(Instant::now());
        }
        false
    }

    pub(super) fn read_stream(&mut self, lane: usize, from: u64, until: u64) {
        let Some(user) = self.session.user().cloned() else {
            return;
        };
        let app = self.app.clone();
        self.page = Some(Box::pin(async move {
            let mine = user.memberships(Clone::clone);
            let page = app.hub.stream_page(lane, &mine, from, until, PAGE_EVENTS).await;
            Read { lane, from, page }
        }));
    }

    pub(super) fn on_page(&mut self, read: Read) {
        let mut queue = self.session.queue();
        if queue.behind(read.lane) != Some(read.from) {
            return;
        }
        match read.page {
            Ok(page) => queue.extend(read.lane, page.events, Some(page.reached)),
            Err(LogError::Expired) => {
                let position = self.app.hub.lanes[read.lane].known();
                queue.reset_lane(read.lane, position, ResyncReason::Expired);
            }
            Err(error) => {
                tracing::debug!(%error, "a replay has to wait");
                self.again_at = Some(Instant::now() + AGAIN * 10);
            }
        }
    }

    pub(super) fn on_resync(&mut self, reason: ResyncReason) {
        metrics::counter!("parley_resyncs_total").increment(1);
        self.reply(ServerFrame::Resync(Resync { reason }));
        self.checkpoint_at = Some(Instant::now());
    }

    pub(super) fn checkpoint_soon(&mut self) {
        if self.checkpoint_at.is_none() {
            // Spread, so that sockets that got the same event do not all write again at the same moment.
            let delay = Duration::from_millis(rand::rng().random_range(300..800));
            self.checkpoint_at = Some(Instant::now() + delay);
        }
    }

    /// The text of a checkpoint at what was handed to the socket so far; `None` if the client has it already.
    pub(super) fn checkpoint(&mut self) -> Option<Utf8Bytes> {
        let hub = &self.app.hub;
        let (resets, dispatched) = (hub.resets(), hub.dispatched());
        let positions = self.session.queue().positions(&dispatched);
        let Some(cursor) = hub.cursor(positions.clone(), resets) else {
            self.checkpoint_at = Some(Instant::now() + AGAIN);
            return None;
        };
        self.checkpoint_at = None;
        self.own.passed(&positions, Instant::now());
        self.cursor.clone_from(&cursor);
        Some(ServerFrame::Checkpoint(Checkpoint { cursor }).encode().into())
    }
}
