//! A session: one authenticated client, from `ready` to the end of its socket.
//!
//! [`Session`] is the part that the hub sees: a queue and a bell. The socket's own task is in [`socket`].

mod answers;
mod catch_up;
pub mod frames;
pub mod handshake;
pub mod limiter;
mod meter;
mod own;
pub mod queue;
mod requests;
mod socket;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use protocol::UserId;
use protocol::server_frame::ResyncReason;

pub use self::meter::Meter;
use self::queue::{Offered, Queue};
use crate::hub::event::Event;
use crate::hub::user::User;

/// See the module.
#[derive(Debug)]
pub struct Session {
    /// This socket's id.
    pub id: String,
    /// Whose.
    pub user_id: UserId,
    /// On which device.
    pub device_id: String,
    user: OnceLock<Arc<User>>,
    queue: Mutex<Queue>,
    bell: Bell,
    draining: AtomicBool,
}

/// Wakes the socket's task, once however often it rings before the task looks.
#[derive(Debug, Default)]
struct Bell {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Session {
    /// A session whose lanes are all behind, at these positions.
    pub fn new(user_id: UserId, device_id: String, positions: &[u64]) -> Arc<Self> {
        Arc::new(Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            user_id,
            device_id,
            user: OnceLock::new(),
            queue: Mutex::new(Queue::starting_at(positions)),
            bell: Bell::default(),
            draining: AtomicBool::new(false),
        })
    }

    /// The queue, locked: hold it briefly.
    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// The user, once attached.
    pub fn user(&self) -> Option<&Arc<User>> {
        self.user.get()
    }

    pub(crate) fn set_user(&self, user: Arc<User>) {
        // Attached once in its life; a second call would be with the same user.
        let _ = self.user.set(user);
    }

    /// Offers a live event.
    pub fn offer(&self, event: &Arc<Event>) {
        match self.queue.lock().offer(event) {
            Offered::Queued => {}
            Offered::FellBehind => metrics::counter!("parley_sessions_fell_behind_total").increment(1),
            Offered::LeftToLog => return,
        }
        self.ring();
    }

    pub(crate) fn reset_lane(&self, lane: usize, position: u64, reason: ResyncReason) {
        self.queue.lock().reset_lane(lane, position, reason);
        self.ring();
    }

    /// Asks the socket's task to say goodbye.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.ring();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn ring(&self) {
        if !self.bell.rung.swap(true, Ordering::AcqRel) {
            self.bell.waker.wake();
        }
    }

    /// Whether the bell rang since the last call; else `waker` is called when it does.
    fn heard(&self, waker: &Waker) -> bool {
        if self.bell.rung.swap(false, Ordering::AcqRel) {
            return true;
        }
        self.bell.waker.register(waker);
        self.bell.rung.swap(false, Ordering::AcqRel)
    }
}
