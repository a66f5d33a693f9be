//! What one worker's readers write down: who got what when, and how that adds up in the running phase.

use std::time::Instant;

use super::checker::{Checker, Faults};
use super::crew::Phase;
use super::schedule::Key;
use super::tally::Tally;

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) checkers: Vec<Checker>,
    pub(super) phase: Phase,
    pub(super) tally: Tally,
    pub(super) faults: Faults,
    pub(super) closed: u64,
}

impl Book {
    /// One checker for each room of that many members.
    ///
    /// # Errors
    /// The histograms cannot be made.
    pub(super) fn new(members: impl Iterator<Item = usize>) -> anyhow::Result<Self> {
        Ok(Self {
            checkers: members.map(Checker::new).collect(),
            phase: Phase::none(),
            tally: Tally::new(Instant::now())?,
            faults: Faults::default(),
            closed: 0,
        })
    }

    /// A message of the running phase was acked or delivered, for the first time; `others` are to get it.
    pub(super) fn count(&mut self, key: Key, is_ack: bool, now: Instant, others: u64) {
        if key.phase() != self.phase.number {
            return;
        }
        let is_measured = self.phase.schedule.is_measured(key.number());
        let due = self.phase.start + self.phase.schedule.due(key.number());
        let tally = &mut self.tally;
        if is_ack {
            tally.acked += 1;
            tally.expected += others;
            tally.last_ack = now;
        } else {
            tally.delivered += 1;
            tally.last_delivery = now;
        }
        match (is_measured, is_ack) {
            (false, _) => {}
            (true, true) => {
                tally.acked_measured += 1;
                tally.ack.record(now.saturating_duration_since(due));
            }
            (true, false) => {
                tally.delivered_measured += 1;
                tally.deliver.record(now.saturating_duration_since(due));
            }
        }
    }

    /// Receipts were sent (`told` false) or came (`told` true). They have no number of their own: the clock says whether
    /// they are of the measured part.
    pub(super) fn count_receipts(&mut self, count: u64, told: bool, now: Instant) {
        let begin = self.phase.start + self.phase.schedule.warm_up;
        let count = if now >= begin { count } else { 0 };
        let tally = &mut self.tally;
        match told {
            true => tally.told_measured += count,
            false => tally.confirmed_measured += count,
        }
        tally.last_receipt = now;
    }
}
