//! What the server sends over a socket, and what `GET /v1/messages` lists as events.

use serde::{Deserialize, Serialize};

use crate::client_frame::{Attachment, MessageKind, Reference};
use crate::error::{Code, Refusal};
use crate::{ClientId, ConversationId, ServerId, Timestamp, UserId};

/// One frame from the server, tagged by `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ServerFrame {
    /// The session is authenticated; everything after this is live or a replay.
    #[serde(rename = "ready")]
    Ready(Ready),
    /// Answer to `ping`.
    #[serde(rename = "pong")]
    Pong(Pong),
    /// The message is in the log.
    #[serde(rename = "message:ack")]
    MessageAck(MessageAck),
    /// A message of one of the user's conversations.
    #[serde(rename = "message:incoming")]
    MessageIncoming(MessageIncoming),
    /// A conversation came to be; always its `seq` 1.
    #[serde(rename = "conversation:created")]
    ConversationCreated(ConversationCreated),
    /// A member's devices have received everything up to `seq`.
    #[serde(rename = "message:delivered")]
    MessageDelivered(Receipt),
    /// A member has read everything up to `seq`.
    #[serde(rename = "message:read")]
    MessageRead(Receipt),
    /// No event at or before this cursor comes again.
    #[serde(rename = "checkpoint")]
    Checkpoint(Checkpoint),
    /// The resume was refused, or the log was made anew: read conversations and history over HTTP.
    #[serde(rename = "resync")]
    Resync(Resync),
    /// This node is going away: reconnect with the cursor.
    #[serde(rename = "draining")]
    Draining(Draining),
    /// A client frame failed, or the session is about to be closed.
    #[serde(rename = "error")]
    Error(ErrorFrame),
}

/// Body of `ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// This socket's session.
    pub session_id: String,
    /// Whose token it was.
    pub user_id: UserId,
    /// The device id given, or the one the server made.
    pub device_id: String,
    /// Whether a `resume` was accepted.
    pub resumed: bool,
    /// Where this socket starts; always safe to store.
    pub cursor: String,
    /// Milliseconds between the server's pings.
    pub heartbeat_ms: u64,
    /// The server's clock.
    pub timestamp: Timestamp,
    /// What the client must keep to.
    pub limits: Limits,
    /// `ref` of the `auth` frame.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// Limits told in `ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest frame, bytes.
    pub frame_bytes: u64,
    /// Longest text, characters.
    pub text_chars: u64,
    /// Sends per second and session; 0 means no limit.
    pub sends_per_second: u32,
}

/// Body of `pong`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The server's clock.
    pub timestamp: Timestamp,
    /// `ref` of the `ping`.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// Body of `message:ack`; also the answer of the HTTP send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageAck {
    /// As the client wrote it.
    pub client_id: ClientId,
    /// The server's id of the message.
    pub server_id: ServerId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The message's place in the conversation.
    pub seq: u64,
    /// When the server accepted it first.
    pub timestamp: Timestamp,
    /// Whether this send was a repetition.
    pub duplicate: bool,
    /// `ref` of the `message:send`.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// Body of `message:incoming`; also a message of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageIncoming {
    /// The server's id of the message.
    pub server_id: ServerId,
    /// The sender's own id of it.
    pub client_id: ClientId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Its place in the conversation.
    pub seq: u64,
    /// Who sent it.
    pub sender_id: UserId,
    /// The text, trimmed.
    pub text: String,
    /// What it is.
    pub kind: MessageKind,
    /// The message it replies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<ServerId>,
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// When the server accepted it.
    pub timestamp: Timestamp,
}

/// Two people, or any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationType {
    /// Exactly two users, for ever.
    Direct,
    /// A group.
    Group,
}

/// Body of `conversation:created`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationCreated {
    /// The new conversation.
    pub conversation_id: ConversationId,
    /// Always 1.
    pub seq: u64,
    /// Direct or group.
    pub conversation_type: ConversationType,
    /// A group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All members, the creator first.
    pub members: Vec<UserId>,
    /// Who created it: the owner of a group.
    pub by: UserId,
    /// When.
    pub timestamp: Timestamp,
}

/// Body of `message:delivered` and `message:read`: a watermark that only ever grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Whose watermark.
    pub user_id: UserId,
    /// Everything up to this `seq`.
    pub seq: u64,
    /// When the server took it.
    pub timestamp: Timestamp,
}

/// Body of `checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// See [`crate::Cursor`].
    pub cursor: String,
}

/// Why a resume was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResyncReason {
    /// Not a cursor of ours, or of a place that this log has not reached.
    BadCursor,
    /// The log no longer goes back that far.
    Expired,
    /// The log was made anew since.
    OtherLog,
}

/// Body of `resync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resync {
    /// Why.
    pub reason: ResyncReason,
}

/// Body of `draining`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// Wait this long before reconnecting, so that not everybody comes at once.
    pub reconnect_after_ms: u64,
}

/// Body of `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFrame {
    /// What kind; a client acts on this.
    pub code: Code,
    /// What happened, what it means, what to do.
    pub message: String,
    /// `ref` of the frame that failed.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// `client_id` of the send that failed, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// When trying again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorFrame {
    /// The error frame of a refusal, for the frame that carried `reference` and `client_id`.
    pub fn of(refusal: Refusal, reference: Option<Reference>, client_id: Option<String>) -> Self {
        Self {
            code: refusal.code,
            message: refusal.message,
            reference,
            client_id,
            retry_after_ms: refusal.retry_after_ms,
        }
    }
}

impl ServerFrame {
    /// The JSON text of the frame.
    pub fn encode(&self) -> String {
        // Plain data with string keys: serde_json has no way to fail on it.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// WebSocket close codes of the contract.
pub mod close {
    /// This node drains; reconnect elsewhere.
    pub const DRAINING: u16 = 1001;
    /// A frame over the limit.
    pub const TOO_LARGE: u16 = 1009;
    /// The first frame was no JSON object, or binary.
    pub const NOT_A_CLIENT: u16 = 4400;
    /// Token invalid, expired or revoked.
    pub const UNAUTHENTICATED: u16 = 4401;
    /// No authentication, or no heartbeat, in time.
    pub const TIMEOUT: u16 = 4408;
    /// Nothing but refused frames for ten seconds.
    pub const FLOOD: u16 = 4429;
    /// A back end that the session cannot start without is away.
    pub const UNAVAILABLE: u16 = 4503;
}
