//! Who is in a room, in the order in which they came.

use std::collections::{BTreeMap, HashMap};

use protocol::UserId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Present {
    came: HashMap<UserId, u64>,
    order: BTreeMap<u64, UserId>,
    next: u64,
}

impl Present {
    /// Whether the user was not in it.
    pub(super) fn insert(&mut self, user: &UserId) -> bool {
        if self.came.contains_key(user) {
            return false;
        }
        self.came.insert(user.clone(), self.next);
        self.order.insert(self.next, user.clone());
        self.next += 1;
        true
    }

    /// Whether the user was in it.
    pub(super) fn remove(&mut self, user: &UserId) -> bool {
        let came = self.came.remove(user);
        came.is_some_and(|came| self.order.remove(&came).is_some())
    }

    pub(super) fn contains(&self, user: &UserId) -> bool {
        self.came.contains_key(user)
    }

    pub(super) fn len(&self) -> usize {
        self.came.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &UserId> {
        self.order.values()
    }
}
