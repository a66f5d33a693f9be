//! The proof: was every acked message delivered to every other member exactly once, in dense order of `seq`? Pure.
//!
//! One checker for each conversation. What was sent and neither acked nor delivered is not its matter: the server never
//! took it.

use std::collections::HashSet;

use super::schedule::Key;

/// The creation of a conversation is its `seq` 1.
const FIRST: u64 = 2;
/// A `seq` beyond all that a run can reach is nonsense, and no reason to reserve memory.
const MOST: u64 = 1 << 28;

/// What must be nothing but zeroes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Faults {
    /// Acked, and not delivered to a member.
    pub(super) lost: u64,
    /// Delivered or acked twice, logged twice, or sent back to the socket it came from.
    pub(super) doubled: u64,
    /// Delivered after a later one, or logged in another order than sent.
    pub(super) reordered: u64,
    /// A `seq` that nobody saw, below one that somebody saw.
    pub(super) gaps: u64,
    /// One `seq` for two messages, or one that cannot be.
    pub(super) mismatched: u64,
    /// No fault, since only overload or an outage leads to it: refused with an unknown outcome, yet logged, after one
    /// that was sent later.
    pub(super) overtaken: u64,
}

impl Faults {
    pub(super) fn is_none(self) -> bool {
        let overtaken = self.overtaken;
        self == Self {
            overtaken,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.gaps += other.gaps;
        self.mismatched += other.mismatched;
        self.overtaken += other.overtaken;
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    key: Option<Key>,
    acked_to: Option<u16>,
}

#[derive(Debug, Clone, Default)]
struct Receiver {
    last: u64,
    seen: Vec<u64>,
}

impl Receiver {
    fn has(&self, place: usize) -> bool {
        self.seen
            .get(place / 64)
            .is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    fn set(&mut self, place: usize) {
        if self.seen.len() <= place / 64 {
            self.seen.resize(place / 64 + 1, 0);
        }
        self.seen[place / 64] |= 1 << (place % 64);
    }
}

/// Everything that the members of one conversation were told.
#[derive(Debug)]
pub(super) struct Checker {
    slots: Vec<Slot>,
    receivers: Vec<Receiver>,
    refused: HashSet<Key>,
    faults: Faults,
}

impl Checker {
    pub(super) fn new(members: usize) -> Self {
        Self {
            slots: Vec::new(),
            receivers: vec![Receiver::default(); members],
            refused: HashSet::new(),
            faults: Faults::default(),
        }
    }

    /// The socket of `member` got the ack of its message. False where that tells nothing new.
    pub(super) fn acked(&mut self, member: usize, seq: u64, key: Key) -> bool {
        let Some(place) = self.note(seq, key) else { return false };
        let acked_to = &mut self.slots[place].acked_to;
        if acked_to.is_some() {
            self.faults.doubled += 1;
            return false;
        }
        *acked_to = u16::try_from(member).ok();
        true
    }

    /// The sender was told that the message failed; the log may show it nevertheless.
    pub(super) fn refused(&mut self, key: Key) {
        self.refused.insert(key);
    }

    /// The socket of `member` got the message. False where that tells nothing new.
    pub(super) fn delivered(&mut self, member: usize, seq: u64, key: Key) -> bool {
        let Some(place) = self.note(seq, key) else { return false };
        let receiver = &mut self.receivers[member];
        if receiver.has(place) {
            self.faults.doubled += 1;
            return false;
        }
        receiver.set(place);
        if seq < receiver.last {
            self.faults.reordered += 1;
        }
        receiver.last = receiver.last.max(seq);
        true
    }

    fn note(&mut self, seq: u64, key: Key) -> Option<usize> {
        if !(FIRST..MOST).contains(&seq) {
            self.faults.mismatched += 1;
            return None;
        }
        let place = (seq - FIRST) as usize;
        if self.slots.len() <= place {
            self.slots.resize(place + 1, Slot::default());
        }
        match self.slots[place].key.replace(key) {
            Some(known) if known != key => self.faults.mismatched += 1,
            _ => {}
        }
        Some(place)
    }

    /// `seq` of the last event that anybody saw.
    pub(super) fn head(&self) -> u64 {
        self.slots.len() as u64 + FIRST - 1
    }

    /// The messages as the history must show them.
    pub(super) fn messages(&self) -> impl Iterator<Item = (u64, Key)> {
        let slots = self.slots.iter().zip(FIRST..);
        slots.filter_map(|(slot, seq)| slot.key.map(|key| (seq, key)))
    }

    /// The verdict, once nothing more is expected.
    pub(super) fn finish(&self) -> Faults {
        let mut faults = self.faults;
        let mut last: Vec<Option<Key>> = vec![None; self.receivers.len()];
        for (place, slot) in self.slots.iter().enumerate() {
            let Some(key) = slot.key else {
                faults.gaps += 1;
                continue;
            };
            let Some(sender) = slot.acked_to.map(usize::from) else {
                continue;
            };
            for (member, receiver) in self.receivers.iter().enumerate() {
                match (member == sender, receiver.has(place)) {
                    (true, true) => faults.doubled += 1,
                    (false, false) => faults.lost += 1,
                    _ => {}
                }
            }
            let before = last[sender];
            last[sender] = before.max(Some(key));
            match before {
                Some(before) if before == key => faults.doubled += 1,
                Some(before) if before > key && self.refused.contains(&key) => faults.overtaken += 1,
                Some(before) if before > key => faults.reordered += 1,
                _ => {}
            }
        }
        faults
    }
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
