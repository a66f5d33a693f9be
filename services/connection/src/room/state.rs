//! The rooms of this node as data: subscribers, members, who is present, how the members appear. One lock around it all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use protocol::rpc::Sight;
use protocol::server_frame::{Presence, RoomSignal, Status};
use protocol::signal::Signal;
use protocol::{ConversationId, ServerFrame, UserId};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::typing::Typing;
use crate::session::Session;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) rooms: HashMap<ConversationId, Room>,
    /// Members of the rooms here.
    people: HashMap<UserId, Person>,
    pub(super) typing: Typing,
}

/// One room.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) subscribers: Vec<Arc<Session>>,
    /// Sockets that are as good as subscribed but have no answer yet: a signal before it would be out of order.
    entering: Vec<Arc<Session>>,
    /// `None` until they have been read.
    members: Option<HashSet<UserId>>,
    /// Changes of the members that came before they had been read: `seq`, whose, removed.
    early: Vec<(u64, Vec<UserId>, bool)>,
    /// Users with a subscribed socket on any node, in the order in which they came.
    pub(super) present: Vec<UserId>,
    /// Sockets on their way in: they keep the room.
    opening: usize,
}

/// A member of some rooms here.
#[derive(Debug, Default)]
struct Person {
    /// What the subscribers were last told; `None`: not known yet.
    status: Option<Presence>,
    rooms: HashSet<ConversationId>,
}

impl Room {
    /// Sockets that count as subscribed.
    fn sockets(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.subscribers.iter().chain(&self.entering)
    }

    /// Tells all subscribers but those that `except` names.
    pub(super) fn tell(&self, frame: &ServerFrame, except: impl Fn(&Session) -> bool) {
        let text = Utf8Bytes::from(frame.encode());
        for session in self.subscribers.iter().filter(|it| !except(it)) {
            session.signal(&text);
        }
    }
}

impl State {
    /// Keeps a room while a socket is on its way in. Returns whether its members must be read.
    pub(super) fn open(&mut self, id: &ConversationId) -> bool {
        let room = self.rooms.entry(id.clone()).or_default();
        room.opening += 1;
        room.members.is_none()
    }

    /// Ends what [`State::open`] began.
    pub(super) fn opened(&mut self, id: &ConversationId) {
        if let Some(room) = self.rooms.get_mut(id) {
            room.opening -= 1;
        }
        self.close_if_empty(id);
    }

    /// Takes in a room's members as of `seq`.
    pub(super) fn set_members(&mut self, id: &ConversationId, seq: u64, members: Vec<UserId>) {
        let Some(room) = self.rooms.get_mut(id).filter(|room| room.members.is_none()) else {
            return;
        };
        let mut members: HashSet<UserId> = members.into_iter().collect();
        for (_, users, removed) in room.early.drain(..).filter(|early| early.0 > seq) {
            for user in users {
                if removed {
                    members.remove(&user);
                } else {
                    members.insert(user);
                }
            }
        }
        for user in &members {
            let person = self.people.entry(user.clone()).or_default();
            person.rooms.insert(id.clone());
        }
        room.members = Some(members);
    }

    /// Counts a socket as subscribed. Returns whether it is the user's first here; `None` where it was one already.
    pub(super) fn enter(&mut self, id: &ConversationId, session: &Arc<Session>) -> Option<bool> {
        let room = self.rooms.get_mut(id)?;
        if room.sockets().any(|it| Arc::ptr_eq(it, session)) {
            return None;
        }
        let first = room.sockets().all(|it| it.user_id != session.user_id);
        room.entering.push(session.clone());
        Some(first)
    }

    /// From now on a socket that entered is told what happens. False: its subscription has ended meanwhile.
    pub(super) fn settle(&mut self, id: &ConversationId, session: &Arc<Session>) -> bool {
        let Some(room) = self.rooms.get_mut(id) else {
            return false;
        };
        if let Some(at) = room.entering.iter().position(|it| Arc::ptr_eq(it, session)) {
            let session = room.entering.swap_remove(at);
            room.subscribers.push(session);
        }
        room.subscribers.iter().any(|it| Arc::ptr_eq(it, session))
    }

    /// Removes a subscriber. Returns whether it was the user's last one here; `None` where it was none.
    pub(super) fn leave(&mut self, session: &Arc<Session>, id: &ConversationId) -> Option<bool> {
        let room = self.rooms.get_mut(id)?;
        if !room.sockets().any(|it| Arc::ptr_eq(it, session)) {
            return None;
        }
        room.subscribers.retain(|it| !Arc::ptr_eq(it, session));
        room.entering.retain(|it| !Arc::ptr_eq(it, session));
        let last = room.sockets().all(|it| it.user_id != session.user_id);
        self.close_if_empty(id);
        Some(last)
    }

    fn close_if_empty(&mut self, id: &ConversationId) {
        if self
            .rooms
            .get(id)
            .is_none_or(|room| room.opening > 0 || room.sockets().next().is_some())
        {
            return;
        }
        let members = self.rooms.remove(id).and_then(|room| room.members).unwrap_or_default();
        members.iter().for_each(|user| self.forget(user, id));
    }

    fn forget(&mut self, user: &UserId, id: &ConversationId) {
        if let Some(person) = self.people.get_mut(user) {
            person.rooms.remove(id);
            if person.rooms.is_empty() {
                self.people.remove(user);
            }
        }
    }

