//! How other people appear: online or not, and when they were last seen. Pure.

use std::collections::HashMap;

use protocol::server_frame::{Presence, Status};
use protocol::{Timestamp, UserId};

/// What is known of people; as many as the rooms that were looked at have members.
#[derive(Debug, Default)]
pub(super) struct People {
    known: HashMap<UserId, (Status, Option<Timestamp>)>,
}

impl People {
    /// Takes how somebody appears. False if it is no news.
    pub(super) fn learn(&mut self, presence: &Presence) -> bool {
        let seen = (presence.status, presence.last_seen);
        let before = self.known.insert(presence.user_id.clone(), seen);
        before.map(|(status, _)| status) != Some(presence.status)
    }

    /// Takes how several people appear.
    pub(super) fn learn_all(&mut self, presence: &[Presence]) {
        for it in presence {
            self.learn(it);
        }
    }

    /// `None`: unknown.
    pub(super) fn status(&self, user: &UserId) -> Option<Status> {
        self.known.get(user).map(|(status, _)| *status)
    }

    /// When somebody who is offline was last seen.
    pub(super) fn last_seen(&self, user: &UserId) -> Option<Timestamp> {
        self.known.get(user).and_then(|(_, seen)| *seen)
    }

    /// Without a connection nothing is known.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

/// The sign of a status.
pub(super) fn dot(status: Status) -> &'static str {
    match status {
        Status::Online => "●",
        Status::Away => "◐",
        Status::Dnd => "⊖",
        Status::Offline => "○",
    }
}

/// A status in words.
pub(super) fn words(status: Status) -> &'static str {
    match status {
        Status::Online => "online",
        Status::Away => "away",
        Status::Dnd => "not to be disturbed",
        Status::Offline => "offline",
    }
}

/// How long ago that was, in words.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    let minutes = now.as_millis().saturating_sub(then.as_millis()) / 60_000;
    match minutes {
        ..1 => "just now".to_owned(),
        1..60 => format!("{minutes} min ago"),
        60..1_440 => format!("{} h ago", minutes / 60),
        1_440..2_880 => "yesterday".to_owned(),
        _ => format!("{} days ago", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_another_status_is_news() {
        let mut people = People::default();
        let presence = |status: &str, seen: Option<&str>| {
            serde_json::from_value(json!({"user_id": "bob", "status": status, "last_seen": seen})).unwrap()
        };
        let bob = UserId::parse("bob").unwrap();
        assert!(people.learn(&presence("online", None)));
        assert!(!people.learn(&presence("online", None)));
        assert!(people.learn(&presence("offline", Some("2026-11-22T01:02:03.456Z"))));
        assert_eq!(people.status(&bob), Some(Status::Offline));
        assert!(people.last_seen(&bob).is_some());
        people.forget();
        assert_eq!(people.status(&bob), None);
    }

    #[test]
    fn a_time_is_told_as_people_do() {
        let ago = |seconds: i64| ago(Timestamp::EPOCH, Timestamp::from_millis(seconds * 1_000));
        assert_eq!([ago(-5), ago(59)], ["just now", "just now"]);
        assert_eq!([ago(60), ago(3_599)], ["1 min ago", "59 min ago"]);
        assert_eq!([ago(3_600), ago(86_399)], ["1 h ago", "23 h ago"]);
        assert_eq!([ago(86_400), ago(172_800)], ["yesterday", "2 days ago"]);
    }
}
