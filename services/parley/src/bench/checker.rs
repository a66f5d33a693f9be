//! The proof: was every acked message delivered to every other member exactly once, in dense order of `seq`? Pure.
//!
//! One checker for each conversation. What was sent and neither acked nor delivered is not its matter: the server never
//! took it.

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
}

impl Faults {
    pub(super) fn is_none(self) -> bool {
        self == Self::default()
    }

    pub(super) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.gaps += other.gaps;
        self.mismatched += other.mismatched;
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
    faults: Faults,
}

impl Checker {
    pub(super) fn new(members: usize) -> Self {
        Self {
            slots: Vec::new(),
            receivers: vec![Receiver::default(); members],
            faults: Faults::default(),
        }
    }

    /// The socket of `member` got the ack of its message.
    pub(super) fn acked(&mut self, member: usize, seq: u64, key: Key) {
        let Some(place) = self.note(seq, key) else { return };
        let slot = &mut self.slots[place];
        if slot.acked_to.is_some() {
            self.faults.doubled += 1;
        }
        slot.acked_to = u16::try_from(member).ok();
    }

    /// The socket of `member` got the message.
    pub(super) fn delivered(&mut self, member: usize, seq: u64, key: Key) {
        let Some(place) = self.note(seq, key) else { return };
        let receiver = &mut self.receivers[member];
        if receiver.has(place) {
            self.faults.doubled += 1;
            return;
        }
        receiver.set(place);
        if seq < receiver.last {
            self.faults.reordered += 1;
        }
        receiver.last = receiver.last.max(seq);
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
            let before = last[sender].replace(key);
            match before {
                Some(before) if before == key => faults.doubled += 1,
                Some(before) if before > key => faults.reordered += 1,
                _ => {}
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        Key::new(1, number)
    }

    /// Three members; member 0 sends messages 0 to 3, which get `seq` 2 to 5; `deliver` says who gets what and when.
    fn run(deliver: impl Fn(&mut Checker)) -> Faults {
        let mut checker = Checker::new(3);
        for number in 0..4 {
            checker.acked(0, number + 2, key(number));
        }
        deliver(&mut checker);
        assert_eq!(checker.head(), 5);
        checker.finish()
    }

    fn all(checker: &mut Checker, member: usize) {
        (0..4).for_each(|number| checker.delivered(member, number + 2, key(number)));
    }

    #[test]
    fn what_is_right_is_right_whatever_comes_first() {
        let faults = run(|checker| {
            all(checker, 2);
            all(checker, 1);
        });
        assert!(faults.is_none());
        let mut early = Checker::new(2);
        early.delivered(1, 2, key(0));
        early.acked(0, 2, key(0));
        early.acked(1, 3, key(1));
        early.delivered(0, 3, key(1));
        assert!(early.finish().is_none());
        assert_eq!(early.messages().collect::<Vec<_>>(), [(2, key(0)), (3, key(1))]);
    }

    #[test]
    fn a_lost_delivery_is_found() {
        let faults = run(|checker| {
            all(checker, 1);
            for number in [0, 1, 3] {
                checker.delivered(2, number + 2, key(number));
            }
        });
        assert_eq!(
            faults,
            Faults {
                lost: 1,
                ..Faults::default()
            }
        );
    }

    #[test]
    fn a_doubled_delivery_is_found() {
        let faults = run(|checker| {
            all(checker, 1);
            all(checker, 2);
            checker.delivered(2, 4, key(2));
        });
        assert_eq!(
            faults,
            Faults {
                doubled: 1,
                ..Faults::default()
            }
        );
    }

    #[test]
    fn a_message_logged_twice_acked_twice_or_echoed_is_doubled() {
        let mut logged = Checker::new(2);
        for seq in [2, 3] {
            logged.acked(0, seq, key(0));
            logged.delivered(1, seq, key(0));
        }
        assert_eq!(
            logged.finish(),
            Faults {
                doubled: 1,
                ..Faults::default()
            }
        );
        let faults = run(|checker| {
            all(checker, 1);
            all(checker, 2);
            checker.acked(0, 2, key(0));
            checker.delivered(0, 3, key(1));
        });
        assert_eq!(
            faults,
            Faults {
                doubled: 2,
                ..Faults::default()
            }
        );
    }

    #[test]
    fn another_order_is_found() {
        let faults = run(|checker| {
            all(checker, 1);
            for number in [0, 2, 1, 3] {
                checker.delivered(2, number + 2, key(number));
            }
        });
        assert_eq!(
            faults,
            Faults {
                reordered: 1,
                ..Faults::default()
            }
        );
        let mut logged = Checker::new(2);
        for (seq, number) in [(2, 1), (3, 0)] {
            logged.acked(0, seq, key(number));
            logged.delivered(1, seq, key(number));
        }
        assert_eq!(
            logged.finish(),
            Faults {
                reordered: 1,
                ..Faults::default()
            }
        );
    }

    #[test]
    fn holes_and_nonsense_are_found() {
        let mut checker = Checker::new(2);
        checker.acked(0, 4, key(0));
        checker.delivered(1, 4, key(9));
        checker.delivered(1, 0, key(1));
        checker.delivered(1, u64::MAX, key(1));
        assert_eq!(
            checker.finish(),
            Faults {
                gaps: 2,
                mismatched: 3,
                ..Faults::default()
            }
        );
    }
}
