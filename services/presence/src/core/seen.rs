//! When users were last seen, as far as it was said lately: what NATS keeps may lag behind by a moment.

use std::collections::{HashMap, VecDeque};

use protocol::{Timestamp, UserId};

/// Users remembered; the oldest entry goes first.
const MOST: usize = 50_000;

/// A bounded memory.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    times: HashMap<UserId, Timestamp>,
    order: VecDeque<UserId>,
}

impl Seen {
    pub(crate) fn get(&self, user: &UserId) -> Option<Timestamp> {
        self.times.get(user).copied()
    }

    /// Never moves a time back. How many had to be forgotten.
    pub(crate) fn note(&mut self, user: &UserId, time: Timestamp) -> u64 {
        if let Some(known) = self.times.get_mut(user) {
            *known = time.max(*known);
            return 0;
        }
        self.times.insert(user.clone(), time);
        self.order.push_back(user.clone());
        if self.order.len() <= MOST {
            return 0;
        }
        let oldest = self.order.pop_front();
        u64::from(oldest.is_some_and(|user| self.times.remove(&user).is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_the_oldest_when_it_is_full() {
        let user = |n: usize| UserId::parse(&n.to_string()).unwrap();
        let mut seen = Seen::default();
        let forgotten: u64 = (0..=MOST).map(|n| seen.note(&user(n), Timestamp::EPOCH)).sum();
        assert_eq!(forgotten, 1);
        assert_eq!((seen.get(&user(0)), seen.get(&user(1))), (None, Some(Timestamp::EPOCH)));
    }
}
