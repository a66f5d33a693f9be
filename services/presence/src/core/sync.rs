//! The numbers of one node's reports: what may be applied, what has to wait, when only a snapshot helps.
//!
//! Reports are absolute ("all his sessions here now"), so applying one again in order does no harm; leaving one out does.
//! What the reports say is not looked at here.

use std::collections::BTreeMap;

use protocol::signal::{Report, Snapshot};

/// Reports that wait for a snapshot; past it they are dropped and the snapshot after it brings them.
const WAITING_MOST: usize = 1_024;
/// Parts of one snapshot: two million users on one node.
const PARTS_MOST: usize = 4_096;

/// What to do with a node's table, in order.
#[derive(Debug)]
pub(crate) enum Step {
    /// This changed.
    Apply(Report),
    /// This is all there is.
    Replace(Vec<Report>),
    /// The node said that it ends.
    End,
}

/// What became of a part of a snapshot.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The next part is awaited.
    More,
    /// It was the last one.
    Whole(Vec<Step>),
    /// It cannot be used: a part is missing, or more is known already. Nothing was changed.
    Useless,
}

/// Where one node's reports stand.
#[derive(Debug, Default)]
pub(crate) struct Sync {
    /// Everything up to this report is in the table; `None`: nothing is known yet.
    applied: Option<u64>,
    /// The highest number heard of, by a beat or a report.
    highest: u64,
    waiting: BTreeMap<u64, Report>,
    parts: Vec<Report>,
    dropped: u64,
}

impl Sync {
    pub(crate) fn applied(&self) -> Option<u64> {
        self.applied
    }

    /// Whether nothing that was heard of is missing. If not, a snapshot is needed.
    pub(crate) fn is_whole(&self) -> bool {
        self.applied.is_some_and(|applied| applied >= self.highest)
    }

    /// How many reports found no room to wait, since the last question.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    pub(crate) fn on_report(&mut self, report: Report) -> Vec<Step> {
        self.highest = self.highest.max(report.number);
        if report.last {
            return vec![Step::End];
        }
        if report.is_beat() || self.applied.is_some_and(|applied| report.number <= applied) {
            return Vec::new();
        }
        if self.waiting.len() >= WAITING_MOST {
            self.dropped += 1;
            return Vec::new();
        }
        self.waiting.insert(report.number, report);
        self.advance()
    }

    /// Takes a part of the snapshot that was asked for last.
    pub(crate) fn on_part(&mut self, snapshot: Snapshot) -> Taken {
        if snapshot.part == 0 {
            self.parts.clear();
        }
        if usize::try_from(snapshot.part) != Ok(self.parts.len()) || self.parts.len() >= PARTS_MOST {
            self.parts.clear();
            return Taken::Useless;
        }
        self.parts.push(snapshot.report);
        if snapshot.more {
            return Taken::More;
        }
        let parts = std::mem::take(&mut self.parts);
        // Later parts may be of a later moment: what came since the first one is applied once more, in order.
        let number = parts[0].number;
        self.highest = self.highest.max(number);
        if self.applied.is_some_and(|applied| applied > number) {
            return Taken::Useless;
        }
        self.applied = Some(number);
        self.waiting = self.waiting.split_off(&(number + 1));
        let mut steps = vec![Step::Replace(parts)];
        steps.extend(self.advance());
        Taken::Whole(steps)
    }

    /// Forgets the parts of a snapshot that is asked for again.
    pub(crate) fn begin_snapshot(&mut self) {
        self.parts.clear();
    }

    /// Everything that follows without a gap.
    fn advance(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(applied) = self.applied
            && let Some(report) = self.waiting.remove(&(applied + 1))
        {
            self.applied = Some(report.number);
            steps.push(Step::Apply(report));
        }
        steps
    }
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
