//! What nodes and the presence service tell each other over core NATS: never stored, and lost without harm.
//!
//! A connection node reports its sessions and subscriptions, numbered, and beats while it lives; who misses a report asks
//! for a snapshot. Signals go to all nodes, and each picks those for its own subscribers.

use serde::{Deserialize, Serialize};

use crate::client_frame::AppState;
use crate::server_frame::Presence;
use crate::{ConversationId, UserId};

/// A live signal, for the subscribers of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Signal {
    /// A user's status changed: for the subscribers of every room that he is a member of.
    Presence {
        /// Who, and how he appears.
        presence: Presence,
        /// The session that set the status: it is not told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
    },
    /// The first socket of a user subscribed.
    Joined {
        /// The room.
        conversation_id: ConversationId,
        /// Who.
        user_id: UserId,
    },
    /// The last subscribed socket of a user left or died.
    Left {
        /// The room.
        conversation_id: ConversationId,
        /// Who.
        user_id: UserId,
    },
    /// A member started or stopped writing.
    Typing {
        /// The room.
        conversation_id: ConversationId,
        /// Who.
        user_id: UserId,
        /// Started, not stopped.
        started: bool,
        /// His session: it is not told.
        session_id: String,
        /// Which of the session's it is, from 1: what is passed on by several replicas may change its order. 0 of an older
        /// version.
        #[serde(default)]
        number: u64,
    },
    /// One of a newer version: skipped, and the others of its message are heard all the same.
    #[serde(other)]
    Unknown,
}

/// One message of signals: what happened within a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signals {
    /// In the order in which they happened.
    pub signals: Vec<Signal>,
}

/// What changed on a connection node since its last report, or nothing: a beat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The node; a process that starts again is another one.
    pub node: String,
    /// Number of the report, one more than the last one; of a beat that of the last report.
    pub number: u64,
    /// Users whose sessions changed, with all their sessions on this node now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserSessions>,
    /// Subscriptions that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<RoomPresence>,
    /// The node's last report: it has no sessions any more, and beats no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

impl Report {
    /// Whether it reports nothing but that the node lives.
    pub fn is_beat(&self) -> bool {
        self.users.is_empty() && self.rooms.is_empty() && !self.last
    }
}

/// A user's sessions on one node; none: the last one ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSessions {
    /// Who.
    pub user_id: UserId,
    /// His sessions there.
    pub sessions: Vec<SessionState>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionState {
    /// The device.
    pub device_id: String,
    /// On screen or not.
    pub state: AppState,
    /// Nothing was done on it for a while.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
}

/// Whether a user has a subscribed socket on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPresence {
    /// The room.
    pub conversation_id: ConversationId,
    /// Who.
    pub user_id: UserId,
    /// How it is now.
    pub now: Subscribed,
}

/// See [`RoomPresence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subscribed {
    /// At least one of his sockets is subscribed.
    Here,
    /// The last one unsubscribed.
    Left,
    /// The last one ended while it was subscribed: he may be back in a moment.
    Gone,
}

/// A part of everything that a node has, as of its report `number`. Parts come in order; the last one says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What the node has; every subscription is [`Subscribed::Here`].
    #[serde(flatten)]
    pub report: Report,
    /// From 0.
    pub part: u32,
    /// Whether there are more parts.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_of_a_newer_version_hides_no_other() {
        let text = r#"{"signals":[{"type":"waved","user_id":"ann"},{"type":"presence","presence":{"user_id":"ann","status":"online"}}]}"#;
        let heard: Signals = serde_json::from_str(text).unwrap();
        assert!(matches!(heard.signals[..], [Signal::Unknown, Signal::Presence { .. }]));
    }
}
