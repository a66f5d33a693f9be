//! Keeps the socket subscribed to the live signals of the room on screen, and of no other. Pure; the time is passed in.

use std::time::{Duration, Instant};

use protocol::{Code, ConversationId};
use serde_json::{Value, json};

/// Before a subscription that failed for now is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// `ref` of the frames.
pub(super) const REFERENCE: &str = "subscribe";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    wanted: Option<ConversationId>,
    /// On this connection.
    told: Option<ConversationId>,
    not_before: Option<Instant>,
}

impl Subscription {
    /// The room on screen from now on.
    pub(super) fn want(&mut self, room: Option<ConversationId>) {
        self.wanted = room;
        self.not_before = None;
    }

    /// A subscription ends with its socket.
    pub(super) fn reconnected(&mut self) {
        (self.told, self.not_before) = (None, None);
    }

    /// The server has ended it: the user is no member any more.
    pub(super) fn dropped(&mut self) {
        (self.wanted, self.told) = (None, None);
    }

    /// The server refused the last frame.
    pub(super) fn on_error(&mut self, code: Code, now: Instant) {
        if matches!(code, Code::Unavailable | Code::RateLimited | Code::Internal) {
            self.told = None;
            self.not_before = Some(now + PAUSE);
        }
    }

    /// When [`Subscription::take`] has something.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        (self.told != self.wanted).then(|| self.not_before.unwrap_or(now))
    }

    /// The frames to write now.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Value> {
        if self.due(now).is_none_or(|due| due > now) {
            return Vec::new();
        }
        let frame = |name: &str, room| json!({"type": name, "conversation_id": room, "ref": REFERENCE});
        let left = std::mem::replace(&mut self.told, self.wanted.clone());
        let left = left.map(|room| frame("unsubscribe", room));
        left.into_iter()
            .chain(self.wanted.iter().map(|room| frame("subscribe", room.clone())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(number: u32) -> Option<ConversationId> {
        ConversationId::parse(&format!("g{number:032}"))
    }

    fn types(frames: &[Value]) -> Vec<&str> {
        frames.iter().map(|it| it["type"].as_str().unwrap()).collect()
    }

    #[test]
    fn one_room_at_a_time_and_again_on_every_socket() {
        let (mut subscription, now) = (Subscription::default(), Instant::now());
        assert_eq!(subscription.due(now), None);
        subscription.want(room(1));
        assert_eq!(types(&subscription.take(now)), ["subscribe"]);
        assert_eq!((subscription.due(now), subscription.take(now).len()), (None, 0));
        subscription.want(room(2));
        assert_eq!(types(&subscription.take(now)), ["unsubscribe", "subscribe"]);
        subscription.reconnected();
        assert_eq!(types(&subscription.take(now)), ["subscribe"]);
        subscription.want(None);
        assert_eq!(types(&subscription.take(now)), ["unsubscribe"]);
    }

    #[test]
    fn a_passing_failure_is_waited_out_and_a_refusal_accepted() {
        let (mut subscription, now) = (Subscription::default(), Instant::now());
        subscription.want(room(1));
        subscription.take(now);
        subscription.on_error(Code::Unavailable, now);
        assert_eq!(
            (subscription.take(now).len(), subscription.due(now)),
            (0, Some(now + PAUSE))
        );
        assert_eq!(types(&subscription.take(now + PAUSE)), ["subscribe"]);
        subscription.on_error(Code::NotFound, now);
        assert_eq!(subscription.due(now), None);
        subscription.dropped();
        assert_eq!(subscription.due(now), None);
    }
}
