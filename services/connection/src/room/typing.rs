//! Who is writing where. Every node decides for itself when somebody has stopped: a lost stop does not stick.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use protocol::signal::Signal;
use protocol::{ConversationId, ServerFrame, UserId, limits};
use tokio::time::Instant;

use super::live::About;
use super::state::{State, room_signal};

/// Rooms with somebody writing that are remembered; entries live for five seconds.
const ROOMS_MOST: usize = 100_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Typing {
    /// By room and user: until when, and by which session.
    rooms: HashMap<ConversationId, HashMap<UserId, (Instant, String)>>,
    of: HashMap<UserId, HashSet<ConversationId>>,
}

impl Typing {
    /// Who is writing in a room.
    pub(super) fn of(&self, id: &ConversationId) -> Vec<UserId> {
        self.rooms
            .get(id)
            .map(|users| users.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Whether the user was not writing before.
    fn start(&mut self, id: &ConversationId, user: &UserId, session: &str, now: Instant) -> bool {
        if self.rooms.len() >= ROOMS_MOST && !self.rooms.contains_key(id) {
            return false;
        }
        let until = now + Duration::from_millis(limits::TYPING_MS);
        let users = self.rooms.entry(id.clone()).or_default();
        let first = users.insert(user.clone(), (until, session.to_owned())).is_none();
        if first {
            self.of.entry(user.clone()).or_default().insert(id.clone());
        }
        first
    }

    /// The session that was writing, if any was.
    fn stop(&mut self, id: &ConversationId, user: &UserId) -> Option<String> {
        let users = self.rooms.get_mut(id)?;
        let (_, session) = users.remove(user)?;
        if users.is_empty() {
            self.rooms.remove(id);
        }
        if let Some(rooms) = self.of.get_mut(user) {
            rooms.remove(id);
            if rooms.is_empty() {
                self.of.remove(user);
            }
        }
        Some(session)
    }

    fn expired(&self, now: Instant) -> Vec<(ConversationId, UserId)> {
        let rooms = self.rooms.iter().flat_map(|(id, users)| {
            let late = users.iter().filter(|(_, (until, _))| *until <= now);
            late.map(|(user, _)| (id.clone(), user.clone()))
        });
        rooms.collect()
    }

    fn rooms_of(&self, user: &UserId) -> Vec<ConversationId> {
        self.of.get(user).into_iter().flatten().cloned().collect()
    }
}

impl State {
    pub(super) fn on_typing(&mut self, signal: &Signal, now: Instant) {
        let Signal::Typing {
            conversation_id: id,
            user_id,
            started,
            session_id,
        } = signal
        else {
            return;
        };
        if !started {
            return self.end_typing(id, user_id);
        }
        if self.is_stranger(id, user_id) {
            return;
        }
        let first = self.typing.start(id, user_id, session_id, now);
        if let Some(room) = self.rooms.get(id).filter(|_| first) {
            let frame = ServerFrame::TypingStarted(room_signal(id, user_id));
            let about = About::Typing(id.clone(), user_id.clone());
            room.tell(&frame, about, |session| session.id == *session_id);
        }
    }

    pub(super) fn end_typing(&mut self, id: &ConversationId, user: &UserId) {
        let Some(by) = self.typing.stop(id, user) else { return };
        if let Some(room) = self.rooms.get(id) {
            let frame = ServerFrame::TypingStopped(room_signal(id, user));
            let about = About::Typing(id.clone(), user.clone());
            room.tell(&frame, about, |session| session.id == by);
        }
    }

    pub(super) fn end_typing_of(&mut self, user: &UserId) {
        for id in self.typing.rooms_of(user) {
            self.end_typing(&id, user);
        }
    }

    pub(super) fn expire_typing(&mut self, now: Instant) {
        for (id, user) in self.typing.expired(now) {
            self.end_typing(&id, &user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_ends_five_seconds_after_the_last_start() {
        let (id, ann) = (
            ConversationId::parse("g00000000000000000000000000000000").unwrap(),
            UserId::parse("ann").unwrap(),
        );
        let (mut typing, start) = (Typing::default(), Instant::now());
        assert!(typing.start(&id, &ann, "s", start));
        assert!(!typing.start(&id, &ann, "s", start + Duration::from_secs(3)));
        assert!(typing.expired(start + Duration::from_millis(7_999)).is_empty());
        assert_eq!(
            typing.expired(start + Duration::from_secs(8)),
            [(id.clone(), ann.clone())]
        );
        assert_eq!(typing.stop(&id, &ann).as_deref(), Some("s"));
        assert!(typing.of(&id).is_empty() && typing.stop(&id, &ann).is_none());
        assert!(typing.rooms_of(&ann).is_empty());
    }
}
