//! A message's timeline: what became of it, where and when, as far as it is known. Without the message's text.
//!
//! What is asked and answered between services for it is here too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rpc::{PUSH, Request};
use crate::{ConversationId, ServerId, Timestamp, UserId};

/// Members whose steps are listed one by one; of the others there are [`Totals`].
pub const USERS_MOST: usize = 200;

/// Asks the message service for a message's timeline. Only operators ask this: it checks no membership.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadTimeline {
    /// Which message, unchecked.
    pub server_id: String,
    /// Only this user's steps, whether or not he is among the first members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
}

impl Request for ReadTimeline {
    const ENDPOINT: &'static str = "timeline";
    const ATTEMPT_MS: u64 = 8_000;
    type Value = Timeline;
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Which message.
    pub server_id: ServerId,
    /// Who sent it.
    pub sender_id: UserId,
    /// Of the W3C trace context that came with the frame; `None` also where the entry has aged out of the log.
    pub trace_id: Option<String>,
    /// Whether whoever sent it wanted the trace to be recorded.
    pub sampled: Option<bool>,
    /// By time; those without one at the end.
    pub steps: Vec<Step>,
    /// Whose steps were looked for: some may have none.
    pub users: Vec<UserId>,
    /// Members beyond these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Totals>,
    /// What could not be found out: its steps may be missing.
    pub missing: Vec<Missing>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What.
    pub step: StepKind,
    /// When; `None` where it is known only that it did, or that it has not.
    pub at: Option<Timestamp>,
    /// Milliseconds since the message was accepted, by the clocks of those who saw it.
    pub offset_ms: Option<i64>,
    /// It may have happened before `at`, never after.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_later_than: bool,
    /// Whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// On which device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Where, why, which: for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The message service said yes; its clock.
    Accepted,
    /// JetStream stored it; the detail names stream and position; NATS' clock.
    Logged,
    /// MongoDB was given it, in the write that succeeded; a projector's clock.
    Projected,
    /// It is not in MongoDB yet.
    Unprojected,
    /// The kernel took it for the device's socket; within 50 ms; the node's clock. Of the sender's own devices the one
    /// that sent it got the ack instead.
    Delivered,
    /// The device is connected and the message is still on its way to its socket.
    Waiting,
    /// The device is connected, and began after the message: another session got it, or it was read otherwise.
    Passed,
    /// The device confirmed it, or a later one.
    Confirmed,
    /// The user's watermark of what was delivered passed it.
    Received,
    /// The user's watermark of what was read passed it.
    Read,
    /// A push to the device was decided.
    Queued,
    /// It was decided not to push, or no longer to; the detail says why.
    Suppressed,
    /// The push provider took it.
    Pushed,
    /// The provider says that the device's token is dead.
    Gone,
    /// The push was given up.
    Dead,
}

impl StepKind {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Logged => "logged",
            Self::Projected => "projected",
            Self::Unprojected => "unprojected",
            Self::Delivered => "delivered",
            Self::Waiting => "waiting",
            Self::Passed => "passed",
            Self::Confirmed => "confirmed",
            Self::Received => "received",
            Self::Read => "read",
            Self::Queued => "queued",
            Self::Suppressed => "suppressed",
            Self::Pushed => "pushed",
            Self::Gone => "gone",
            Self::Dead => "dead",
        }
    }
}

/// Members who are not listed, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// How many.
    pub members: u64,
    /// Users and devices by step; of pushes with the reason, as in `suppressed: muted`.
    pub steps: BTreeMap<String, u64>,
}

/// A part of a timeline that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// `projection`, `members`, `receipts`, `delivery`, `push`.
    pub part: String,
    /// Why, and what it means.
    pub why: String,
}

/// Asks all connection nodes what they have handed to sockets. Each answers with one [`Handed`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AskHanded {
    /// Of which conversation.
    pub conversation_id: ConversationId,
    /// The message.
    pub seq: u64,
    /// Its stream sequence.
    pub position: u64,
    /// Identity of the stream that this is a sequence of.
    pub stream: u64,
    /// Whose sessions are listed.
    pub users: Vec<UserId>,
    /// Whether those of other members are counted.
    pub others: bool,
}

/// What one node has handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// The node's id, as presence knows it.
    pub node: String,
    /// Its name for people.
    pub name: String,
    /// Sessions of the users asked for.
    pub sessions: Vec<HandedSession>,
    /// Sessions that did not fit into the answer.
    pub left_out: u64,
    /// Sessions of other members that it was handed to, and on which it still waits.
    pub others: (u64, u64),
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedSession {
    /// Whose.
    pub user_id: UserId,
    /// On which device.
    pub device_id: String,
    /// What became of the message there.
    pub state: HandedState,
}

/// Whether a session's socket was handed a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandedState {
    /// At this time, or up to 50 ms later.
    At(Timestamp),
    /// Not later than then.
    By(Timestamp),
    /// Not yet.
    Waiting,
    /// Not by this session: it began after it.
    Passed,
}

/// Asks the push service what it decided of a message and what devices have confirmed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadFates {
    /// Of which conversation.
    pub conversation_id: ConversationId,
    /// The message.
    pub seq: u64,
    /// Whose devices are listed; those of others are counted.
    pub users: Vec<UserId>,
}

/// What push knows of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fates {
    /// Of the users asked for.
    pub steps: Vec<Step>,
    /// Steps that did not fit into the answer.
    pub left_out: u64,
    /// Of others, by step and reason.
    pub others: BTreeMap<String, u64>,
}

impl Request for ReadFates {
    const SERVICE: &'static str = PUSH;
    const ENDPOINT: &'static str = "fates";
    const ATTEMPT_MS: u64 = 2_500;
    type Value = Fates;
}
