//! One connection node: what it has, when it was last heard, and whether it has to be asked for a snapshot.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use protocol::UserId;
use protocol::signal::Report;

use super::now::Now;
use super::rooms::Place;
use super::sync::{Step, Sync, Taken};

/// A snapshot of which nothing comes for so long is asked for again.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two questions, whatever comes.
const ASK_PACE: Duration = Duration::from_millis(250);

/// A node within the tables; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeKey(pub(crate) u64);

/// See the module.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) key: NodeKey,
    /// When it was last heard: its lease runs from here.
    pub(crate) heard: Now,
    /// It has said that it ends: kept for a lease, so that what comes late does not bring it back.
    pub(crate) ended: bool,
    /// Users with a session on it.
    pub(crate) users: HashSet<UserId>,
    /// Subscriptions on it.
    pub(crate) places: HashSet<Place>,
    /// Since when questions have found nobody, without a word from it in between.
    pub(crate) absent_since: Option<Instant>,
    sync: Sync,
    asked: Option<Asked>,
    ask_next: Instant,
}

/// A snapshot that is under way.
#[derive(Debug)]
struct Asked {
    ask: u64,
    /// When it was asked for or its last part came.
    at: Instant,
}

impl Node {
    pub(crate) fn new(key: NodeKey, now: Now) -> Self {
        Self {
            key,
            heard: now,
            ended: false,
            users: HashSet::new(),
            places: HashSet::new(),
            absent_since: None,
            sync: Sync::default(),
            asked: None,
            ask_next: now.at,
        }
    }

    /// Number of the last report that is in the tables.
    pub(crate) fn applied(&self) -> Option<u64> {
        self.sync.applied()
    }

    /// Whether all that was heard of it is in the tables.
    pub(crate) fn is_whole(&self) -> bool {
        self.ended || self.sync.is_whole()
    }

    pub(crate) fn take_dropped(&mut self) -> u64 {
        self.sync.take_dropped()
    }

    pub(crate) fn on_report(&mut self, report: Report, now: Now) -> Vec<Step> {
        self.heard_now(now);
        if self.ended {
            return Vec::new();
        }
        self.sync.on_report(report)
    }

    /// Takes a part of a snapshot, if it belongs to the question that is open.
    pub(crate) fn on_part(&mut self, ask: u64, snapshot: protocol::signal::Snapshot, now: Now) -> Vec<Step> {
        self.heard_now(now);
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.ask == ask && !self.ended) else {
            return Vec::new();
        };
        asked.at = now.at;
        match self.sync.on_part(snapshot) {
            Taken::More => Vec::new(),
            Taken::Useless => {
                self.asked = None;
                Vec::new()
            }
            Taken::Whole(steps) => {
                self.asked = None;
                steps
            }
        }
    }

    /// Nobody listens where it would be asked.
    pub(crate) fn on_absent(&mut self, ask: u64, now: Now) {
        if self.asked.as_ref().is_some_and(|asked| asked.ask == ask) {
            self.asked = None;
            self.absent_since.get_or_insert(now.at);
        }
    }

    /// Whether it is to be asked for a snapshot now; if so, under this number.
    pub(crate) fn begin_ask(&mut self, ask: u64, now: Now) -> bool {
        let waiting = self
            .asked
            .as_ref()
            .is_some_and(|asked| now.at.saturating_duration_since(asked.at) < ASK_TIMEOUT);
        if self.is_whole() || waiting || now.at < self.ask_next {
            return false;
        }
        self.sync.begin_snapshot();
        self.asked = Some(Asked { ask, at: now.at });
        self.ask_next = now.at + ASK_PACE;
        true
    }

    fn heard_now(&mut self, now: Now) {
        self.heard = now;
        self.absent_since = None;
    }
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;
    use protocol::signal::Snapshot;

    use super::*;

    fn part(part: u32, more: bool) -> Snapshot {
        let report = Report::default();
        Snapshot { report, part, more }
    }

    #[test]
    fn a_part_of_an_earlier_question_is_not_taken_for_one_of_the_last() {
        let mut now = Now {
            at: Instant::now(),
            time: Timestamp::EPOCH,
        };
        let mut node = Node::new(NodeKey(1), now);
        assert!(node.begin_ask(1, now));
        assert!(node.on_part(1, part(0, true), now).is_empty());
        now.at += ASK_TIMEOUT;
        assert!(node.begin_ask(2, now));
        assert!(node.on_part(2, part(0, true), now).is_empty());
        assert!(node.on_part(1, part(1, false), now).is_empty());
        assert_eq!(node.on_part(2, part(1, false), now).len(), 1);
    }
}
