//! Requests from the connection service to the message service, as JSON over the NATS services API.
//!
//! Each request names the user that the token named: the message service believes the connection service in this and
//! in nothing else.

use serde::{Deserialize, Serialize};

use crate::client_frame::MessageSend;
use crate::http::CreateConversation;
use crate::{Refusal, Timestamp, UserId};

/// An answer: the value, or the refusal to show the user.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// Done.
    Ok(T),
    /// Refused.
    Refused(Refusal),
}

/// A request type, the endpoint that serves it and what it answers.
pub trait Request: Serialize + for<'de> Deserialize<'de> + Send + 'static {
    /// Last token of the endpoint's subject.
    const ENDPOINT: &'static str;
    /// Milliseconds that one replica has before another is asked; a little more than it gives itself, so that only a
    /// replica that is gone is asked twice.
    const ATTEMPT_MS: u64 = 1_800;
    /// The answer's value.
    type Value: Serialize + for<'de> Deserialize<'de> + Send + 'static;
}

/// Sends a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SendMessage {
    /// The sender.
    pub user_id: UserId,
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
}

impl Request for Confirm {
    const ENDPOINT: &'static str = "confirm";
    type Value = ();
}
