//! What looks other than it was told, until it is told or is so no more.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use protocol::{ConversationId, UserId};

use super::table::{Key, Why};

/// Something that looks other than it was told.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) since: Instant,
    /// Whether it came about by what was heard, not by what changed.
    pub(crate) heard: bool,
    /// Whether somebody who asked was shown it: then it is told even if it is over by then, or he would see it for ever.
    pub(crate) shown: bool,
    pub(crate) why: Why,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    all: HashMap<Key, Wait>,
    /// Whose places wait, by room: rooms are looked at by the thousand while many wait.
    rooms: HashMap<ConversationId, HashSet<UserId>>,
}

impl Waits {
    pub(crate) fn get(&self, key: &Key) -> Option<&Wait> {
        self.all.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut Wait> {
        self.all.get_mut(key)
    }

    /// The wait of a key, from now on if there is none.
    pub(crate) fn get_or_insert(&mut self, key: &Key, now: Instant) -> &mut Wait {
        if !self.all.contains_key(key) {
            self.note(key);
        }
        self.all.entry(key.clone()).or_insert_with(|| Wait {
            since: now,
            heard: false,
            shown: false,
            why: Why::default(),
        })
    }

    pub(crate) fn insert(&mut self, key: &Key, wait: Wait) {
        self.note(key);
        self.all.insert(key.clone(), wait);
    }

    fn note(&mut self, key: &Key) {
        if let Key::Place((room, user)) = key {
            self.rooms.entry(room.clone()).or_default().insert(user.clone());
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Wait> {
        let wait = self.all.remove(key)?;
        if let Key::Place((room, user)) = key
            && let Some(users) = self.rooms.get_mut(room)
        {
            users.remove(user);
            if users.is_empty() {
                self.rooms.remove(room);
            }
        }
        Some(wait)
    }

    /// Does something with all waits of a room's places.
    pub(crate) fn of_room(&mut self, room: &ConversationId, mut act: impl FnMut(&mut Wait)) {
        for user in self.rooms.get(room).into_iter().flatten() {
            let wait = self.all.get_mut(&Key::Place((room.clone(), user.clone())));
            wait.into_iter().for_each(&mut act);
        }
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.all.keys().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_of_a_room_are_found_and_forgotten_with_their_keys() {
        let room = ConversationId::parse("g00000000000000000000000000000000").unwrap();
        let user = |name: &str| UserId::parse(name).unwrap();
        let place = |name: &str| Key::Place((room.clone(), user(name)));
        let (mut waits, now) = (Waits::default(), Instant::now());
        for key in [place("ann"), place("bob"), Key::User(user("ann"))] {
            waits.get_or_insert(&key, now);
        }
        waits.of_room(&room, |wait| wait.shown = true);
        assert!(waits.get(&place("ann")).unwrap().shown && !waits.get(&Key::User(user("ann"))).unwrap().shown);
        for key in waits.keys() {
            assert!(waits.remove(&key).is_some());
        }
        assert!(waits.is_empty() && waits.rooms.is_empty());
    }
}
