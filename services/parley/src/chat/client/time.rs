//! What is due when: frames to write, reads to try again, writers who have stopped.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use protocol::{UserId, limits};
use serde_json::{Value, json};

use super::{Client, Request, Status};

/// Between two questions how people appear: their changes come by themselves only for the room on screen.
const ASK: Duration = Duration::from_secs(30);

/// Rooms are opened and lists come one after the other: one question for all of it.
const ASK_SOON: Duration = Duration::from_millis(300);

impl Client {
    /// When [`Client::tick`] or [`Client::frames`] next has something to do.
    pub(in crate::chat) fn due(&self, now: Instant) -> Option<Instant> {
        let again = self.again.as_ref().map(|(at, _)| *at);
        let always = [again, self.live.due()];
        let has_now = self.typist.is_due() || self.has_untold_status();
        let online = [
            self.receipts.due(),
            self.subscription.due(now),
            self.ask_at,
            has_now.then_some(now),
        ];
        let online = online.into_iter().filter(|_| self.status == Status::Online);
        always
            .into_iter()
            .chain([self.outbox.due(now)])
            .chain(online)
            .flatten()
            .min()
    }

    /// Does what has become due.
    pub(in crate::chat) fn tick(&mut self, now: Instant) {
        self.live.tick(now);
        if let Some((_, request)) = self.again.take_if(|(at, _)| *at <= now) {
            self.requests.push(request);
        }
        if self.status == Status::Online && self.ask_at.is_some_and(|at| at <= now) {
            self.ask_at = Some(now + ASK);
            let people = self.of_interest();
            if !people.is_empty() {
                self.requests.push(Request::Presence(people));
            }
        }
    }

    /// The frames to write now; a few at a time.
    pub(in crate::chat) fn frames(&mut self, now: Instant) -> Vec<Value> {
        if self.status != Status::Online {
            return Vec::new();
        }
        let mut frames = self.subscription.take(now);
        if let Some((status, is_told)) = self.chosen.as_mut().filter(|(_, is_told)| !*is_told) {
            *is_told = true;
            frames.push(json!({"type": "presence:set", "status": status}));
        }
        frames.extend(self.typist.take());
        frames.extend(self.receipts.take(now));
        frames.extend(self.outbox.next(now));
        frames
    }

    /// Asks in a moment how people appear.
    pub(super) fn ask_soon(&mut self, now: Instant) {
        self.ask_at = Some(now + ASK_SOON);
    }

    /// The line being written has changed.
    pub(in crate::chat) fn on_edit(&mut self, text: &str, now: Instant) {
        let room = self.room.as_ref().filter(|_| self.status == Status::Online);
        self.typist.on_edit(room.map(|it| it.id()), text, now);
    }

    fn has_untold_status(&self) -> bool {
        self.chosen.is_some_and(|(_, is_told)| !is_told)
    }

    /// Whose status is shown somewhere: members of the open room, and whom the listed conversations are with.
    fn of_interest(&self) -> Vec<UserId> {
        let members = self.room.iter().flat_map(|it| it.members.others());
        let peers = self.rooms.listed().iter().filter_map(|it| it.peer.as_ref());
        let mut seen = BTreeSet::new();
        let all = members.take(limits::PRESENCE_USERS / 2).chain(peers);
        let once = all.filter(|user| seen.insert((*user).clone()));
        once.take(limits::PRESENCE_USERS).cloned().collect()
    }
}
