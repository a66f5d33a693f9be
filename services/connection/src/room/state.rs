//! The rooms of this node as data: subscribers, members, who is present, how the members appear. One lock around it all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use protocol::rpc::Sight;
use protocol::server_frame::{Presence, RoomSignal, Status};
use protocol::signal::Signal;
use protocol::{ConversationId, ServerFrame, UserId};
use tokio::time::Instant;

use super::live::{About, Live};
use super::present::Present;
use super::sockets::Sockets;
use super::typing::Typing;
use crate::session::Session;

/// Members held in all rooms together, so that no client can fill the memory by subscribing. Past it no further room is opened.
pub(super) const MEMBERS_MOST: usize = 1_000_000;
/// Users remembered of a room who came before this node heard that they are members.
const STRANGERS_MOST: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) rooms: HashMap<ConversationId, Room>,
    /// Members of the rooms here.
    people: HashMap<UserId, Person>,
    pub(super) typing: Typing,
    /// Counts the signals taken in.
    moment: u64,
    members: usize,
}

/// One room.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) sockets: Sockets,
    /// `None` until they have been read.
    members: Option<HashSet<UserId>>,
    /// The last change of the members that is taken in.
    seq: u64,
    /// Changes of the members that came before they had been read: `seq`, whose, removed.
    early: Vec<(u64, Vec<UserId>, bool)>,
    /// Users with a subscribed socket on any node.
    pub(super) present: Present,
    /// Users who came, and who are no members as far as this node has heard.
    strangers: HashSet<UserId>,
    /// Whether it was looked at as a whole: since then signals keep it as it is.
    is_known: bool,
    /// Looks under way: they keep the room.
    looks: usize,
    /// Users who came or went while a look is under way, and when: the look may be older than that.
    touched: HashMap<UserId, Moment>,
    /// Held by whoever reads the members, so that a thousand sockets that come at once read them once.
    pub(super) gate: Arc<tokio::sync::Mutex<()>>,
}

/// When a look began, in signals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// A member of some rooms here.
#[derive(Debug, Default)]
struct Person {
    /// What the subscribers were last told; `None`: not known yet.
    status: Option<Presence>,
    /// When a signal last told it.
    touched: Moment,
    rooms: HashSet<ConversationId>,
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) rooms: usize,
    pub(super) members: usize,
    pub(super) subscriptions: usize,
}

impl Room {
    /// Tells all subscribers but those that `except` names.
    pub(super) fn tell(&self, frame: &ServerFrame, about: About, except: impl Fn(&Session) -> bool) {
        let live = Arc::new(Live::new(frame, about));
        for session in self.sockets.told().filter(|it| !except(it)) {
            session.signal(&live);
        }
    }

    fn is_stranger(&self, user: &UserId) -> bool {
        self.members.as_ref().is_some_and(|members| !members.contains(user))
    }
}

impl State {
    /// Keeps a room while it is looked at. Returns when that began.
    pub(super) fn begin_look(&mut self, id: &ConversationId) -> Moment {
        self.rooms.entry(id.clone()).or_default().looks += 1;
        Moment(self.moment)
    }

    /// Ends what [`State::begin_look`] began.
    pub(super) fn end_look(&mut self, id: &ConversationId) {
        if let Some(room) = self.rooms.get_mut(id) {
            room.looks -= 1;
            if room.looks == 0 {
                room.touched = HashMap::new();
            }
        }
        self.close_if_empty(id);
    }

    /// Whether the room was looked at as a whole.
    pub(super) fn is_known(&self, id: &ConversationId) -> bool {
        self.rooms.get(id).is_some_and(|room| room.is_known)
    }

    /// Takes in a room's members as of `seq`, unless they are known. False: there are too many in all.
    pub(super) fn set_members(&mut self, id: &ConversationId, seq: u64, members: Vec<UserId>) -> bool {
        let Some(room) = self.rooms.get_mut(id).filter(|room| room.members.is_none()) else {
            return true;
        };
        if self.members + members.len() > MEMBERS_MOST {
            return false;
        }
        let mut members: HashSet<UserId> = members.into_iter().collect();
        room.seq = seq;
        for (at, users, removed) in room.early.drain(..).filter(|early| early.0 > seq) {
            room.seq = at;
            for user in users {
                if removed {
                    members.remove(&user);
                } else {
                    members.insert(user);
                }
            }
        }
        self.members += members.len();
        for user in &members {
            let person = self.people.entry(user.clone()).or_default();
            person.rooms.insert(id.clone());
        }
        let came: Vec<UserId> = room
            .present
            .iter()
            .filter(|it| !members.contains(*it))
            .cloned()
            .collect();
        room.members = Some(members);
        for user in came {
            room.present.remove(&user);
            room.strangers.insert(user);
        }
        true
    }

