//! What is to be told, when and by whom: compares what is so with what was told.
//!
//! The owner of a user speaks at once. Every other replica knows the same and waits: if it was not told by then, the owner
//! is dead, and it speaks.

use std::time::Duration;

use protocol::server_frame::{Presence, Status};
use protocol::signal::Signal;
use protocol::{ConversationId, Timestamp, UserId};

use super::counts::Counts;
use super::deadlines::Deadlines;
use super::now::Now;
use super::pace::Pace;
use super::replicas::Replicas;
use super::seen::Seen;
use super::table::{Key, Look, Table, Why};
use super::told::Told;
use super::waits::{Wait, Waits};

/// How long the others wait for the owner.
pub(crate) const TAKE_OVER: Duration = Duration::from_secs(2);
/// How long the owner waits before it contradicts what it heard: a report may be on its way.
const CONTRADICT: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(crate) struct Voice {
    pub(crate) replicas: Replicas,
    pub(crate) seen: Seen,
    told: Told,
    waits: Waits,
    due: Deadlines<Key>,
    pace: Pace,
}

impl Voice {
    pub(crate) fn new(own: String) -> Self {
        Self {
            replicas: Replicas::new(own),
            seen: Seen::default(),
            told: Told::default(),
            waits: Waits::default(),
            due: Deadlines::default(),
            pace: Pace::default(),
        }
    }

    /// As if everything that is so had been told.
    pub(crate) fn assume_told(&mut self, table: &Table) {
        self.told = Told::all_of(table);
    }

    /// Something may look different now.
    pub(crate) fn on_change(&mut self, key: Key, why: Why, table: &Table, now: Now) {
        let shown = self.waits.get(&key).is_some_and(|wait| wait.shown);
        if table.look(&key) == self.told.get(&key) && !shown {
            self.drop_wait(&key);
            return;
        }
        let wait = self.waits.get_or_insert(&key, now.at);
        if why.session_id.is_some() {
            wait.why.session_id = why.session_id;
        }
        wait.why.last_seen = why.last_seen.or(wait.why.last_seen);
        self.schedule(key, now);
    }

    /// Another replica has told something.
    pub(crate) fn on_signal(&mut self, signal: Signal, table: &Table, now: Now, counts: &mut Counts) {
        let Some((key, look)) = read(&signal) else { return };
        if let Signal::Presence {
            presence: Presence {
                last_seen: Some(time), ..
            },
            ..
        } = signal
        {
            counts.seen_forgotten += self.seen.note(key.user(), time);
        }
        self.told.set(&key, look);
        self.pace.charge(&key, now.at);
        let before = self.waits.remove(&key);
        // Who was shown something else after he had heard this is to hear it again.
        let shown = before.as_ref().is_some_and(|it| it.shown);
        if table.look(&key) == look && !shown {
            self.due.clear(&key);
            return;
        }
        let wait = Wait {
            since: now.at,
            heard: true,
            shown,
            why: before.map(|it| it.why).unwrap_or_default(),
        };
        self.waits.insert(&key, wait);
        self.schedule(key, now);
    }

    /// Somebody who asked was shown a room, and how these users appear, as it is: it may not have been told yet.
    pub(crate) fn on_shown<'a>(&mut self, room: Option<&ConversationId>, users: impl Iterator<Item = &'a UserId>) {
        if self.waits.is_empty() {
            return;
        }
        for user in users {
            if let Some(wait) = self.waits.get_mut(&Key::User(user.clone())) {
                wait.shown = true;
            }
        }
        if let Some(room) = room {
            // Whoever is not in the room was shown too: as absent.
            self.waits.of_room(room, |wait| wait.shown = true);
        }
    }

    /// Others live, or die: it is for others to speak.
    pub(crate) fn on_new_owners(&mut self, now: Now) {
        for key in self.waits.keys() {
            self.schedule(key, now);
        }
    }

    pub(crate) fn forget(&mut self, now: Now) {
        self.pace.forget(now.at);
    }

    /// Takes the next signal whose time has come, with when the user was last seen where that is to be stored.
    pub(crate) fn next(
        &mut self,
        table: &Table,
        now: Now,
        counts: &mut Counts,
    ) -> Option<(Signal, Option<(UserId, Timestamp)>)> {
        let key = self.due.pop(now.at)?;
        let why = self.waits.remove(&key)?.why;
        let look = table.look(&key);
        self.told.set(&key, look);
        self.pace.charge(&key, now.at);
        counts.take_overs += u64::from(!self.replicas.owns(key.user().as_str()));
        let (conversation_id, user_id) = match key {
            Key::User(user_id) => {
                let Look::Status(status) = look else { return None };
                return Some(self.presence(user_id, status, why, counts));
            }
            Key::Place(place) => place,
        };
        let signal = if look == Look::There(true) {
            Signal::Joined {
                conversation_id,
                user_id,
            }
        } else {
            Signal::Left {
                conversation_id,
                user_id,
            }
        };
        Some((signal, None))
    }

    /// What waits to be told.
    pub(crate) fn waiting(&self) -> usize {
        self.waits.len()
    }

    fn presence(
        &mut self,
        user_id: UserId,
        status: Status,
        why: Why,
        counts: &mut Counts,
    ) -> (Signal, Option<(UserId, Timestamp)>) {
        let offline = status == Status::Offline;
        let seen = why.last_seen.filter(|_| offline);
        if let Some(time) = seen {
            counts.seen_forgotten += self.seen.note(&user_id, time);
        }
        let presence = Presence {
            user_id: user_id.clone(),
            status,
            last_seen: seen.or_else(|| self.seen.get(&user_id).filter(|_| offline)),
        };
        let session_id = why.session_id;
        let signal = Signal::Presence { presence, session_id };
        (signal, seen.map(|time| (user_id, time)))
    }

    fn schedule(&mut self, key: Key, now: Now) {
        let Some(wait) = self.waits.get(&key) else { return };
        let patience = match (self.replicas.owns(key.user().as_str()), wait.heard) {
            (false, _) => TAKE_OVER,
            (true, true) => CONTRADICT,
            (true, false) => Duration::ZERO,
        };
        let from = self.pace.free_at(&key, now.at).unwrap_or(wait.since).max(wait.since);
        self.due.set(key, from + patience);
    }

    fn drop_wait(&mut self, key: &Key) {
        if self.waits.remove(key).is_some() {
            self.due.clear(key);
        }
    }
}

/// What a signal says. `None` of those that are not for this service.
fn read(signal: &Signal) -> Option<(Key, Look)> {
    match signal {
        Signal::Presence { presence, .. } => Some((Key::User(presence.user_id.clone()), Look::Status(presence.status))),
        Signal::Joined {
            conversation_id,
            user_id,
        } => Some((
            Key::Place((conversation_id.clone(), user_id.clone())),
            Look::There(true),
        )),
        Signal::Left {
            conversation_id,
            user_id,
        } => Some((
            Key::Place((conversation_id.clone(), user_id.clone())),
            Look::There(false),
        )),
        Signal::Typing { .. } | Signal::Unknown => None,
    }
}
