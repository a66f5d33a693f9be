//! What follows one another does so: pushes to one device of one conversation replace each other on its screen, and the one
//! that arrives last stays there.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use parking_lot::Mutex;

/// Of one chain; more are put off, so that one device that is written to without a pause takes no other's room.
const WAITING_MOST: usize = 8;

/// Chains of `T`, by `K`. A chain exists while one of it is being done.
#[derive(Debug)]
pub(super) struct Chains<K, T>(Mutex<HashMap<K, VecDeque<T>>>);

/// What becomes of one that comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered<T> {
    /// It is to be done now; [`Chains::next`] then says what follows.
    Now(T),
    /// It is done after those before it.
    Waits,
    /// Too many wait.
    Full(T),
}

impl<K, T> Default for Chains<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T> Chains<K, T> {
    pub(super) fn enter(&self, key: K, item: T) -> Entered<T> {
        let mut chains = self.0.lock();
        match chains.get_mut(&key) {
            None => {
                chains.insert(key, VecDeque::new());
                Entered::Now(item)
            }
            Some(waiting) if waiting.len() < WAITING_MOST => {
                waiting.push_back(item);
                Entered::Waits
            }
            Some(_) => Entered::Full(item),
        }
    }

    /// The next one of a chain, after one was done; the chain ends where there is none.
    pub(super) fn next(&self, key: &K) -> Option<T> {
        let mut chains = self.0.lock();
        let next = chains.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            chains.remove(key);
        }
        next
    }

    /// Ends a chain with all that waits in it.
    pub(super) fn end(&self, key: &K) {
        self.0.lock().remove(key);
    }

    /// Something of each that waits.
    pub(super) fn waiting<R>(&self, of: impl Fn(&T) -> R) -> Vec<R> {
        self.0.lock().values().flatten().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_one_chain_follow_one_another_and_others_do_not_wait() {
        let chains = Chains::default();
        assert_eq!(chains.enter("a", 1), Entered::Now(1));
        assert_eq!(chains.enter("a", 2), Entered::Waits);
        assert_eq!(chains.enter("b", 3), Entered::Now(3));
        assert_eq!(chains.enter("a", 4), Entered::Waits);
        assert_eq!(chains.waiting(|it| *it), [2, 4]);
        assert_eq!((chains.next(&"a"), chains.next(&"b")), (Some(2), None));
        assert_eq!((chains.next(&"a"), chains.next(&"a")), (Some(4), None));
        assert_eq!(chains.enter("a", 5), Entered::Now(5));
    }

    #[test]
    fn a_chain_is_bounded_and_can_be_ended() {
        let chains = Chains::default();
        assert_eq!(chains.enter("a", 0), Entered::Now(0));
        for number in 1..=WAITING_MOST {
            assert_eq!(chains.enter("a", number), Entered::Waits);
        }
        assert_eq!(chains.enter("a", 99), Entered::Full(99));
        chains.end(&"a");
        assert_eq!(chains.enter("a", 1), Entered::Now(1));
    }
}
