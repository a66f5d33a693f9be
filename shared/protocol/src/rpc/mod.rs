//! Requests between services, as JSON over the NATS services API: most are of the connection service.
//!
//! Each request names the user that the token named: the services believe the connection service in this and in nothing
//! else.

mod push;

use serde::{Deserialize, Serialize};

pub use push::*;

use crate::client_frame::{ChosenStatus, MessageSend};
use crate::http::{CreateConversation, Role, UpdateConversation};
use crate::server_frame::Presence;
use crate::{ConversationId, Refusal, Timestamp, UserId};

/// An answer: the value, or the refusal to show the user.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// Done.
    Ok(T),
    /// Refused.
    Refused(Refusal),
}

/// The message service, in the subjects of its endpoints.
pub const MESSAGE: &str = "message";
/// The presence service, in the subjects of its endpoints.
pub const PRESENCE: &str = "presence";

/// A request type, the endpoint that serves it and what it answers.
pub trait Request: Serialize + for<'de> Deserialize<'de> + Send + 'static {
    /// The service that answers; a token of the endpoint's subject.
    const SERVICE: &'static str = MESSAGE;
    /// Last token of the endpoint's subject.
    const ENDPOINT: &'static str;
    /// Milliseconds that one replica has before another is asked; a little more than it gives itself, so that only a
    /// replica that is gone is asked twice.
    const ATTEMPT_MS: u64 = 1_800;
    /// Whether it may be done twice at once. Where the later one of two would undo what somebody did between them, such as a
    /// member who was removed again, the second is asked for only when the first can no longer be done.
    const MAY_OVERLAP: bool = true;
    /// The answer's value.
    type Value: Serialize + for<'de> Deserialize<'de> + Send + 'static;

    /// The W3C trace context that the request itself carries: of requests that travel many in one message.
    fn traceparent(&self) -> Option<&str> {
        None
    }

    /// The same request under another trace context, where it carries one.
    fn with_traceparent(&self, _traceparent: String) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// Sends a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SendMessage {
    /// The sender.
    pub user_id: UserId,
    /// His name, where his token says it: for notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_name: Option<String>,
    /// The W3C trace context of the frame or request that sends it, well-formed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The message.
    #[serde(flatten)]
    pub send: MessageSend,
}

/// Where and when the message stands in the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sent {
    /// Its `seq`; with the conversation it gives the server id.
    pub seq: u64,
    /// When it was first accepted.
    pub timestamp: Timestamp,
    /// Whether it had been sent before.
    pub duplicate: bool,
    /// Sequence in the partition's stream; 0 where the entry has aged out.
    pub position: u64,
}

impl Request for SendMessage {
    const ENDPOINT: &'static str = "send";
    // A send that a killed replica took with it is asked again while its sender still waits. One that is only slow is
    // then asked for twice, which is harmless: it is the same message.
    const ATTEMPT_MS: u64 = 900;
    type Value = Sent;

    fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    fn with_traceparent(&self, traceparent: String) -> Option<Self> {
        Some(Self {
            traceparent: Some(traceparent),
            ..self.clone()
        })
    }
}

/// Creates a conversation, or finds the one that the same request created.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Create {
    /// The creator.
    pub user_id: UserId,
    /// What to create.
    pub body: CreateConversation,
}

/// A conversation and whether this request made it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Created {
    /// The conversation as the creator sees it.
    pub conversation: crate::http::Conversation,
    /// False where it was there already.
    pub created: bool,
}

impl Request for Create {
    const ENDPOINT: &'static str = "create";
    const ATTEMPT_MS: u64 = 4_500;
    type Value = Created;
}

/// Reads one conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadConversation {
    /// Who asks.
    pub user_id: UserId,
    /// Which, unchecked.
    pub conversation_id: String,
}

impl Request for ReadConversation {
    const ENDPOINT: &'static str = "conversation";
    type Value = crate::http::Conversation;
}

/// Lists the caller's conversations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListConversations {
    /// Who asks.
    pub user_id: UserId,
    /// Page size, already within bounds.
    pub limit: u32,
    /// Token of the page before.
    pub next: Option<String>,
}

impl Request for ListConversations {
    const ENDPOINT: &'static str = "conversations";
    type Value = crate::http::Conversations;
}

/// Reads a page of history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadHistory {
    /// Who asks.
    pub user_id: UserId,
    /// Which conversation, unchecked.
    pub conversation_id: String,
    /// Only below this `seq`.
    pub before: Option<u64>,
    /// Only above this `seq`; oldest first where it is given.
    pub after: Option<u64>,
    /// Page size, already within bounds.
    pub limit: u32,
}

