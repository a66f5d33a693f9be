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
    rooms: HashMap<ConversationId, HashMap<UserId, Writing>>,
    of: HashMap<UserId, HashSet<ConversationId>>,
}

#[derive(Debug)]
struct Writing {
    until: Instant,
    session: String,
    /// The session's last signal, see [`Signal::Typing`].
    number: u64,
    /// Remembered only so that a start that comes after its stop starts nothing.
    stopped: bool,
}

impl Writing {
    /// Whether a signal of a session was overtaken by what is known.
    fn is_after(&self, session: &str, number: u64) -> bool {
        number > 0 && self.session == session && self.number > number
    }
}

impl Typing {
    /// Who is writing in a room.
    pub(super) fn of(&self, id: &ConversationId) -> Vec<UserId> {
        let users = self.rooms.get(id).into_iter().flatten();
        let writing = users.filter(|(_, writing)| !writing.stopped);
        writing.map(|(user, _)| user.clone()).collect()
    }

    /// Whether the user was not writing before, and is now.
    fn start(&mut self, id: &ConversationId, user: &UserId, (session, number): (&str, u64), now: Instant) -> bool {
        self.note(id, user, (session, number), now, false) == Some(false)
    }

    /// The session that was writing, if any was.
    fn stop(
        &mut self,
        id: &ConversationId,
        user: &UserId,
        (session, number): (&str, u64),
        now: Instant,
    ) -> Option<String> {
        let by = self.rooms.get(id).and_then(|users| users.get(user));
        let by = by.map(|writing| writing.session.clone());
        let was = self.note(id, user, (session, number), now, true);
        by.filter(|_| was == Some(true))
    }

    /// Whether the user was writing; nothing where the signal was overtaken.
    fn note(
        &mut self,
        id: &ConversationId,
        user: &UserId,
        (session, number): (&str, u64),
        now: Instant,
        stopped: bool,
    ) -> Option<bool> {
        if self.rooms.len() >= ROOMS_MOST && !self.rooms.contains_key(id) {
            metrics::counter!("parley_typing_dropped_total").increment(1);
            return None;
        }
        let users = self.rooms.entry(id.clone()).or_default();
        if users.get(user).is_some_and(|known| known.is_after(session, number)) {
            return None;
        }
        let writing = Writing {
            until: now + Duration::from_millis(limits::TYPING_MS),
            session: session.to_owned(),
            number,
            stopped,
        };
        let before = users.insert(user.clone(), writing);
        if before.is_none() {
            self.of.entry(user.clone()).or_default().insert(id.clone());
        }
        Some(before.is_some_and(|it| !it.stopped))
    }

    /// Forgets a user in a room. The session that was writing, if any was.
    fn forget(&mut self, id: &ConversationId, user: &UserId) -> Option<String> {
        let users = self.rooms.get_mut(id)?;
        let writing = users.remove(user)?;
        if users.is_empty() {
            self.rooms.remove(id);
        }
        if let Some(rooms) = self.of.get_mut(user) {
            rooms.remove(id);
            if rooms.is_empty() {
                self.of.remove(user);
            }
        }
        (!writing.stopped).then_some(writing.session)
    }

    fn expired(&self, now: Instant) -> Vec<(ConversationId, UserId)> {
        let rooms = self.rooms.iter().flat_map(|(id, users)| {
            let late = users.iter().filter(|(_, writing)| writing.until <= now);
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
            number,
        } = signal
        else {
            return;
        };
        let by = (session_id.as_str(), *number);
        if !started {
            if let Some(by) = self.typing.stop(id, user_id, by, now) {
                self.tell_stopped(id, user_id, &by);
            }
            return;
        }
        if self.is_stranger(id, user_id) {
            return;
        }
        let first = self.typing.start(id, user_id, by, now);
        if let Some(room) = self.rooms.get(id).filter(|_| first) {
            let frame = ServerFrame::TypingStarted(room_signal(id, user_id));
            let about = About::Typing(id.clone(), user_id.clone());
            room.tell(&frame, about, |session| session.id == *session_id);
        }
    }

    fn tell_stopped(&self, id: &ConversationId, user: &UserId, by: &str) {
        if let Some(room) = self.rooms.get(id) {
            let frame = ServerFrame::TypingStopped(room_signal(id, user));
            let about = About::Typing(id.clone(), user.clone());
            room.tell(&frame, about, |session| session.id == by);
        }
    }

    pub(super) fn end_typing(&mut self, id: &ConversationId, user: &UserId) {
        if let Some(by) = self.typing.forget(id, user) {
            self.tell_stopped(id, user, &by);
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
        assert!(typing.start(&id, &ann, ("s", 1), start));
        assert!(!typing.start(&id, &ann, ("s", 2), start + Duration::from_secs(3)));
        assert!(typing.expired(start + Duration::from_millis(7_999)).is_empty());
        assert_eq!(
            typing.expired(start + Duration::from_secs(8)),
            [(id.clone(), ann.clone())]
        );
        assert_eq!(typing.forget(&id, &ann).as_deref(), Some("s"));
        assert!(typing.of(&id).is_empty() && typing.forget(&id, &ann).is_none());
        assert!(typing.rooms_of(&ann).is_empty());
    }

    #[test]
    fn a_start_that_its_stop_has_overtaken_starts_nothing() {
        let id = ConversationId::parse("g00000000000000000000000000000000").unwrap();
        let ann = UserId::parse("ann").unwrap();
        let (mut typing, now) = (Typing::default(), Instant::now());
        assert_eq!(typing.stop(&id, &ann, ("s", 2), now), None);
        assert!(!typing.start(&id, &ann, ("s", 1), now) && typing.of(&id).is_empty());
        assert!(typing.start(&id, &ann, ("s", 3), now));
        assert_eq!(
            typing.stop(&id, &ann, ("s", 2), now),
            None,
            "it was before the last start"
        );
        assert_eq!(typing.of(&id), std::slice::from_ref(&ann));
        assert_eq!(typing.stop(&id, &ann, ("s", 4), now).as_deref(), Some("s"));
    }
}
