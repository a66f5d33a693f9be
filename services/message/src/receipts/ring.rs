//! Who sent the last messages of a conversation: read from its log entry by entry, asked for by ranges of `seq`.

use std::collections::{HashSet, VecDeque};

use protocol::UserId;

/// Messages remembered of one conversation.
pub(super) const RING: usize = 4_096;

/// The senders of a conversation's last messages. It knows of every event between two `seq`s, without a gap.
#[derive(Debug, Default)]
pub(super) struct Ring {
    messages: VecDeque<(u64, UserId)>,
    /// The first `seq` that is known; 0 where none is.
    first: u64,
    last: u64,
    /// Stream sequence of the last event.
    position: u64,
}

impl Ring {
    /// The last `seq` that is known.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Stream sequence of that event; 0 where nothing is known.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The first `seq` that is known.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Takes in the next event, with its sender where it is a message. One that does not follow the last begins anew:
    /// what lies between has aged out.
    pub(super) fn push(&mut self, seq: u64, position: u64, sender: Option<UserId>) {
        if position <= self.position {
            return;
        }
        if seq != self.last + 1 || self.first == 0 {
            self.messages.clear();
            self.first = seq;
        }
        (self.last, self.position) = (seq, position);
        let Some(sender) = sender else { return };
        if self.messages.len() == RING {
            self.messages.pop_front();
            self.first = self.messages.front().map_or(seq, |it| it.0);
        }
        self.messages.push_back((seq, sender));
    }

    /// `seq` of the last message up to `up_to`, where that is known.
    pub(super) fn last_message(&self, up_to: u64) -> Option<u64> {
        let mut seqs = self.messages.iter().rev().map(|it| it.0);
        seqs.find(|seq| *seq <= up_to)
    }

    /// How many messages above `after` and up to `up_to` others sent than `user`, at most `most`.
    pub(super) fn of_others(&self, user: &UserId, after: u64, up_to: u64, most: usize) -> usize {
        let messages = self.messages.iter().rev().skip_while(|it| it.0 > up_to);
        let within = messages.take_while(|it| it.0 > after);
        within.filter(|it| it.1 != *user).take(most).count()
    }

    /// Who sent messages above `after` and up to `up_to`, the newest first, nobody twice.
    pub(super) fn senders(&self, after: u64, up_to: u64) -> Vec<UserId> {
        let (mut seen, mut senders) = (HashSet::new(), Vec::new());
        let messages = self.messages.iter().rev();
        let within = messages.skip_while(|it| it.0 > up_to).take_while(|it| it.0 > after);
        for (_, sender) in within {
            if seen.insert(sender) {
                senders.push(sender.clone());
            }
        }
        senders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    fn names(users: &[UserId]) -> Vec<&str> {
        users.iter().map(UserId::as_str).collect()
    }

    #[test]
    fn a_range_names_its_senders_once_and_the_newest_first() {
        let mut ring = Ring::default();
        for (seq, sender) in [(5, "ann"), (6, "bob"), (8, "ann"), (9, "eve")] {
            if seq == 8 {
                ring.push(7, 70, None);
            }
            ring.push(seq, seq * 10, Some(user(sender)));
        }
        assert_eq!(names(&ring.senders(4, 9)), ["eve", "ann", "bob"]);
        assert_eq!(names(&ring.senders(5, 8)), ["ann", "bob"]);
        assert_eq!(names(&ring.senders(6, 7)), [""; 0]);
        assert_eq!((ring.first(), ring.last(), ring.position()), (5, 9, 90));
    }

    #[test]
    fn messages_of_others_are_counted_within_a_range_and_up_to_a_bound() {
        let mut ring = Ring::default();
        for (seq, sender) in [
            (5, Some("ann")),
            (6, Some("bob")),
            (7, None),
            (8, Some("eve")),
            (9, Some("bob")),
        ] {
            ring.push(seq, seq * 10, sender.map(user));
        }
        let count = |after, up_to, most| ring.of_others(&user("bob"), after, up_to, most);
        assert_eq!(
            [count(0, 9, 9), count(5, 9, 9), count(0, 7, 9), count(0, 9, 1)],
            [2, 1, 1, 1]
        );
        assert_eq!(
            [9, 7, 4].map(|up_to| ring.last_message(up_to)),
            [Some(9), Some(6), None]
        );
    }

    #[test]
    fn after_a_gap_it_begins_anew_and_what_comes_twice_changes_nothing() {
        let mut ring = Ring::default();
        ring.push(5, 50, Some(user("ann")));
        ring.push(5, 50, Some(user("bob")));
        assert_eq!(names(&ring.senders(0, 9)), ["ann"]);
        ring.push(9, 90, Some(user("eve")));
        assert_eq!((names(&ring.senders(0, 9)), ring.first()), (vec!["eve"], 9));
    }

    #[test]
    fn it_is_bounded_and_says_from_where_on_it_knows() {
        let mut ring = Ring::default();
        let count = RING as u64 + 10;
        for seq in 1..=count {
            ring.push(seq, seq, Some(user("ann")));
        }
        assert_eq!((ring.first(), ring.last()), (11, count));
    }
}
