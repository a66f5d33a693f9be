//! A session: one authenticated client, from `ready` to the end of its socket.
//!
//! [`Session`] is the part that the hub sees: a queue and a bell. The socket's own task is in [`socket`].

mod answers;
mod catch_up;
mod confirms;
pub mod feed;
pub mod frames;
pub mod handed;
pub mod handshake;
pub mod limiter;
mod live;
pub mod marks;
mod meter;
mod own;
pub mod queue;
mod requests;
mod socket;
pub mod start;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use protocol::client_frame::AppState;
use protocol::server_frame::ResyncReason;
use protocol::{ConversationId, UserId};
use tokio::time::{Duration, Instant};

pub use self::meter::Meter;
use self::queue::{Offered, Queue};
use crate::hub::event::Event;
use crate::hub::user::User;
use crate::room::live::Live;

/// Of a session that is not to go.
const STAYS: u64 = u64::MAX;

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
    /// Milliseconds after which the client is to come back, once it is told; [`STAYS`] before.
    draining: AtomicU64,
    /// Whether others see its user as online because of it.
    pub is_present: bool,
    activity: Mutex<Activity>,
    /// Rooms that this session is subscribed to; kept by [`crate::room::Rooms`].
    pub rooms: Mutex<HashSet<ConversationId>>,
}

/// What the user does with the app.
#[derive(Debug, Clone, Copy)]
struct Activity {
    state: AppState,
    last_at: Instant,
    idle: bool,
}

/// Wakes the socket's task, once however often it rings before the task looks.
#[derive(Debug, Default)]
struct Bell {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Session {
    /// A session whose lanes are all behind, at these positions. `told`: see [`Queue::starting_at`].
    pub fn new(who: start::Who, positions: &[u64], told: u64) -> Arc<Self> {
        Arc::new(Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            user_id: who.user_id,
            device_id: who.device_id,
            is_present: who.is_present,
            activity: Mutex::new(Activity {
                state: who.state,
                last_at: Instant::now(),
                idle: false,
            }),
            rooms: Mutex::default(),
            user: OnceLock::new(),
            queue: Mutex::new(Queue::starting_at(positions, told)),
            bell: Bell::default(),
            draining: AtomicU64::new(STAYS),
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

    /// Whether the app is on screen, and whether nothing was done with it for a while.
    pub fn activity(&self) -> (AppState, bool) {
        let activity = self.activity.lock();
        (activity.state, activity.idle)
    }

    /// Notes whether the app is on screen. Returns whether it was not so before.
    pub fn set_state(&self, state: AppState) -> bool {
        std::mem::replace(&mut self.activity.lock().state, state) != state
    }

    /// Notes that the user did something. Returns whether he had been idle.
    pub fn set_active(&self) -> bool {
        let mut activity = self.activity.lock();
        activity.last_at = Instant::now();
        std::mem::take(&mut activity.idle)
    }

    /// Notes that the user has done nothing for a while.
    pub fn set_idle(&self) {
        self.activity.lock().idle = true;
    }

    /// When the session becomes idle, unless it is or something is done; `None` too where nobody sees it.
    pub fn idle_at(&self, after: Duration) -> Option<Instant> {
        let activity = self.activity.lock();
        (self.is_present && !activity.idle).then(|| activity.last_at + after)
    }

    /// Hands over a live signal.
    pub fn signal(&self, live: &Arc<Live>) {
        self.queue.lock().signal(live.clone());
        self.ring();
    }

    /// Drops the signals of a room that wait.
    pub fn forget_signals(&self, room: &ConversationId) {
        self.queue.lock().forget_signals(room);
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

    /// Asks the socket's task to say goodbye, and the client to come back after so many milliseconds.
    pub fn drain(&self, reconnect_after_ms: u64) {
        self.draining
            .store(reconnect_after_ms.min(STAYS - 1), Ordering::Release);
        self.ring();
    }

    /// After how many milliseconds the client is to come back, if it is to go.
    pub(crate) fn draining(&self) -> Option<u64> {
        Some(self.draining.load(Ordering::Acquire)).filter(|it| *it != STAYS)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining().is_some()
    }

    fn ring(&self) {
        if !self.bell.rung.swap(true, Ordering::AcqRel) {
            self.bell.waker.wake();
        }
    }

    /// Whether the bell rang since the last call; else `waker` is called when it does.
    pub(crate) fn heard(&self, waker: &Waker) -> bool {
        if self.bell.rung.swap(false, Ordering::AcqRel) {
            return true;
        }
        self.bell.waker.register(waker);
        self.bell.rung.swap(false, Ordering::AcqRel)
    }
}
