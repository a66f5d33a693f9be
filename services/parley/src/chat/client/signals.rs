//! Live signals of the open room: who is here, who is writing, how people appear.

use std::time::Instant;

use protocol::server_frame::{Presence, RoomSignal, Status, Subscribed};

use super::{Client, Output};
use crate::chat::{escape, news, people};

impl Client {
    pub(super) fn on_subscribed(&mut self, subscribed: &Subscribed, now: Instant) {
        self.people.learn_all(&subscribed.present);
        if !self.is_open(&subscribed.conversation_id) {
            return;
        }
        self.live.on_subscribed(subscribed, now);
        let others = subscribed.present.iter().filter(|it| it.user_id != self.me);
        let names: Vec<String> = others.map(|it| escape::line(it.user_id.as_str())).collect();
        let here = match names.is_empty() {
            true => "nobody else is here".to_owned(),
            false => format!("here: {}", names.join(", ")),
        };
        self.outputs.push(Output::Happened(here));
        self.tell_writers();
    }

    pub(super) fn on_joined(&mut self, signal: &RoomSignal, now: Instant) {
        if self.is_open(&signal.conversation_id) && self.live.joined(&signal.user_id) {
            self.tell(signal, "is here");
            // Of whoever has just come it is not known yet how he appears.
            if self
                .people
                .status(&signal.user_id)
                .is_none_or(|it| it == Status::Offline)
            {
                self.ask_soon(now);
            }
        }
    }

    pub(super) fn on_left(&mut self, signal: &RoomSignal) {
        if self.is_open(&signal.conversation_id) {
            self.live.left(&signal.user_id);
            self.tell(signal, "has gone");
        }
    }

    pub(super) fn on_typing(&mut self, signal: &RoomSignal, started: bool, now: Instant) {
        if !self.is_open(&signal.conversation_id) || signal.user_id == self.me {
            return;
        }
        match started {
            true if self.live.started(&signal.user_id, now) => self.tell(signal, "is writing…"),
            true => {}
            false => self.live.stopped(&signal.user_id),
        }
    }

    pub(super) fn on_presence(&mut self, presence: &Presence) {
        if self.people.learn(presence) && presence.user_id != self.me {
            let user = escape::line(presence.user_id.as_str());
            let words = people::words(presence.status);
            self.outputs.push(Output::Happened(format!("{user} is {words}")));
        }
    }

    fn tell(&mut self, signal: &RoomSignal, does: &str) {
        if signal.user_id != self.me {
            let user = escape::line(signal.user_id.as_str());
            self.outputs.push(Output::Happened(format!("{user} {does}")));
        }
    }

    fn tell_writers(&mut self) {
        let writers = self.live.writing().filter(|it| **it != self.me);
        self.outputs.extend(news::writing(writers).map(Output::Happened));
    }
}
