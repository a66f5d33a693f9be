//! What the server sends over a socket, and what `GET /v1/messages` lists as events.

use serde::{Deserialize, Serialize};

use crate::client_frame::{Attachment, MessageKind, Reference};
use crate::error::{Code, Refusal};
use crate::http::{Conversation, HistoryAccess, Role};
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
    /// A conversation's name, settings or roles changed.
    #[serde(rename = "conversation:updated")]
    ConversationUpdated(ConversationUpdated),
    /// Users became members.
    #[serde(rename = "member:added")]
    MemberAdded(MemberAdded),
    /// Users are members no more; the last event that they get of the conversation.
    #[serde(rename = "member:removed")]
    MemberRemoved(MemberRemoved),
    /// A member's devices have received everything up to `seq`.
    #[serde(rename = "message:delivered")]
    MessageDelivered(Receipt),
    /// A member has read everything up to `seq`.
    #[serde(rename = "message:read")]
    MessageRead(Receipt),
    /// Answer to `subscribe`: the room's live signals come from now on.
    #[serde(rename = "subscribed")]
    Subscribed(Subscribed),
    /// Answer to `unsubscribe`.
    #[serde(rename = "unsubscribed")]
    Unsubscribed(Unsubscribed),
    /// The first socket of a member subscribed.
    #[serde(rename = "user:joined")]
    UserJoined(RoomSignal),
    /// The last subscribed socket of a member left or died.
    #[serde(rename = "user:left")]
    UserLeft(RoomSignal),
    /// A member is writing.
    #[serde(rename = "typing:started")]
    TypingStarted(RoomSignal),
    /// A member stopped writing, or five seconds have passed since the last start.
    #[serde(rename = "typing:stopped")]
    TypingStopped(RoomSignal),
    /// A member's status changed.
    #[serde(rename = "presence")]
    Presence(Presence),
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
    /// What members who come later see of the time before.
    #[serde(default, skip_serializing_if = "HistoryAccess::is_all")]
    pub history: HistoryAccess,
    /// All members, the creator first.
    pub members: Vec<UserId>,
    /// Who created it: the owner of a group.
    pub by: UserId,
    /// When.
    pub timestamp: Timestamp,
}

/// Body of `conversation:updated`: only what changed is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationUpdated {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Its place in the conversation.
    pub seq: u64,
    /// Who changed it.
    pub by: UserId,
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What members who come later see of the time before, from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryAccess>,
    /// Members with new roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleChange>,
    /// When.
    pub timestamp: Timestamp,
}

/// A member's new role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleChange {
    /// Whose.
    pub user_id: UserId,
    /// From now on.
    pub role: Role,
}

/// Body of `member:added`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAdded {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Its place in the conversation.
    pub seq: u64,
    /// Who was added.
    pub user_ids: Vec<UserId>,
    /// By whom.
    pub by: UserId,
    /// When.
    pub timestamp: Timestamp,
    /// The conversation, for those who were added: the others know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Box<Conversation>>,
}

/// Body of `member:removed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRemoved {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Its place in the conversation.
    pub seq: u64,
    /// Who was removed, or left.
    pub user_ids: Vec<UserId>,
    /// By whom; by himself where somebody left.
    pub by: UserId,
    /// Who owns the group now, where it was the owner who left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    /// When.
    pub timestamp: Timestamp,
}

/// How a user appears to others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Connected and active.
    Online,
    /// Connected; has done nothing for a while, or says so.
    Away,
    /// Connected and not to be disturbed.
    Dnd,
    /// Not connected, or invisible.
    #[default]
    Offline,
}

/// Body of `presence`; also how `subscribed` and `GET /v1/presence` list a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Who.
    pub user_id: UserId,
    /// How he appears.
    pub status: Status,
    /// When he was last seen, where he is offline and was ever seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
}

/// Body of `subscribed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The room.
    pub conversation_id: ConversationId,
    /// The conversation's head.
    pub seq: u64,
    /// Members with a subscribed socket, oneself included; at most [`crate::limits::PRESENT_LISTED`].
    pub present: Vec<Presence>,
    /// How many there are.
    pub present_count: u64,
    /// Members who are writing.
    pub typing: Vec<UserId>,
    /// `ref` of the `subscribe`.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// Body of `unsubscribed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribed {
    /// The room.
    pub conversation_id: ConversationId,
    /// `ref` of the `unsubscribe`.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// Body of the signals that name a room and a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSignal {
    /// The room.
    pub conversation_id: ConversationId,
    /// Who.
    pub user_id: UserId,
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
