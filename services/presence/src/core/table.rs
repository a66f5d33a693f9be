//! What is so: users, rooms, and the nodes' shares of them. Keeps a list of what may look different to others now.

use std::collections::{HashMap, HashSet};

use protocol::client_frame::ChosenStatus;
use protocol::server_frame::Status;
use protocol::signal::{Report, RoomPresence, Subscribed, UserSessions};
use protocol::{ConversationId, Timestamp, UserId};

use super::node::Node;
use super::now::Now;
use super::rooms::{Leaving, Place, Rooms};
use super::sessions::Sessions;
use super::users::Users;

/// Something that others see. The order is that in which things are told: somebody is online before he joins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A user's status.
    User(UserId),
    /// Whether a user is in a room.
    Place(Place),
}

/// How it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// A user's status.
    Status(Status),
    /// Whether he is there.
    There(bool),
}

/// Why something changed, as far as a signal says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Why {
    /// The session that chose the status.
    pub(crate) session_id: Option<String>,
    /// When somebody who is offline now was last seen.
    pub(crate) last_seen: Option<Timestamp>,
}

/// A status as it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) status: ChosenStatus,
    pub(crate) session_id: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) users: Users,
    pub(crate) rooms: Rooms,
    changed: Vec<(Key, Why)>,
}

impl Key {
    /// Whom it is about.
    pub(crate) fn user(&self) -> &UserId {
        match self {
            Self::User(user) | Self::Place((_, user)) => user,
        }
    }
}

impl Table {
    /// How it looks to others, or should.
    pub(crate) fn look(&self, key: &Key) -> Look {
        match key {
            Key::User(user) => Look::Status(self.users.status(user)),
            Key::Place(place) => Look::There(self.is_there(place)),
        }
    }

    /// Everything that does not look like nothing.
    pub(crate) fn visible(&self) -> impl Iterator<Item = Key> {
        let users = self.users.visible().map(|(user, _)| Key::User(user.clone()));
        let places = self.rooms.places().filter(|place| self.is_there(place));
        users.chain(places.map(Key::Place))
    }

    /// Who is in a room and not invisible, in the order in which they came.
    pub(crate) fn present(&self, room: &ConversationId) -> impl Iterator<Item = &UserId> {
        self.rooms.present(room).filter(|user| !self.users.is_invisible(user))
    }

    /// What was touched since the last call, and may look different.
    pub(crate) fn take_changed(&mut self) -> Vec<(Key, Why)> {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn apply(&mut self, node: &mut Node, report: &Report, now: Now) {
        for UserSessions { user_id, sessions } in &report.users {
            self.on_sessions(node, user_id, Sessions::of(sessions), now);
        }
        for room in &report.rooms {
            let RoomPresence {
                conversation_id,
                user_id,
                now: subscribed,
            } = room;
            let place = (conversation_id.clone(), user_id.clone());
            match subscribed {
                Subscribed::Here => self.on_here(node, place),
                Subscribed::Left => self.on_left(node, place, Leaving::Left, now),
                Subscribed::Gone => self.on_left(node, place, Leaving::Gone, now),
            }
        }
    }

    /// Everything that the node has is in these reports.
    pub(crate) fn replace(&mut self, node: &mut Node, parts: &[Report], now: Now) {
        let with_sessions = |it: &&UserSessions| !it.sessions.is_empty();
        let users = parts.iter().flat_map(|part| &part.users).filter(with_sessions);
        let users: HashSet<&UserId> = users.map(|it| &it.user_id).collect();
        let here = |it: &&RoomPresence| it.now == Subscribed::Here;
        let places = parts.iter().flat_map(|part| &part.rooms).filter(here);
        let places: HashSet<Place> = places
            .map(|it| (it.conversation_id.clone(), it.user_id.clone()))
            .collect();
        let gone: Vec<UserId> = node.users.iter().filter(|it| !users.contains(it)).cloned().collect();
        for user in gone {
            self.on_sessions(node, &user, None, now);
        }
        for place in node.places.difference(&places).cloned().collect::<Vec<_>>() {
            self.on_left(node, place, Leaving::Gone, now);
        }
        for part in parts {
            self.apply(node, part, now);
        }
    }

    /// The node has nothing any more. Its users were last seen when it was last heard.
    pub(crate) fn clear(&mut self, node: &mut Node, now: Now) {
        for user in std::mem::take(&mut node.users) {
            self.users.leave(node.key, &user, node.heard.time, now);
            self.touch(Key::User(user));
        }
        for place in std::mem::take(&mut node.places) {
            self.leave_room(node, place, Leaving::Gone, now);
        }
    }

    pub(crate) fn choose(&mut self, user: &UserId, choice: Choice, now: Now) {
        let was_invisible = self.users.is_invisible(user);
        self.users.choose(user, choice.status);
        let last_seen = (choice.status == ChosenStatus::Invisible).then(|| self.users.ended(user).unwrap_or(now.time));
        let session_id = choice.session_id;
        self.changed
            .push((Key::User(user.clone()), Why { session_id, last_seen }));
        if was_invisible == self.users.is_invisible(user) {
            return;
        }
        for room in self.rooms.of(user) {
            let key = Key::Place((room.clone(), user.clone()));
            self.changed.push((key, Why::default()));
        }
    }

    /// These are all the choices there are.
    pub(crate) fn choose_all(&mut self, mut choices: HashMap<UserId, Choice>, now: Now) {
        let default = Choice {
            status: ChosenStatus::default(),
            session_id: None,
        };
        let gone = self.users.choosers().filter(|user| !choices.contains_key(user));
        let gone: Vec<UserId> = gone.cloned().collect();
        choices.extend(gone.into_iter().map(|user| (user, default.clone())));
        for (user, choice) in choices {
            if choice.status != self.users.chosen(&user) {
                self.choose(&user, choice, now);
            }
        }
    }

    /// Ends the graces that are over.
    pub(crate) fn end_graces(&mut self, now: Now) {
        while let Some((user, ended)) = self.users.end_grace(now) {
            let why = Why {
                last_seen: Some(ended),
                ..Why::default()
            };
            self.changed.push((Key::User(user), why));
        }
        while let Some(place) = self.rooms.end_grace(now) {
            self.touch(Key::Place(place));
        }
    }

    fn is_there(&self, place: &Place) -> bool {
        self.rooms.contains(place) && !self.users.is_invisible(&place.1)
    }

    fn on_sessions(&mut self, node: &mut Node, user: &UserId, sessions: Option<Sessions>, now: Now) {
        if let Some(sessions) = sessions {
            node.users.insert(user.clone());
            self.users.enter(node.key, user, sessions);
        } else {
            node.users.remove(user);
            self.users.leave(node.key, user, now.time, now);
        }
        self.touch(Key::User(user.clone()));
    }

    fn on_here(&mut self, node: &mut Node, place: Place) {
        self.rooms.enter(node.key, &place);
        node.places.insert(place.clone());
        self.touch(Key::Place(place));
    }

    fn on_left(&mut self, node: &mut Node, place: Place, how: Leaving, now: Now) {
        node.places.remove(&place);
        self.leave_room(node, place, how, now);
    }

    fn leave_room(&mut self, node: &Node, place: Place, how: Leaving, now: Now) {
        // Whom nobody saw has no grace: it could only show him, should he choose to be seen meanwhile.
        let invisible = self.users.is_invisible(&place.1);
        let how = if invisible { Leaving::Left } else { how };
        self.rooms.leave(node.key, &place, how, now);
        self.touch(Key::Place(place));
    }

    fn touch(&mut self, key: Key) {
        self.changed.push((key, Why::default()));
    }
}
