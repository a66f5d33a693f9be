//! Positions of a lane whose entries never came to this node: newer ones had replaced them. A newer one says whom such an
//! entry was for, see [`Told`].
//!
//! [`Told`]: protocol::envelope::Told

use std::collections::VecDeque;

/// Ranges remembered by themselves; older ones are taken as one, which tells somebody twice rather than not at all.
const RANGES_MOST: usize = 1_024;

/// See the module.
#[derive(Debug, Default)]
pub struct Holes {
    /// First and last position of each, in order.
    ranges: VecDeque<(u64, u64)>,
}

impl Holes {
    /// After the entry at `before` came the one at `position`.
    pub fn note(&mut self, before: u64, position: u64) {
        if position <= before + 1 {
            return;
        }
        self.ranges.push_back((before + 1, position - 1));
        if self.ranges.len() > RANGES_MOST
            && let Some((first, _)) = self.ranges.pop_front()
            && let Some(oldest) = self.ranges.front_mut()
        {
            oldest.0 = first;
        }
    }

    /// Whether the entry at this position did not come.
    pub fn contain(&self, position: u64) -> bool {
        let at = self.ranges.partition_point(|(_, last)| *last < position);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_is_a_hole() {
        let mut holes = Holes::default();
        let came = [1, 2, 5, 6, 9];
        came.windows(2).for_each(|pair| holes.note(pair[0], pair[1]));
        let found: Vec<u64> = (0..12).filter(|it| holes.contain(*it)).collect();
        assert_eq!(found, [3, 4, 7, 8]);
    }

    #[test]
    fn of_too_many_the_oldest_become_one() {
        let mut holes = Holes::default();
        let count = RANGES_MOST as u64 + 2;
        (0..count).for_each(|it| holes.note(it * 2, it * 2 + 2));
        assert_eq!(holes.ranges.len(), RANGES_MOST);
        assert!((1..6).all(|it| holes.contain(it)), "rather too much than too little");
        assert!(holes.contain(7) && !holes.contain(8));
    }
}
