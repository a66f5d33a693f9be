//! Rooms: who has a subscribed socket where. Who is invisible is for the table to know.

use std::collections::{BTreeMap, HashMap, HashSet};

use protocol::{ConversationId, UserId};

use super::deadlines::Deadlines;
use super::node::NodeKey;
use super::now::Now;
use super::users::GRACE;

/// A user in a room.
pub(crate) type Place = (ConversationId, UserId);

/// How somebody left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// By his own will.
    Left,
    /// His socket ended: he may be back in a moment.
    Gone,
}

#[derive(Debug, Default)]
struct Room {
    seats: HashMap<UserId, Seat>,
    /// Users in the order in which they came.
    order: BTreeMap<u64, UserId>,
}

#[derive(Debug)]
struct Seat {
    /// Nodes with a subscribed socket of his; none: in his grace.
    on: Vec<NodeKey>,
    came: u64,
}

/// All rooms with anybody in them.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    rooms: HashMap<ConversationId, Room>,
    of: HashMap<UserId, HashSet<ConversationId>>,
    graces: Deadlines<Place>,
    came: u64,
}

impl Rooms {
    /// A socket of the user is subscribed on that node.
    pub(crate) fn enter(&mut self, node: NodeKey, place: &Place) {
        let (id, user) = place;
        let room = self.rooms.entry(id.clone()).or_default();
        if let Some(seat) = room.seats.get_mut(user) {
            if !seat.on.contains(&node) {
                seat.on.push(node);
            }
            self.graces.clear(place);
            return;
        }
        self.came += 1;
        let seat = Seat {
            on: vec![node],
            came: self.came,
        };
        room.seats.insert(user.clone(), seat);
        room.order.insert(self.came, user.clone());
        self.of.entry(user.clone()).or_default().insert(id.clone());
    }

    /// No socket of the user is subscribed on that node any more.
    pub(crate) fn leave(&mut self, node: NodeKey, place: &Place, how: Leaving, now: Now) {
        let Some(seat) = self.rooms.get_mut(&place.0).and_then(|it| it.seats.get_mut(&place.1)) else {
            return;
        };
        if !seat.on.contains(&node) {
            return;
        }
        seat.on.retain(|at| *at != node);
        if !seat.on.is_empty() {
            return;
        }
        match how {
            Leaving::Left => self.remove(place),
            Leaving::Gone => self.graces.set(place.clone(), now.at + GRACE),
        }
    }

    /// Takes somebody whose grace is over.
    pub(crate) fn end_grace(&mut self, now: Now) -> Option<Place> {
        let place = self.graces.pop(now.at)?;
        self.remove(&place);
        Some(place)
    }

    pub(crate) fn contains(&self, place: &Place) -> bool {
        self.rooms
            .get(&place.0)
            .is_some_and(|room| room.seats.contains_key(&place.1))
    }

    /// Everybody in a room, in the order in which they came.
    pub(crate) fn present(&self, room: &ConversationId) -> impl Iterator<Item = &UserId> {
        self.rooms.get(room).into_iter().flat_map(|room| room.order.values())
    }

    /// The rooms that a user is in.
    pub(crate) fn of(&self, user: &UserId) -> impl Iterator<Item = &ConversationId> {
        self.of.get(user).into_iter().flatten()
    }

    /// Everybody in every room.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.of
            .iter()
            .flat_map(|(user, rooms)| rooms.iter().map(|room| (room.clone(), user.clone())))
    }

    /// Rooms with anybody in them.
    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    fn remove(&mut self, place: &Place) {
        let (id, user) = place;
        if let Some(room) = self.rooms.get_mut(id) {
            if let Some(seat) = room.seats.remove(user) {
                room.order.remove(&seat.came);
            }
            if room.seats.is_empty() {
                self.rooms.remove(id);
            }
        }
        if let Some(rooms) = self.of.get_mut(user) {
            rooms.remove(id);
            if rooms.is_empty() {
                self.of.remove(user);
            }
        }
    }
}