    /// Takes in a change of members. Returns the users whose subscriptions ended with it.
    pub(super) fn members_changed(
        &mut self,
        id: &ConversationId,
        seq: u64,
        users: &[UserId],
        removed: bool,
    ) -> Vec<UserId> {
        let Some(room) = self.rooms.get_mut(id) else {
            return Vec::new();
        };
        let Some(members) = &mut room.members else {
            room.early.push((seq, users.to_vec(), removed));
            return Vec::new();
        };
        if !removed {
            for user in users {
                members.insert(user.clone());
                let person = self.people.entry(user.clone()).or_default();
                person.rooms.insert(id.clone());
            }
            return Vec::new();
        }
        let gone: HashSet<&UserId> = users.iter().collect();
        members.retain(|user| !gone.contains(user));
        let mut ended = Vec::new();
        let mut stays = |session: &Arc<Session>| {
            let out = gone.contains(&session.user_id);
            if out {
                session.rooms.lock().retain(|it| it != id);
                ended.push(session.user_id.clone());
            }
            !out
        };
        room.subscribers.retain(&mut stays);
        room.entering.retain(&mut stays);
        for user in users {
            self.left(id, user);
            self.forget(user, id);
        }
        self.close_if_empty(id);
        ended.dedup();
        ended
    }

    /// Takes in a signal.
    pub(super) fn on_signal(&mut self, signal: &Signal, now: Instant) {
        match signal {
            Signal::Presence { presence, session_id } => self.appears(presence, session_id.as_deref()),
            Signal::Joined {
                conversation_id,
                user_id,
            } => self.joined(conversation_id, user_id),
            Signal::Left {
                conversation_id,
                user_id,
            } => self.left(conversation_id, user_id),
            Signal::Typing { .. } => self.on_typing(signal, now),
            Signal::Unknown => {}
        }
    }

    /// A user appears differently: told to the subscribers of each room that he is a member of.
    fn appears(&mut self, presence: &Presence, except: Option<&str>) {
        let Some(person) = self.people.get_mut(&presence.user_id) else {
            return;
        };
        let before = person.status.replace(presence.clone());
        if before.is_some_and(|it| it.status == presence.status) {
            return;
        }
        let text = Utf8Bytes::from(ServerFrame::Presence(presence.clone()).encode());
        let mut told: HashSet<*const Session> = HashSet::new();
        for room in person.rooms.iter().filter_map(|id| self.rooms.get(id)) {
            for session in &room.subscribers {
                if Some(session.id.as_str()) != except && told.insert(Arc::as_ptr(session)) {
                    session.signal(&text);
                }
            }
        }
        if presence.status == Status::Offline {
            self.end_typing_of(&presence.user_id);
        }
    }

    /// A user is present: told to everybody else.
    pub(super) fn joined(&mut self, id: &ConversationId, user: &UserId) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        if room.present.contains(user) {
            return;
        }
        room.present.push(user.clone());
        let frame = ServerFrame::UserJoined(room_signal(id, user));
        room.tell(&frame, |session| session.user_id == *user);
    }

    fn left(&mut self, id: &ConversationId, user: &UserId) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let before = room.present.len();
        room.present.retain(|it| it != user);
        if room.present.len() < before {
            let frame = ServerFrame::UserLeft(room_signal(id, user));
            room.tell(&frame, |session| session.user_id == *user);
        }
        self.end_typing(id, user);
    }

    /// How a member of a room here was last told to appear.
    pub(super) fn presence(&self, user: &UserId) -> Option<&Presence> {
        self.people.get(user)?.status.as_ref()
    }

    /// Takes in what the presence service sees: the first look is what subscribers start from, a later one is compared
    /// with what they were told.
    pub(super) fn reconcile(&mut self, id: &ConversationId, asked: &[UserId], sight: &Sight) {
        let seen: HashMap<&UserId, &Presence> = sight.presence.iter().map(|it| (&it.user_id, it)).collect();
        for user in asked {
            let offline = || Presence {
                user_id: user.clone(),
                status: Status::Offline,
                last_seen: None,
            };
            let presence = seen.get(user).map_or_else(offline, |it| (*it).clone());
            let Some(person) = self.people.get_mut(user) else {
                continue;
            };
            if person.status.is_none() {
                person.status = Some(presence);
            } else {
                self.appears(&presence, None);
            }
        }
        let known = self.rooms.get(id).map(|room| room.present.clone()).unwrap_or_default();
        let there: HashSet<&UserId> = sight.present.iter().collect();
        for user in known.iter().filter(|it| !there.contains(it)) {
            self.left(id, user);
        }
        for user in &sight.present {
            self.joined(id, user);
        }
    }

    pub(super) fn watched(&self) -> Vec<(ConversationId, Vec<UserId>)> {
        let room = |(id, room): (&ConversationId, &Room)| {
            let members = room.members.as_ref()?;
            Some((id.clone(), members.iter().cloned().collect()))
        };
        self.rooms.iter().filter_map(room).collect()
    }

    pub(super) fn subscriptions(&self) -> Vec<(ConversationId, UserId)> {
        let mut all = HashSet::new();
        for (id, room) in &self.rooms {
            all.extend(room.sockets().map(|it| (id.clone(), it.user_id.clone())));
        }
        all.into_iter().collect()
    }
}

pub(super) fn room_signal(id: &ConversationId, user: &UserId) -> RoomSignal {
    RoomSignal {
        conversation_id: id.clone(),
        user_id: user.clone(),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
