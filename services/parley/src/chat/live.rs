//! Who is in the open room at this moment, and who is writing there. Pure; the time is passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use protocol::server_frame::Subscribed;
use protocol::{UserId, limits};

/// The server ends it earlier; this is for the end that got lost.
const WRITING: Duration = Duration::from_millis(limits::TYPING_MS + 1_000);

/// What the live signals of one room have told since it was subscribed to.
#[derive(Debug, Default)]
pub(super) struct Live {
    present: BTreeSet<UserId>,
    /// Those not listed included.
    count: u64,
    /// With the moment at which it ends by itself.
    writing: BTreeMap<UserId, Instant>,
    is_known: bool,
}

impl Live {
    /// How it is now.
    pub(super) fn on_subscribed(&mut self, subscribed: &Subscribed, now: Instant) {
        self.present = subscribed.present.iter().map(|it| it.user_id.clone()).collect();
        self.count = subscribed.present_count;
        self.writing = subscribed
            .typing
            .iter()
            .map(|user| (user.clone(), now + WRITING))
            .collect();
        self.is_known = true;
    }

    /// False if he was there.
    pub(super) fn joined(&mut self, user: &UserId) -> bool {
        let is_new = self.present.insert(user.clone());
        self.count += u64::from(is_new);
        is_new
    }

    /// Whoever has gone writes no more.
    pub(super) fn left(&mut self, user: &UserId) {
        self.present.remove(user);
        self.count = self.count.saturating_sub(1);
        self.writing.remove(user);
    }

    /// False if he was writing.
    pub(super) fn started(&mut self, user: &UserId, now: Instant) -> bool {
        self.writing.insert(user.clone(), now + WRITING).is_none()
    }

    /// Stopped, or what he wrote has come.
    pub(super) fn stopped(&mut self, user: &UserId) {
        self.writing.remove(user);
    }

    /// Whether the server has told who is here.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Whether somebody has the room open.
    pub(super) fn is_present(&self, user: &UserId) -> bool {
        self.present.contains(user)
    }

    /// Those of them who are known by name.
    pub(super) fn present(&self) -> impl Iterator<Item = &UserId> {
        self.present.iter()
    }

    /// How many have.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Those who are writing.
    pub(super) fn writing(&self) -> impl Iterator<Item = &UserId> {
        self.writing.keys()
    }

    /// When [`Live::tick`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.writing.values().min().copied()
    }

    /// Ends what has lasted too long.
    pub(super) fn tick(&mut self, now: Instant) {
        self.writing.retain(|_, end| *end > now);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn live(now: Instant) -> Live {
        let present = [
            json!({"user_id": "ann", "status": "online"}),
            json!({"user_id": "bob", "status": "dnd"}),
        ];
        let subscribed = json!({"conversation_id": "d00000000000000000000000000000000", "seq": 4, "present": present,
            "present_count": 2, "typing": ["bob"]});
        let mut live = Live::default();
        live.on_subscribed(&serde_json::from_value(subscribed).unwrap(), now);
        live
    }

    fn writing(live: &Live) -> Vec<&str> {
        live.writing().map(UserId::as_str).collect()
    }

    #[test]
    fn people_come_and_go() {
        let mut live = live(Instant::now());
        assert!(live.joined(&user("carl")) && !live.joined(&user("bob")));
        assert_eq!((live.count(), writing(&live)), (3, vec!["bob"]));
        live.left(&user("bob"));
        assert!(!live.is_present(&user("bob")));
        assert_eq!((live.count(), writing(&live)), (2, vec![]));
    }

    #[test]
    fn writing_ends_by_word_or_by_itself() {
        let now = Instant::now();
        let mut live = live(now);
        assert!(live.started(&user("carl"), now + WRITING / 2));
        assert!(!live.started(&user("carl"), now + WRITING / 2));
        assert_eq!(live.due(), Some(now + WRITING));
        live.tick(now + WRITING);
        assert_eq!(writing(&live), ["carl"]);
        live.stopped(&user("carl"));
        assert_eq!((writing(&live), live.due()), (vec![], None));
    }
}
