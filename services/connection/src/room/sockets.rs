//! The sockets of this node that are subscribed to a room, counted by user.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use protocol::UserId;

use crate::session::Session;

#[derive(Debug)]
struct Socket {
    session: Arc<Session>,
    /// Whether it has its answer: a signal before that would be out of order.
    is_told: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    by_id: HashMap<String, Socket>,
    users: HashMap<UserId, usize>,
}

impl Sockets {
    /// Adds a socket that is not told anything yet. Returns whether it is the user's first; `None` where it is in here.
    pub(super) fn add(&mut self, session: &Arc<Session>) -> Option<bool> {
        if self.by_id.contains_key(&session.id) {
            return None;
        }
        let socket = Socket {
            session: session.clone(),
            is_told: false,
        };
        self.by_id.insert(session.id.clone(), socket);
        let count = self.users.entry(session.user_id.clone()).or_default();
        *count += 1;
        Some(*count == 1)
    }

    /// From now on the socket is told what happens. False: it is not in here.
    pub(super) fn tell_from_now(&mut self, session: &Session) -> bool {
        let socket = self.by_id.get_mut(&session.id);
        socket.map(|it| it.is_told = true).is_some()
    }

    /// Removes a socket. Returns whether it was the user's last; `None` where it is not in here.
    pub(super) fn remove(&mut self, session: &Session) -> Option<bool> {
        self.by_id.remove(&session.id)?;
        let count = self.users.get_mut(&session.user_id)?;
        *count -= 1;
        let last = *count == 0;
        if last {
            self.users.remove(&session.user_id);
        }
        Some(last)
    }

    /// Removes all sockets of these users.
    pub(super) fn remove_users(&mut self, users: &HashSet<&UserId>) -> Vec<Arc<Session>> {
        if !users.iter().any(|user| self.users.contains_key(*user)) {
            return Vec::new();
        }
        self.users.retain(|user, _| !users.contains(user));
        let gone = self
            .by_id
            .extract_if(|_, socket| users.contains(&socket.session.user_id));
        gone.map(|(_, socket)| socket.session).collect()
    }

    /// Those that have their answer.
    pub(super) fn told(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.by_id.values().filter(|it| it.is_told).map(|it| &it.session)
    }

    /// Users with a socket in here.
    pub(super) fn users(&self) -> impl Iterator<Item = &UserId> {
        self.users.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
