//! What others have been told: by this replica, or by another one that was heard.

use std::collections::{HashMap, HashSet};

use protocol::UserId;
use protocol::server_frame::Status;

use super::rooms::Place;
use super::table::{Key, Look, Table};

/// Whoever is not in it was last told offline, or not there.
#[derive(Debug, Default)]
pub(crate) struct Told {
    users: HashMap<UserId, Status>,
    places: HashSet<Place>,
}

impl Told {
    /// As if everything had been told.
    pub(crate) fn all_of(table: &Table) -> Self {
        let mut told = Self::default();
        for key in table.visible() {
            told.set(&key, table.look(&key));
        }
        told
    }

    pub(crate) fn get(&self, key: &Key) -> Look {
        match key {
            Key::User(user) => Look::Status(self.users.get(user).copied().unwrap_or_default()),
            Key::Place(place) => Look::There(self.places.contains(place)),
        }
    }

    pub(crate) fn set(&mut self, key: &Key, look: Look) {
        match (key, look) {
            (Key::User(user), Look::Status(Status::Offline)) => {
                self.users.remove(user);
            }
            (Key::User(user), Look::Status(status)) => {
                self.users.insert(user.clone(), status);
            }
            (Key::Place(place), Look::There(true)) => {
                self.places.insert(place.clone());
            }
            (Key::Place(place), _) => {
                self.places.remove(place);
            }
            (Key::User(_), Look::There(_)) => {}
        }
    }
}