impl Request for ReadHistory {
    const ENDPOINT: &'static str = "history";
    type Value = crate::http::History;
}

/// Which watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// It has reached a device.
    Delivered,
    /// It was read.
    Read,
}

/// Moves a watermark forward.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Confirm {
    /// Whose.
    pub user_id: UserId,
    /// Which conversation, unchecked.
    pub conversation_id: String,
    /// Which watermark.
    pub kind: ReceiptKind,
    /// Everything up to this `seq`; this or `server_id`.
    pub seq: Option<u64>,
    /// Everything up to this message, unchecked.
    pub server_id: Option<String>,
    /// Whether the asking node does not know the user as a member: he may have left, or have just come.
    #[serde(default)]
    pub doubtful: bool,
    /// Whether the answer is to say which `seq` it came to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tell: bool,
}

impl Request for Confirm {
    const ENDPOINT: &'static str = "confirm";
    /// Up to where it is confirmed now by this, held at the head: where that was asked for, and it is anywhere.
    type Value = Option<u64>;
}

/// Changes a conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeConversation {
    /// Who asks.
    pub user_id: UserId,
    /// Which, unchecked.
    pub conversation_id: String,
    /// What.
    pub change: Change,
}

/// A change of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Name and settings.
    Update(UpdateConversation),
    /// New members; those who are members already stay as they are.
    Add(Vec<UserId>),
    /// A member goes; the caller himself leaves.
    Remove(UserId),
    /// A member becomes an admin, or a plain member again.
    SetRole(UserId, Role),
}

impl Request for ChangeConversation {
    const ENDPOINT: &'static str = "change";
    const ATTEMPT_MS: u64 = 4_500;
    const MAY_OVERLAP: bool = false;
    /// The conversation as the caller sees it afterwards; nothing where he has left it.
    type Value = Option<crate::http::Conversation>;
}

/// Reads a page of a conversation's members.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListMembers {
    /// Who asks.
    pub user_id: UserId,
    /// Which conversation, unchecked.
    pub conversation_id: String,
    /// Page size, already within bounds.
    pub limit: u32,
    /// Token of the page before.
    pub next: Option<String>,
    /// Only those who have read everything up to this `seq`.
    pub read: Option<u64>,
    /// Only those whose devices have received everything up to this `seq`.
    pub delivered: Option<u64>,
}

impl Request for ListMembers {
    const ENDPOINT: &'static str = "members";
    type Value = crate::http::Members;
}

/// Reads what a node needs to know of a room when the first of its sockets subscribes, or whether somebody is a member.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenRoom {
    /// Who asks: a member, or the room is `not_found`.
    pub user_id: UserId,
    /// Which conversation, unchecked.
    pub conversation_id: String,
    /// Whether the members are wanted.
    pub with_members: bool,
}

/// A room as of `seq`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The conversation's head.
    pub seq: u64,
    /// All members as of `seq`, where they were wanted.
    pub members: Vec<UserId>,
}

impl Request for OpenRoom {
    const ENDPOINT: &'static str = "room";
    type Value = Room;
}

/// Looks at a room's subscribers and at the presence of its members.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LookAround {
    /// Which room; `None` where only presences are wanted.
    pub conversation_id: Option<ConversationId>,
    /// Whose presence is wanted.
    pub users: Vec<UserId>,
    /// Of each user who is offline, also when he was last seen.
    pub last_seen: bool,
    /// The asking node and the last of its reports: the answer takes that report in.
    pub report: Option<(String, u64)>,
}

/// What there is to see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// Users with a subscribed socket who are not invisible, in the order in which they came; all of them, whether asked
    /// for or not, unless `cut`.
    pub present: Vec<UserId>,
    /// Of the users asked for and of the first of those present: who is not offline; all of those asked for with
    /// `last_seen`.
    pub presence: Vec<Presence>,
    /// Whether more are present than fit into the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Whether the answer could not wait until the service knew what the asking node had reported: it may be older.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

impl Request for LookAround {
    const SERVICE: &'static str = PRESENCE;
    const ENDPOINT: &'static str = "look";
    const ATTEMPT_MS: u64 = 900;
    type Value = Sight;
}

/// Sets how a user appears.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetStatus {
    /// Who.
    pub user_id: UserId,
    /// As what.
    pub status: ChosenStatus,
    /// The session that asked: it is not told.
    pub session_id: String,
}

impl Request for SetStatus {
    const SERVICE: &'static str = PRESENCE;
    const ENDPOINT: &'static str = "status";
    const ATTEMPT_MS: u64 = 900;
    const MAY_OVERLAP: bool = false;
    type Value = ();
}
