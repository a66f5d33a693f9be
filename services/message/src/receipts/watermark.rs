//! One watermark: what the log is known to hold, and what to write next, and when. Pure, but for the lock around a write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::Timestamp;
use protocol::envelope::{self, Told};

/// In large conversations a watermark is written at most so often: the first write at once, then the highest of what
/// came meanwhile.
const SPACING: Duration = Duration::from_millis(500);

/// Most of an entry's [`Told`] that are remembered: as many as the next one can name, and some of them may be named
/// anew.
const TOLD_KEPT: usize = 4 * super::told::EARLIER_MOST;

/// A watermark as this replica handles it.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    /// The highest that anybody here waits for.
    wanted: AtomicU64,
    /// What the log is known to hold; `None`: read it. Its lock is held around a write.
    pub(super) known: tokio::sync::Mutex<Option<Known>>,
}

/// A watermark in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) seq: u64,
    /// Stream sequence of its entry; 0 where there is none.
    pub(super) position: u64,
    /// When it was written, by whichever replica.
    pub(super) at: Option<Timestamp>,
    /// Whom that entry names, the newest of them.
    pub(super) told: Vec<Told>,
}

impl Watermark {
    /// Notes that somebody waits for `seq`.
    pub(super) fn want(&self, seq: u64) {
        self.wanted.fetch_max(seq, Ordering::Relaxed);
    }

    /// What to write for somebody who waits for `seq`: the highest that anybody waits for, or nothing where the log has
    /// reached `seq`.
    pub(super) fn target(&self, known: &Known, seq: u64) -> Option<u64> {
        let wanted = self.wanted.load(Ordering::Relaxed).max(seq);
        (known.seq < seq).then_some(wanted)
    }
}

impl Known {
    /// What an entry holds.
    pub(super) fn of(position: u64, payload: &[u8]) -> Self {
        // An entry that cannot be read is overwritten: its watermark is below the head in any case.
        let Ok((envelope, head)) = envelope::decode(payload) else {
            return Self {
                position,
                ..Self::default()
            };
        };
        Self::new(head.seq, position, head.timestamp, envelope.to.unwrap_or_default())
    }

    pub(super) fn new(seq: u64, position: u64, at: Timestamp, mut told: Vec<Told>) -> Self {
        told.truncate(TOLD_KEPT);
        told.shrink_to_fit();
        Self {
            seq,
            position,
            at: Some(at),
            told,
        }
    }

    /// How long the next write in a large conversation waits at `now`; clocks of replicas differ, so never for longer than
    /// from one write to the next.
    pub(super) fn rest(&self, now: Timestamp) -> Duration {
        let Some(at) = self.at else { return Duration::ZERO };
        let passed = u64::try_from(now.as_millis().saturating_sub(at.as_millis())).unwrap_or(0);
        SPACING.saturating_sub(Duration::from_millis(passed))
    }

    /// What is known after another replica was first, and `found` is what it wrote. In a stream made anew, where there is
    /// nothing or less than before, the watermark goes on from the highest that was known.
    pub(super) fn after_conflict(self, found: Self) -> Self {
        let (seq, position) = (self.seq.max(found.seq), found.position);
        let known = if position > 0 { found } else { self };
        Self { seq, position, ..known }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(seq: u64, position: u64) -> Known {
        Known::new(seq, position, Timestamp::from_millis(10_000), Vec::new())
    }

    /// A replica's view, and the log's one entry for the watermark.
    #[derive(Default)]
    struct Replica {
        watermark: Watermark,
        known: Known,
    }

    impl Replica {
        /// One try at the log's entry, by compare-and-set; true when who asked is done.
        fn turn(&mut self, seq: u64, log: &mut Vec<u64>) -> bool {
            let Some(target) = self.watermark.target(&self.known, seq) else {
                return true;
            };
            let end = log.len() as u64;
            if self.known.position == end {
                log.push(target);
                self.known = known(target, end + 1);
                return true;
            }
            let found = known(log.last().copied().unwrap_or(0), end);
            self.known = std::mem::take(&mut self.known).after_conflict(found);
            false
        }
    }

    proptest! {
        /// Late, doubled and in any order, on any number of replicas.
        #[test]
        fn a_watermark_only_grows_and_ends_at_the_highest_asked_for(
            asked in proptest::collection::vec((0..3_usize, 1..60_u64), 1..40).prop_shuffle(),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 200),
        ) {
            let mut replicas: [Replica; 3] = Default::default();
            let (mut log, mut waiting) = (Vec::new(), asked.clone());
            for (replica, seq) in &asked {
                replicas[*replica].watermark.want(*seq);
            }
            let mut order = order.iter().cycle();
            while !waiting.is_empty() {
                let n = order.next().unwrap().index(waiting.len());
                let (replica, seq) = waiting[n];
                if replicas[replica].turn(seq, &mut log) {
                    prop_assert!(log.last().is_some_and(|it| *it >= seq), "answered before it was written");
                    waiting.swap_remove(n);
                }
            }
            prop_assert!(log.is_sorted_by(|one, other| one < other));
            prop_assert_eq!(log.last().copied(), asked.iter().map(|it| it.1).max());
            prop_assert!(log.len() <= replicas.len(), "one write a replica for all that waited together");
        }
    }

    #[test]
    fn in_a_stream_made_anew_a_watermark_goes_on_from_what_is_known_here() {
        let known = known(9, 5);
        let nothing = Known::default();
        assert_eq!(
            known.clone().after_conflict(nothing),
            Known {
                position: 0,
                ..known.clone()
            }
        );
        let stored = Known {
            seq: 12,
            ..Known::default()
        };
        assert_eq!(
            known.clone().after_conflict(stored).seq,
            12,
            "another replica had moved it"
        );
        let less = super::tests::known(3, 1);
        assert_eq!(known.after_conflict(less.clone()), Known { seq: 9, ..less });
    }

    #[test]
    fn the_first_write_is_at_once_and_the_next_half_a_second_after_whoever_wrote_last() {
        let rest = |known: &Known, now| known.rest(Timestamp::from_millis(now)).as_millis();
        assert_eq!(rest(&Known::default(), 10_000), 0);
        let written = known(9, 5);
        assert_eq!([10_100, 10_500, 99_000].map(|now| rest(&written, now)), [400, 0, 0]);
        assert_eq!(rest(&written, 2_000), 500, "a clock that is behind");
    }
}
