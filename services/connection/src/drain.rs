//! How a node goes away without anybody noticing.
//!
//! Asked to end, it is unready at once, and goes on as before for the *delay*: load balancers learn of it late. Then its
//! listener closes, upgrades and new requests on connections that are still there are refused, and its sessions are told
//! `draining` one after the other over the *window*, so that they do not all come to the other nodes at once. Each is
//! closed when what it has sent is answered. Longest life after SIGTERM: delay + window + [`LAST`], and a second to flush.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::Refusal;
use rand::Rng;
use rand::seq::SliceRandom;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::session::Session;

/// Sessions told in a second, as long as the window allows that: other nodes take several times as many.
const TOLD_PER_SECOND: usize = 2_000;
/// Those told in one go.
const TICK: Duration = Duration::from_millis(10);
/// A client is asked to come back within this, at a moment of its own.
const RECONNECT: Duration = Duration::from_millis(250);
/// And within this, where the window is too short for so many sessions.
const RECONNECT_MOST: Duration = Duration::from_secs(5);
/// A socket that was told stays for so long, so that what its client sent meanwhile is read and answered.
pub const LINGER: Duration = Duration::from_millis(200);
/// A told socket's sends under way have this long to be answered; also one that ignores it is closed then.
pub const SOCKET: Duration = Duration::from_secs(3);
/// After the last session was told the process leaves within this, whoever is still there: [`SOCKET`], and the two seconds
/// of a goodbye.
const LAST: Duration = Duration::from_secs(5);
/// When a client that is refused may ask again: another node takes it at once, if its load balancer knows of one.
const RETRY_MS: u64 = 1_000;

/// Whether this node goes away, and all that must end before it is gone.
#[derive(Debug, Default)]
pub struct Drain {
    begun: CancellationToken,
    /// Milliseconds within which clients are asked to come back.
    spread_ms: AtomicU64,
    /// Connections, with their requests, and sockets.
    pub tasks: TaskTracker,
}

impl Drain {
    /// Whether no new session may begin.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Waits for that.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// # Errors
    /// `unavailable`, with when to come again, where no new session may begin.
    pub fn admit(&self) -> Result<(), Refusal> {
        if !self.has_begun() {
            return Ok(());
        }
        let mut refusal = Refusal::unavailable("this node is going away: connect again, to another one");
        refusal.retry_after_ms = Some(RETRY_MS);
        Err(refusal)
    }

    /// Tells a session that begins while others are told: it had been let in before.
    pub fn tell_if_begun(&self, session: &Session) {
        if self.has_begun() {
            self.tell(session);
        }
    }

    fn tell(&self, session: &Session) {
        let spread_ms = self.spread_ms.load(Ordering::Relaxed);
        session.drain(rand::rng().random_range(0..=spread_ms));
    }

    /// Tells all sessions over the window, and waits until nothing is left, or until [`LAST`].
    pub async fn run(&self, app: &App, window: Duration) {
        // Before anybody who comes now asks for it.
        let expected = Pace::of(app.hub.sessions().len(), window);
        self.spread_ms.store(millis(expected.spread), Ordering::Relaxed);
        self.begun.cancel();
        let mut sessions = app.hub.sessions();
        let total = sessions.len();
        let pace = Pace::of(total, window);
        self.spread_ms.store(millis(pace.spread), Ordering::Relaxed);
        tracing::info!(sessions = total, window = ?pace.window, "draining");
        sessions.shuffle(&mut rand::rng());
        let started = Instant::now();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !sessions.is_empty() {
            tick.tick().await;
            self.tell_due(&mut sessions, pace.left(total, started.elapsed()));
        }
        self.tasks.close();
        if tokio::time::timeout(LAST, self.tasks.wait()).await.is_err() {
            let (left, sessions) = (self.tasks.len(), app.hub.session_count());
            tracing::warn!(left, sessions, "some connections did not end in time: they are cut");
        } else {
            tracing::info!(took = ?started.elapsed(), "drained");
        }
    }

    fn tell_due(&self, sessions: &mut Vec<Arc<Session>>, left: usize) {
        sessions
            .drain(left.min(sessions.len())..)
            .for_each(|session| self.tell(&session));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Over how long sessions are told, and over how long after that each may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    window: Duration,
    spread: Duration,
}

impl Pace {
    /// Grows with the number of sessions; what does not fit into the window is left to the clients' own pauses.
    fn of(sessions: usize, most: Duration) -> Self {
        let needed = Duration::from_secs_f64(sessions as f64 / TOLD_PER_SECOND as f64);
        let window = needed.min(most);
        let spread = (needed - window).clamp(RECONNECT, RECONNECT_MOST);
        Self { window, spread }
    }

    /// How many of so many sessions are not to be told yet.
    fn left(self, total: usize, elapsed: Duration) -> usize {
        if elapsed >= self.window {
            return 0;
        }
        let part = 1.0 - elapsed.as_secs_f64() / self.window.as_secs_f64();
        // At least one in each turn: a window never lasts longer than it has sessions.
        ((total as f64 * part) as usize).min(total.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(5);

    /// How many were told in each turn.
    fn turns(sessions: usize, most: Duration) -> Vec<usize> {
        let pace = Pace::of(sessions, most);
        let (mut left, mut told) = (sessions, Vec::new());
        for turn in 0.. {
            let next = pace.left(sessions, TICK * turn).min(left);
            told.push(left - next);
            left = next;
            if left == 0 {
                return told;
            }
        }
        unreachable!("turns do not end")
    }

    #[test]
    fn ten_thousand_sessions_are_told_over_five_seconds_and_never_many_at_once() {
        let turns = turns(10_000, MOST);
        assert_eq!(turns.iter().sum::<usize>(), 10_000);
        assert!((499..=501).contains(&turns.len()), "{} turns of 10 ms", turns.len());
        assert!(turns.iter().all(|told| *told <= 21), "{turns:?}");
    }

    #[test]
    fn a_handful_is_told_at_once() {
        assert!(turns(10, MOST).len() <= 2);
        assert_eq!(turns(0, MOST), [0]);
        assert_eq!(turns(3, Duration::ZERO), [3]);
    }

    #[test]
    fn what_does_not_fit_into_the_window_is_left_to_the_clients() {
        let pace = Pace::of(16_000, MOST);
        assert_eq!((pace.window, pace.spread), (MOST, Duration::from_secs(3)));
        assert_eq!(Pace::of(1_000_000, MOST).spread, RECONNECT_MOST);
        assert_eq!(Pace::of(100, MOST).spread, RECONNECT);
    }
}
