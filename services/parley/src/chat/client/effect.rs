//! What the client wants done over HTTP, what comes of it, and what it tells the user.

use protocol::http::{Conversation, Conversations, History, Member, PresenceList, Role};
use protocol::{ConversationId, Timestamp, UserId};

use crate::chat::api::{Failure, Target};

/// A request over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) enum Request {
    /// A conversation, to be opened or looked at afresh.
    Open(Target),
    /// A page of the open room: the newest, or what is before a `seq`.
    History(ConversationId, Option<u64>),
    /// The conversations; whether the user asked to see them.
    List(bool),
    /// A conversation of the list, as it is now.
    Look(ConversationId),
    /// How these users appear.
    Presence(Vec<UserId>),
    /// The members of a conversation, to be shown.
    Who(ConversationId),
    /// A change of a group.
    Change(Change),
}

/// What the user wants changed in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) enum Change {
    /// New members.
    Invite(ConversationId, Vec<UserId>),
    /// One less; leaving, where it is the user himself.
    Remove(ConversationId, UserId),
    /// Another role.
    Role(ConversationId, UserId, Role),
    /// Another name.
    Rename(ConversationId, String),
}

/// What a request brought.
#[derive(Debug)]
pub(in crate::chat) enum Answer {
    /// To [`Request::Open`].
    Opened(Target, Result<Box<Conversation>, Failure>),
    /// To [`Request::History`].
    Page(ConversationId, Option<u64>, Result<History, Failure>),
    /// To [`Request::List`].
    Listed(bool, Result<Conversations, Failure>),
    /// To [`Request::Look`].
    Looked(ConversationId, Result<Box<Conversation>, Failure>),
    /// To [`Request::Presence`].
    Presence(Result<PresenceList, Failure>),
    /// To [`Request::Who`].
    Who(ConversationId, Result<Who, Failure>),
    /// To [`Request::Change`]; where it was a change of the conversation itself, with how it is now.
    Changed(Change, Result<Option<Box<Conversation>>, Failure>),
}

/// The members of a conversation.
#[derive(Debug)]
pub(in crate::chat) struct Who {
    /// The first ones.
    pub(in crate::chat) members: Vec<Member>,
    /// Whether there are more.
    pub(in crate::chat) more: bool,
    /// How those of them appear of whom it is known.
    pub(in crate::chat) presence: PresenceList,
    /// This machine's clock when the answer came.
    pub(in crate::chat) at: Timestamp,
}

/// Something to tell. Texts of others are harmless already, except in `Message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) enum Output {
    /// A message of the open room has come: sender and text as they are.
    Message(String, String),
    /// Something else happened in the open room, which a screen shows in its place.
    Happened(String),
    /// An own message came further; only for those who ask for every detail.
    Detail(String),
    /// Something to know.
    Notice(String),
    /// Something failed.
    Problem(String),
    /// An answer of several lines.
    Page(Vec<String>),
}
