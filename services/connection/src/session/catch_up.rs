//! A socket's way from behind to live, and the checkpoints that tell its client how far it came.

use protocol::ServerFrame;
use protocol::server_frame::{Checkpoint, Resync, ResyncReason};
use rand::Rng;
use tokio::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::feed::{AGAIN, Step};
use super::socket::Socket;

impl Socket {
    /// Brings lanes forward that are behind. Returns whether there may be something to send now.
    pub(super) fn step(&mut self) -> bool {
        match self.feed.step() {
            Step::Forward => true,
            Step::CaughtUp => {
                self.checkpoint_at = Some(Instant::now());
                false
            }
            Step::Nothing => false,
        }
    }

    pub(super) fn on_resync(&mut self, reason: ResyncReason) {
        crate::metrics::resync(reason);
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

    /// The text of a checkpoint at what was handed to the socket so far; `None` if that cannot be said now.
    pub(super) fn checkpoint(&mut self) -> Option<Utf8Bytes> {
        let Some((positions, cursor)) = self.feed.place() else {
            self.checkpoint_at = Some(Instant::now() + AGAIN);
            return None;
        };
        self.checkpoint_at = None;
        self.own.passed(&positions, Instant::now());
        self.cursor.clone_from(&cursor);
        Some(ServerFrame::Checkpoint(Checkpoint { cursor }).encode().into())
    }
}
