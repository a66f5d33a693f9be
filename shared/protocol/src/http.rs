//! HTTP bodies of the contract's §2.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::server_frame::{ConversationType, MessageIncoming, Presence};
use crate::{ClientId, ConversationId, Refusal, Timestamp, UserId};

/// Body of `POST /v1/conversations`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CreateConversation {
    /// Direct or group.
    #[serde(rename = "type")]
    pub conversation_type: ConversationType,
    /// A group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The other members; the caller is one without being listed.
    #[serde(default)]
    pub members: Vec<UserId>,
    /// The same client id gives the same conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// What members who come later see of the time before.
    #[serde(default, skip_serializing_if = "HistoryAccess::is_all")]
    pub history: HistoryAccess,
}

/// What a member sees of the time before he became one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryAccess {
    /// Everything.
    #[default]
    All,
    /// Nothing: his history begins with his own `member:added`.
    Joined,
}

impl HistoryAccess {
    /// Whether it is the default, which is not written.
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// Body of `PATCH /v1/conversations/{id}`: what is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateConversation {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What members who come later see of the time before, for all members who came after their first event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryAccess>,
}

/// Body of `POST /v1/conversations/{id}/members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddMembers {
    /// Who; those who are members already stay as they are.
    pub members: Vec<UserId>,
}

/// Body of `PATCH /v1/conversations/{id}/members/{user_id}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRole {
    /// `admin` or `member`.
    pub role: Role,
}

/// Answer of `GET /v1/conversations/{id}/members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// In the order in which they joined.
    pub members: Vec<Member>,
    /// Opaque; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Answer of `GET /v1/presence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceList {
    /// Of the users asked for those who share a conversation with the caller.
    pub presence: Vec<Presence>,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The creator of a group, until he leaves.
    Owner,
    /// May rename, add and remove.
    Admin,
    /// May talk, and leave.
    Member,
}

/// A member as a conversation lists him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub user_id: UserId,
    /// What he may do.
    pub role: Role,
    /// He has read everything up to this.
    pub read_seq: u64,
    /// His devices have received everything up to this.
    pub delivered_seq: u64,
}

/// A conversation as its member sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub conversation_id: ConversationId,
    /// Direct or group.
    #[serde(rename = "type")]
    pub conversation_type: ConversationType,
    /// A group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What members who come later see of the time before.
    #[serde(default, skip_serializing_if = "HistoryAccess::is_all")]
    pub history: HistoryAccess,
    /// The members, at most [`crate::limits::MEMBERS_LISTED`] of them.
    pub members: Vec<Member>,
    /// How many there are, where not all are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_count: Option<u64>,
    /// The head: `seq` of the last event.
    pub seq: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// The last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<MessageIncoming>,
    /// The caller's read watermark.
    pub read_seq: u64,
    /// Messages of others above it; 100 means 100 or more.
    pub unread: u32,
}

/// Answer of `GET /v1/conversations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversations {
    /// Most recently active first.
    pub conversations: Vec<Conversation>,
    /// Opaque; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Answer of `GET /v1/conversations/{id}/messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// In the order asked for.
    pub messages: Vec<MessageIncoming>,
    /// Whether there are more within the bounds.
    pub more: bool,
}

/// Answer of `GET /v1/messages`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Events {
    /// Frames, exactly as a socket would get them.
    pub events: Vec<Box<RawValue>>,
    /// Where to go on.
    pub cursor: String,
    /// Whether there are more now.
    pub more: bool,
}

/// An RFC 9457 problem document (`application/problem+json`) with the contract's `code`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`: the code says it all.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// The status' own words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, what it means, what to do.
    pub detail: String,
    /// The contract's code.
    pub code: crate::Code,
    /// Milliseconds after which trying again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    /// The problem document of a refusal; `title` is the status' reason phrase.
    pub fn of(refusal: Refusal, title: &str) -> Self {
        Self {
            problem_type: "about:blank".into(),
            title: title.into(),
            status: refusal.code.http_status(),
            detail: refusal.message,
            code: refusal.code,
            retry_after_ms: refusal.retry_after_ms,
        }
    }
}
