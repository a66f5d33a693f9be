//! One watermark: what the log is known to hold, and what to write next. Pure, but for the lock around a write.

use std::sync::atomic::{AtomicU64, Ordering};

use protocol::envelope::{self, Told};
use tokio::time::Instant;

/// Most of an entry's [`Told`] that are remembered: as many as the next one can name, and some of them may be named
/// anew.
const TOLD_KEPT: usize = 4 * super::told::EARLIER_MOST;

/// A watermark as this replica handles it.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    /// The highest that anybody here waits for.
    wanted: AtomicU64,
    /// Its lock is held around a write.
    pub(super) written: tokio::sync::Mutex<Written>,
}

/// What is known of the log's entry, and when this replica wrote it last.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// `None`: not known, read the log.
    pub(super) known: Option<Known>,
    pub(super) at: Option<Instant>,
}

/// A watermark in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) seq: u64,
    /// Stream sequence of its entry; 0 where there is none.
    pub(super) position: u64,
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
        Self::new(head.seq, position, envelope.to.unwrap_or_default())
    }

    pub(super) fn new(seq: u64, position: u64, mut told: Vec<Told>) -> Self {
        told.truncate(TOLD_KEPT);
        told.shrink_to_fit();
        Self { seq, position, told }
    }

    /// What is known after another replica was first, and `found` is what it wrote. In a stream made anew, where there is
    /// nothing, the watermark goes on from here.
    pub(super) fn after_conflict(self, found: Self) -> Self {
        if found.position > 0 {
            found
        } else {
            Self { position: 0, ..self }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
                self.known = Known::new(target, end + 1, Vec::new());
                return true;
            }
            let found = Known::new(log.last().copied().unwrap_or(0), end, Vec::new());
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
        let known = Known::new(9, 5, Vec::new());
        let nothing = Known::default();
        assert_eq!(known.clone().after_conflict(nothing), Known { position: 0, ..known });
    }
}