    /// Counts a socket as subscribed. Returns whether it is the user's first here; `None` where it was one already.
    pub(super) fn enter(&mut self, id: &ConversationId, session: &Arc<Session>) -> Option<bool> {
        self.rooms.get_mut(id)?.sockets.add(session)
    }

    /// From now on a socket that entered is told what happens. False: its subscription has ended meanwhile.
    pub(super) fn settle(&mut self, id: &ConversationId, session: &Session) -> bool {
        let room = self.rooms.get_mut(id);
        room.is_some_and(|room| room.sockets.tell_from_now(session))
    }

    /// Removes a subscriber. Returns whether it was the user's last one here; `None` where it was none.
    pub(super) fn leave(&mut self, session: &Session, id: &ConversationId) -> Option<bool> {
        let last = self.rooms.get_mut(id)?.sockets.remove(session)?;
        // What waits for it would come after it was told that it is no longer subscribed.
        session.forget_signals(id);
        self.close_if_empty(id);
        Some(last)
    }

    fn close_if_empty(&mut self, id: &ConversationId) {
        let room = self.rooms.get(id);
        if room.is_none_or(|room| room.looks > 0 || !room.sockets.is_empty()) {
            return;
        }
        let members = self.rooms.remove(id).and_then(|room| room.members).unwrap_or_default();
        self.members -= members.len();
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
        if seq <= room.seq {
            // The list that was read has it, and what came after it too.
            return Vec::new();
        }
        room.seq = seq;
        let before = members.len();
        if !removed {
            members.extend(users.iter().cloned());
            self.members += members.len() - before;
            let came: Vec<&UserId> = users.iter().filter(|user| room.strangers.remove(*user)).collect();
            for user in users {
                let person = self.people.entry(user.clone()).or_default();
                person.rooms.insert(id.clone());
            }
            came.into_iter().for_each(|user| self.joined(id, user));
            return Vec::new();
        }
        let gone: HashSet<&UserId> = users.iter().collect();
        members.retain(|user| !gone.contains(user));
        self.members -= before - members.len();
        let ended = room.sockets.remove_users(&gone);
        for session in &ended {
            session.rooms.lock().remove(id);
            session.forget_signals(id);
        }
        for user in users {
            self.left(id, user);
            self.forget(user, id);
        }
        self.close_if_empty(id);
        let ended: HashSet<&UserId> = ended.iter().map(|it| &it.user_id).collect();
        ended.into_iter().cloned().collect()
    }

    /// Takes in a signal.
    pub(super) fn on_signal(&mut self, signal: &Signal, now: Instant) {
        self.moment += 1;
        match signal {
            Signal::Presence { presence, session_id } => {
                if let Some(person) = self.people.get_mut(&presence.user_id) {
                    person.touched = Moment(self.moment);
                    self.appears(presence, session_id.as_deref());
                }
            }
            Signal::Joined {
                conversation_id,
                user_id,
            } => {
                self.touch(conversation_id, user_id);
                self.joined(conversation_id, user_id);
            }
            Signal::Left {
                conversation_id,
                user_id,
            } => {
                self.touch(conversation_id, user_id);
                self.left(conversation_id, user_id);
            }
            Signal::Typing { .. } => self.on_typing(signal, now),
            Signal::Unknown => {}
        }
    }

