//! Tells the others that this user is writing. Pure; the time is passed in.

use std::time::{Duration, Instant};

use protocol::{ConversationId, limits};
use serde_json::{Value, json};

/// A start is repeated so often while the user goes on; the others let it end by itself after five seconds.
const REPEAT: Duration = Duration::from_secs(2);

/// Frames that wait; the oldest go first, since they say least.
const WAITING: usize = 4;

/// `ref` of the frames: that one of them failed is no news to the user.
pub(super) const REFERENCE: &str = "typing";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Typist {
    /// Where and when the last start was told that no stop has followed.
    started: Option<(ConversationId, Instant)>,
    frames: Vec<Value>,
}

impl Typist {
    /// The line being written has changed. A command is none of the others' business.
    pub(super) fn on_edit(&mut self, room: Option<&ConversationId>, text: &str, now: Instant) {
        let text = text.trim_start();
        let is_message = !text.is_empty() && (!text.starts_with('/') || text.starts_with("//"));
        let Some(room) = room.filter(|_| is_message) else {
            return self.stop(now);
        };
        match &self.started {
            Some((told, at)) if told == room && now < *at + REPEAT => return,
            Some((told, _)) if told != room => self.stop(now),
            _ => {}
        }
        self.started = Some((room.clone(), now));
        self.push("typing:start", room);
    }

    /// The line was sent or thrown away, or its room was left.
    pub(super) fn stop(&mut self, now: Instant) {
        if let Some((room, at)) = self.started.take()
            && now < at + Duration::from_millis(limits::TYPING_MS)
        {
            self.push("typing:stop", &room);
        }
    }

    /// The connection is gone, and everything said on it.
    pub(super) fn on_offline(&mut self) {
        (self.started, self.frames) = (None, Vec::new());
    }

    /// Whether [`Typist::take`] has something.
    pub(super) fn is_due(&self) -> bool {
        !self.frames.is_empty()
    }

    /// The frames to write now.
    pub(super) fn take(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.frames)
    }

    fn push(&mut self, name: &str, room: &ConversationId) {
        if self.frames.len() == WAITING {
            self.frames.remove(0);
        }
        self.frames
            .push(json!({"type": name, "conversation_id": room, "ref": REFERENCE}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(number: u32) -> ConversationId {
        ConversationId::parse(&format!("g{number:032}")).unwrap()
    }

    fn types(typist: &mut Typist) -> Vec<String> {
        let frames = typist.take();
        frames
            .iter()
            .map(|it| it["type"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_start_goes_at_most_every_two_seconds_and_a_stop_when_the_line_is_empty() {
        let (mut typist, now) = (Typist::default(), Instant::now());
        for millis in [0, 500, 1_999, 2_000, 2_500] {
            typist.on_edit(Some(&room(1)), "he", now + Duration::from_millis(millis));
        }
        assert_eq!(types(&mut typist), ["typing:start", "typing:start"]);
        typist.on_edit(Some(&room(1)), " ", now + Duration::from_secs(3));
        typist.stop(now + Duration::from_secs(3));
        assert_eq!(types(&mut typist), ["typing:stop"]);
    }

    #[test]
    fn what_has_ended_by_itself_is_not_stopped() {
        let (mut typist, now) = (Typist::default(), Instant::now());
        typist.on_edit(Some(&room(1)), "he", now);
        typist.stop(now + Duration::from_secs(5));
        assert_eq!(types(&mut typist), ["typing:start"]);
    }

    #[test]
    fn a_command_and_a_line_without_a_room_are_not_told() {
        let (mut typist, now) = (Typist::default(), Instant::now());
        typist.on_edit(Some(&room(1)), "/open bob", now);
        typist.on_edit(None, "hello", now);
        assert!(!typist.is_due());
        typist.on_edit(Some(&room(1)), "//path", now);
        assert_eq!(types(&mut typist), ["typing:start"]);
    }

    #[test]
    fn another_room_ends_it_in_the_first() {
        let (mut typist, now) = (Typist::default(), Instant::now());
        typist.on_edit(Some(&room(1)), "he", now);
        typist.on_edit(Some(&room(2)), "he", now);
        let frames = typist.take();
        let told: Vec<_> = frames
            .iter()
            .map(|it| (it["type"].as_str().unwrap(), it["conversation_id"].clone()))
            .collect();
        assert_eq!(
            told,
            [
                ("typing:start", json!(room(1))),
                ("typing:stop", json!(room(1))),
                ("typing:start", json!(room(2)))
            ]
        );
        typist.on_offline();
        typist.stop(now);
        assert!(!typist.is_due());
    }
}
