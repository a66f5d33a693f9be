//! At most one deadline per key, the next one first.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// Setting, clearing and taking cost the logarithm of how many there are.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    of: HashMap<K, Instant>,
    queue: BTreeSet<(Instant, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            of: HashMap::new(),
            queue: BTreeSet::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Deadlines<K> {
    /// In place of the one that the key had.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        if let Some(before) = self.of.insert(key.clone(), at) {
            self.queue.remove(&(before, key.clone()));
        }
        self.queue.insert((at, key));
    }

    pub(crate) fn clear(&mut self, key: &K) {
        if let Some(at) = self.of.remove(key) {
            self.queue.remove(&(at, key.clone()));
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Instant> {
        self.of.get(key).copied()
    }

    /// Takes one that has come, the earliest.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<K> {
        if self.queue.first().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, key) = self.queue.pop_first()?;
        self.of.remove(&key);
        Some(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_set_again_comes_once_and_at_its_new_time() {
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let mut deadlines = Deadlines::default();
        deadlines.set('a', second(1));
        deadlines.set('b', second(2));
        deadlines.set('a', second(3));
        assert_eq!(deadlines.pop(second(1)), None);
        assert_eq!(deadlines.pop(second(9)), Some('b'));
        assert_eq!(deadlines.pop(second(9)), Some('a'));
        assert_eq!(deadlines.pop(second(9)), None);
    }

    #[test]
    fn a_cleared_deadline_does_not_come() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.set('a', start);
        deadlines.clear(&'a');
        assert_eq!((deadlines.pop(start), deadlines.len()), (None, 0));
    }
}
