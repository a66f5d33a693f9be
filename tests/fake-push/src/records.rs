//! The newest requests and accepted pushes, and waiting for them.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::counters::Tallies;
use crate::options::Recording;
use crate::shown::{Seen, Shown};

/// Requests and pushes that are kept, of each.
const KEPT: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Records {
    recording: Recording,
    pub(crate) tallies: Tallies,
    kept: Mutex<Kept>,
    /// Rises with every change of what is kept.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    seen: VecDeque<Seen>,
    shown: VecDeque<Shown>,
    /// Number of the newest, also after clearing.
    last_seen: u64,
    last_shown: u64,
}

/// What was waited for did not come.
#[derive(Debug, Clone)]
pub struct Missed<T> {
    /// How long it was waited for.
    pub waited: Duration,
    /// What there was at the end.
    pub found: Vec<T>,
}

impl<T: std::fmt::Debug> std::fmt::Display for Missed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "waited {:?} in vain; there were {:?}", self.waited, self.found)
    }
}

impl<T: std::fmt::Debug> std::error::Error for Missed<T> {}

impl Records {
    pub(crate) fn new(recording: Recording) -> Self {
        Self {
            recording,
            tallies: Tallies::default(),
            kept: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.recording == Recording::Everything
    }

    /// Keeps a request; returns its number, 0 where nothing is kept.
    pub(crate) fn see(&self, mut seen: Seen) -> u64 {
        if !self.is_kept() {
            return 0;
        }
        let mut kept = self.kept.lock();
        kept.last_seen += 1;
        let number = kept.last_seen;
        seen.number = number;
        push(&mut kept.seen, seen);
        drop(kept);
        self.changed();
        number
    }

    /// Adds what a kept request was answered.
    pub(crate) fn answered(&self, number: u64, status: u16, reason: Option<String>) {
        let mut kept = self.kept.lock();
        let at = kept.seen.partition_point(|it| it.number < number);
        if let Some(seen) = kept.seen.get_mut(at).filter(|it| it.number == number) {
            seen.status = Some(status);
            seen.reason = reason;
        }
        drop(kept);
        self.changed();
    }

    /// Keeps an accepted push.
    pub(crate) fn show(&self, mut shown: Shown) {
        let mut kept = self.kept.lock();
        kept.last_shown += 1;
        shown.number = kept.last_shown;
        push(&mut kept.shown, shown);
        drop(kept);
        self.changed();
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.kept.lock().seen.iter().cloned().collect()
    }

    pub(crate) fn shown(&self, wanted: impl Fn(&Shown) -> bool) -> Vec<Shown> {
        self.kept.lock().shown.iter().filter(|it| wanted(it)).cloned().collect()
    }

    /// At most `most` pushes with numbers above `number`, the oldest first.
    pub(crate) fn shown_after(&self, number: u64, most: usize) -> Vec<Shown> {
        let kept = self.kept.lock();
        let from = kept.shown.partition_point(|it| it.number <= number);
        kept.shown.range(from..).take(most).cloned().collect()
    }

    /// Number of the newest push that was accepted.
    pub(crate) fn last_shown(&self) -> u64 {
        self.kept.lock().last_shown
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) async fn wait_shown(
        &self,
        patience: Duration,
        mut enough: impl FnMut(&[Shown]) -> bool,
    ) -> Result<Vec<Shown>, Missed<Shown>> {
        let ask = |kept: &mut Kept| enough(kept.shown.make_contiguous());
        if self.wait(patience, ask).await {
            return Ok(self.shown(|_| true));
        }
        Err(Missed {
            waited: patience,
            found: self.shown(|_| true),
        })
    }

    pub(crate) async fn wait_seen(
        &self,
        patience: Duration,
        mut enough: impl FnMut(&[Seen]) -> bool,
    ) -> Result<Vec<Seen>, Missed<Seen>> {
        let ask = |kept: &mut Kept| enough(kept.seen.make_contiguous());
        if self.wait(patience, ask).await {
            return Ok(self.seen());
        }
        Err(Missed {
            waited: patience,
            found: self.seen(),
        })
    }

    /// Asks at every change; false once the patience is over.
    async fn wait(&self, patience: Duration, mut ask: impl FnMut(&mut Kept) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if ask(&mut self.kept.lock()) {
                return true;
            }
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return false;
            }
        }
    }

    /// Forgets everything; numbers go on.
    pub(crate) fn clear(&self) {
        let mut kept = self.kept.lock();
        kept.seen.clear();
        kept.shown.clear();
        drop(kept);
        self.tallies.clear();
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|it| *it += 1);
    }
}

fn push<T>(kept: &mut VecDeque<T>, new: T) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(new);
}
