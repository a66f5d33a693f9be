//! A simulated connection node: what it has, what it reports, what it answers.

use std::collections::{BTreeMap, BTreeSet};

use protocol::UserId;
use protocol::client_frame::AppState;
use protocol::signal::{Report, RoomPresence, SessionState, Snapshot, Subscribed, UserSessions};

use crate::core::rooms::Place;

/// Entries of one part of a snapshot: few, so that every snapshot of a test has several.
const PART: usize = 3;

/// Ticks between beats: a lease of 10 s is 200 ticks.
const BEAT: u32 = 40;

#[derive(Debug)]
pub(super) struct FakeNode {
    pub(super) name: String,
    /// Killed nodes say and answer nothing.
    pub(super) alive: bool,
    /// Stopped nodes say and answer nothing, but their subscriptions are there.
    pub(super) stopped: bool,
    number: u64,
    sessions: BTreeMap<UserId, Vec<SessionState>>,
    places: BTreeSet<Place>,
    dirty_users: BTreeSet<UserId>,
    dirty_places: BTreeMap<Place, Subscribed>,
    beat_in: u32,
}

impl FakeNode {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            alive: true,
            stopped: false,
            number: 0,
            sessions: BTreeMap::new(),
            places: BTreeSet::new(),
            dirty_users: BTreeSet::new(),
            dirty_places: BTreeMap::new(),
            beat_in: 0,
        }
    }

    pub(super) fn open(&mut self, user: &UserId) {
        self.open_on(user, "device");
    }

    /// Opens a session on a device, in the foreground.
    pub(super) fn open_on(&mut self, user: &UserId, device: &str) {
        let session = SessionState {
            device_id: device.into(),
            state: AppState::Foreground,
            idle: false,
        };
        self.sessions.entry(user.clone()).or_default().push(session);
        self.dirty_users.insert(user.clone());
    }

    /// Puts the last session that was opened into the background, or out of it.
    pub(super) fn set_state(&mut self, user: &UserId, state: AppState) {
        if let Some(session) = self.sessions.get_mut(user).and_then(|it| it.last_mut()) {
            session.state = state;
            self.dirty_users.insert(user.clone());
        }
    }

    /// Ends one of the user's sessions; the last one takes his subscriptions with it.
    pub(super) fn close(&mut self, user: &UserId) {
        let Some(sessions) = self.sessions.get_mut(user) else {
            return;
        };
        sessions.pop();
        self.dirty_users.insert(user.clone());
        if !sessions.is_empty() {
            return;
        }
        self.sessions.remove(user);
        for place in self.places.clone().into_iter().filter(|it| it.1 == *user) {
            self.places.remove(&place);
            self.dirty_places.insert(place, Subscribed::Gone);
        }
    }

    pub(super) fn idle(&mut self, user: &UserId, idle: bool) {
        if let Some(sessions) = self.sessions.get_mut(user) {
            sessions.iter_mut().for_each(|it| it.idle = idle);
            self.dirty_users.insert(user.clone());
        }
    }

    pub(super) fn subscribe(&mut self, place: &Place) {
        if self.has(&place.1) && self.places.insert(place.clone()) {
            self.dirty_places.insert(place.clone(), Subscribed::Here);
        }
    }

    pub(super) fn unsubscribe(&mut self, place: &Place) {
        if self.places.remove(place) {
            self.dirty_places.insert(place.clone(), Subscribed::Left);
        }
    }

    pub(super) fn has(&self, user: &UserId) -> bool {
        self.sessions.contains_key(user)
    }

    pub(super) fn is_active(&self, user: &UserId) -> bool {
        self.sessions
            .get(user)
            .is_some_and(|it| it.iter().any(|session| !session.idle))
    }

    pub(super) fn is_in(&self, place: &Place) -> bool {
        self.places.contains(place)
    }

    pub(super) fn sessions(&self, user: &UserId) -> impl Iterator<Item = &SessionState> {
        self.sessions.get(user).into_iter().flatten()
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What it says in this tick.
    pub(super) fn tick(&mut self) -> Option<Report> {
        if !self.alive || self.stopped {
            return None;
        }
        let mut report = self.report();
        if !self.dirty_users.is_empty() || !self.dirty_places.is_empty() {
            self.number += 1;
            let users = std::mem::take(&mut self.dirty_users);
            report.users = users.iter().map(|user| self.user(user)).collect();
            let places = std::mem::take(&mut self.dirty_places).into_iter();
            report.rooms = places.map(|(place, now)| room(&place, now)).collect();
        } else if self.beat_in > 0 {
            self.beat_in -= 1;
            return None;
        }
        self.beat_in = BEAT;
        report.number = self.number;
        Some(report)
    }

    /// Beats in the next tick.
    pub(super) fn on_hello(&mut self) {
        self.beat_in = 0;
    }

    /// Ends in good order.
    pub(super) fn end(&mut self) -> Report {
        self.alive = false;
        Report {
            number: self.number + 1,
            last: true,
            ..self.report()
        }
    }

    pub(super) fn snapshot(&self) -> Vec<Snapshot> {
        let users: Vec<_> = self.sessions.keys().map(|user| self.user(user)).collect();
        let rooms: Vec<_> = self.places.iter().map(|it| room(it, Subscribed::Here)).collect();
        let users = users.chunks(PART).map(|part| (part.to_vec(), Vec::new()));
        let rooms = rooms.chunks(PART).map(|part| (Vec::new(), part.to_vec()));
        let mut parts: Vec<_> = users.chain(rooms).collect();
        if parts.is_empty() {
            parts.push((Vec::new(), Vec::new()));
        }
        let last = parts.len() - 1;
        let parts = parts.into_iter().enumerate();
        parts
            .map(|(part, (users, rooms))| Snapshot {
                report: Report {
                    users,
                    rooms,
                    ..self.report()
                },
                part: u32::try_from(part).unwrap(),
                more: part != last,
            })
            .collect()
    }

    fn report(&self) -> Report {
        Report {
            node: self.name.clone(),
            number: self.number,
            ..Report::default()
        }
    }

    fn user(&self, user: &UserId) -> UserSessions {
        UserSessions {
            user_id: user.clone(),
            sessions: self.sessions(user).cloned().collect(),
        }
    }
}

fn room(place: &Place, now: Subscribed) -> RoomPresence {
    RoomPresence {
        conversation_id: place.0.clone(),
        user_id: place.1.clone(),
        now,
    }
}