    fn touch(&mut self, id: &ConversationId, user: &UserId) {
        let moment = Moment(self.moment);
        if let Some(room) = self.rooms.get_mut(id).filter(|room| room.looks > 0) {
            room.touched.insert(user.clone(), moment);
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
        let about = About::Status(presence.user_id.clone());
        let live = Arc::new(Live::new(&ServerFrame::Presence(presence.clone()), about));
        let mut told: HashSet<&str> = HashSet::new();
        for room in person.rooms.iter().filter_map(|id| self.rooms.get(id)) {
            for session in room.sockets.told() {
                if Some(session.id.as_str()) != except && told.insert(&session.id) {
                    session.signal(&live);
                }
            }
        }
        if presence.status == Status::Offline {
            self.end_typing_of(&presence.user_id);
        }
    }

    /// A user is present: told to everybody else.
    fn joined(&mut self, id: &ConversationId, user: &UserId) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        if room.is_stranger(user) {
            // A new member whose addition is on its way, or somebody who was just removed.
            if room.strangers.len() < STRANGERS_MOST {
                room.strangers.insert(user.clone());
            }
            return;
        }
        if room.present.insert(user) {
            let frame = ServerFrame::UserJoined(room_signal(id, user));
            let about = About::Place(id.clone(), user.clone());
            room.tell(&frame, about, |session| session.user_id == *user);
        }
    }

    fn left(&mut self, id: &ConversationId, user: &UserId) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.strangers.remove(user);
        if room.present.remove(user) {
            let frame = ServerFrame::UserLeft(room_signal(id, user));
            let about = About::Place(id.clone(), user.clone());
            room.tell(&frame, about, |session| session.user_id == *user);
        }
        self.end_typing(id, user);
    }

    /// How a member of a room here was last told to appear.
    pub(super) fn presence(&self, user: &UserId) -> Option<&Presence> {
        self.people.get(user)?.status.as_ref()
    }

    /// Whether somebody is no member of a room whose members are known.
    pub(super) fn is_stranger(&self, id: &ConversationId, user: &UserId) -> bool {
        self.rooms.get(id).is_some_and(|room| room.is_stranger(user))
    }

    /// Takes in how those appear who were `asked` for in a look that began at `since`: the first look is what subscribers
    /// start from, a later one is compared with what they were told.
    pub(super) fn reconcile_people(&mut self, asked: &[UserId], sight: &Sight, since: Moment) {
        let seen: HashMap<&UserId, &Presence> = sight.presence.iter().map(|it| (&it.user_id, it)).collect();
        for user in asked {
            let Some(person) = self.people.get_mut(user).filter(|it| it.touched <= since) else {
                continue;
            };
            let offline = || Presence {
                user_id: user.clone(),
                status: Status::Offline,
                last_seen: None,
            };
            let presence = seen.get(user).map_or_else(offline, |it| (*it).clone());
            if person.status.is_none() {
                person.status = Some(presence);
            } else if !sight.late {
                self.appears(&presence, None);
            }
        }
    }

    /// Takes in who was present in a look at the room that began at `since`.
    pub(super) fn reconcile_present(&mut self, id: &ConversationId, sight: &Sight, since: Moment) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        // Where only a comparison keeps the room, its members are not read.
        room.is_known = room.members.is_some();
        let is_news = |user: &&UserId| room.touched.get(*user).is_none_or(|at| *at <= since);
        let whole = !sight.cut && !sight.late;
        let there: HashSet<&UserId> = sight.present.iter().collect();
        let gone = room.present.iter().filter(|it| whole && !there.contains(it));
        let gone: Vec<UserId> = gone.filter(is_news).cloned().collect();
        let come: Vec<&UserId> = sight.present.iter().filter(is_news).collect();
        gone.iter().for_each(|user| self.left(id, user));
        come.into_iter().for_each(|user| self.joined(id, user));
    }

    /// The rooms whose members have been read.
    pub(super) fn watched(&self) -> Vec<ConversationId> {
        let read = self.rooms.iter().filter(|(_, room)| room.members.is_some());
        read.map(|(id, _)| id.clone()).collect()
    }

    /// A room's members, as far as they have been read.
    pub(super) fn members(&self, id: &ConversationId) -> Vec<UserId> {
        let members = self.rooms.get(id).and_then(|room| room.members.as_ref());
        members.into_iter().flatten().cloned().collect()
    }

    pub(super) fn subscriptions(&self) -> Vec<(ConversationId, UserId)> {
        let of = |(id, room): (&ConversationId, &Room)| {
            let users = room.sockets.users();
            users.map(|user| (id.clone(), user.clone())).collect::<Vec<_>>()
        };
        self.rooms.iter().flat_map(of).collect()
    }

    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            rooms: self.rooms.len(),
            members: self.members,
            subscriptions: self.rooms.values().map(|room| room.sockets.len()).sum(),
        }
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
