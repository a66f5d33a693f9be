//! One lane on this node: how far it was dispatched, and its window.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::window::Window;
use bus::Lane;

/// See the module. Dispatch and the step from replay to live both hold the window's lock: that is what makes a session
/// see each event exactly once.
#[derive(Debug)]
pub struct LaneHub {
    /// Which.
    pub lane: Lane,
    /// The lane's end, in memory.
    pub window: Mutex<Window>,
    dispatched: AtomicU64,
    known: AtomicU64,
    identity: AtomicU64,
    moved: Notify,
}

impl LaneHub {
    pub(super) fn new(lane: Lane, identity: u64, position: u64, window_bytes: usize) -> Self {
        Self {
            lane,
            window: Mutex::new(Window::new(position, window_bytes)),
            dispatched: AtomicU64::new(position),
            known: AtomicU64::new(position),
            identity: AtomicU64::new(identity),
            moved: Notify::new(),
        }
    }

    /// Everything up to here has been offered to the sessions that get it.
    pub fn dispatched(&self) -> u64 {
        self.dispatched.load(Ordering::Acquire)
    }

    /// The furthest position that this node knows to exist: dispatched, or acked to one of its clients.
    pub fn known(&self) -> u64 {
        self.known.load(Ordering::Acquire).max(self.dispatched())
    }

    /// The stream's identity.
    pub fn identity(&self) -> u64 {
        self.identity.load(Ordering::Acquire)
    }

    /// Notes that an entry at this position exists.
    pub fn note(&self, position: u64) {
        self.known.fetch_max(position, Ordering::AcqRel);
    }

    pub(super) fn advance(&self, position: u64) {
        self.dispatched.store(position, Ordering::Release);
        self.moved.notify_waiters();
    }

    pub(super) fn reset(&self, identity: u64, position: u64) {
        self.identity.store(identity, Ordering::Release);
        self.known.store(position, Ordering::Release);
        self.advance(position);
    }

    /// Waits until the lane was dispatched up to `position`; the caller bounds the time.
    pub async fn wait_for(&self, position: u64) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.dispatched() >= position {
                return;
            }
            moved.await;
        }
    }
}
