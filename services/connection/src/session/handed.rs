//! What a session's socket was handed, for a message's timeline: nothing is written down for a delivery, so each session
//! remembers its last ones, and nodes are asked.
//!
//! Only partitions of conversations: nobody asks for the delivery of a receipt.

use std::collections::VecDeque;

use protocol::Timestamp;
use protocol::timeline::HandedState;

/// Flushes remembered one by one; of those before only the bounds.
const ENTRIES_MOST: usize = 32;
/// Flushes of one lane within this time are one entry.
const TOGETHER_MS: i64 = 50;

/// See the module. A session that was never handed anything has none.
#[derive(Debug, Default)]
pub struct Handed {
    /// Taken out of the queue, and not known to have reached the kernel.
    unflushed: Vec<Run>,
    /// Oldest first.
    entries: VecDeque<Entry>,
    /// Of each lane what was forgotten, and when the last of it was flushed.
    forgotten: Vec<Entry>,
}

/// Positions of a lane, both inclusive: all of the session's events between them.
#[derive(Debug, Clone, Copy)]
struct Run {
    lane: usize,
    from: u64,
    to: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    run: Run,
    at: Timestamp,
}

impl Run {
    fn holds(self, lane: usize, position: u64) -> bool {
        self.lane == lane && (self.from..=self.to).contains(&position)
    }
}

impl Handed {
    /// An event was taken out, to be written next.
    pub fn take(&mut self, lane: usize, position: u64) {
        match self.unflushed.iter_mut().find(|run| run.lane == lane) {
            Some(run) => run.to = position,
            None => self.unflushed.push(Run {
                lane,
                from: position,
                to: position,
            }),
        }
    }

    /// Whether anything was taken out and not written yet.
    pub fn is_unflushed(&self) -> bool {
        !self.unflushed.is_empty()
    }

    /// What was taken out has been written, and the kernel has it.
    pub fn flush(&mut self, now: Timestamp) {
        let mut unflushed = std::mem::take(&mut self.unflushed);
        for run in unflushed.drain(..) {
            self.note(run, now);
        }
        // Kept for its room.
        self.unflushed = unflushed;
    }

    fn note(&mut self, run: Run, now: Timestamp) {
        let last = self.entries.iter_mut().rev().find(|it| it.run.lane == run.lane);
        if let Some(last) = last.filter(|it| (0..=TOGETHER_MS).contains(&(now.as_millis() - it.at.as_millis()))) {
            last.run.to = run.to;
            return;
        }
        if self.entries.len() >= ENTRIES_MOST
            && let Some(oldest) = self.entries.pop_front()
        {
            match self.forgotten.iter_mut().find(|it| it.run.lane == oldest.run.lane) {
                Some(before) => {
                    before.run.to = oldest.run.to;
                    before.at = oldest.at;
                }
                None => self.forgotten.push(oldest),
            }
        }
        self.entries.push_back(Entry { run, at: now });
    }

    /// What became of the event at a position. `None`: this session was never to have it, or not yet.
    pub fn find(&self, lane: usize, position: u64) -> Option<HandedState> {
        if self.unflushed.iter().any(|run| run.holds(lane, position)) {
            return Some(HandedState::Waiting);
        }
        let found = |it: &&Entry| it.run.holds(lane, position);
        if let Some(entry) = self.entries.iter().find(found) {
            return Some(HandedState::At(entry.at));
        }
        let later = Timestamp::from_millis;
        let forgotten = self.forgotten.iter().find(found);
        forgotten.map(|it| HandedState::By(later(it.at.as_millis() + TOGETHER_MS)))
    }

    /// A lane's stream was made anew: its positions mean nothing any more.
    pub fn forget(&mut self, lane: usize) {
        self.unflushed.retain(|run| run.lane != lane);
        self.entries.retain(|it| it.run.lane != lane);
        self.forgotten.retain(|it| it.run.lane != lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// One flush for each of these: lane, position, time.
    fn handed(flushes: impl IntoIterator<Item = (usize, u64, i64)>) -> Handed {
        let mut handed = Handed::default();
        for (lane, position, ms) in flushes {
            handed.take(lane, position);
            handed.flush(at(ms));
        }
        handed
    }

    #[test]
    fn what_was_flushed_has_its_time_and_what_was_not_waits() {
        let mut handed = handed([(0, 5, 100), (0, 9, 400), (1, 7, 410)]);
        handed.take(0, 12);
        let found = |lane, position| handed.find(lane, position);
        assert_eq!(found(0, 5), Some(HandedState::At(at(100))));
        assert_eq!(found(0, 9), Some(HandedState::At(at(400))));
        assert_eq!(found(1, 7), Some(HandedState::At(at(410))));
        assert_eq!(found(0, 12), Some(HandedState::Waiting));
        assert_eq!((found(0, 4), found(0, 13), found(1, 5)), (None, None, None));
    }

    #[test]
    fn what_is_flushed_within_a_moment_is_one_entry() {
        let handed = handed((0..1_000).map(|it| (0, it, i64::try_from(it).unwrap() / 25)));
        assert_eq!((handed.entries.len(), handed.forgotten.len()), (1, 0));
        assert_eq!(handed.find(0, 999), Some(HandedState::At(at(0))));
    }

    #[test]
    fn what_is_older_than_is_remembered_was_handed_over_before_the_rest() {
        let handed = handed((10..110).map(|it| (0, it, i64::try_from(it).unwrap() * 100)));
        assert_eq!(handed.entries.len(), ENTRIES_MOST);
        let Some(HandedState::By(by)) = handed.find(0, 20) else {
            panic!("{:?}", handed.find(0, 20))
        };
        assert_eq!(by, at(7_700 + TOGETHER_MS), "that of the last one forgotten");
        assert_eq!(handed.find(0, 9), None, "the session began after it");
    }

    #[test]
    fn positions_of_a_stream_that_is_gone_say_nothing() {
        let mut handed = handed([(0, 5, 100), (1, 5, 100)]);
        handed.forget(0);
        assert_eq!((handed.find(0, 5), handed.find(1, 5).is_some()), (None, true));
    }
}
