//! Events as documents. What is written here is read back by [`super::documents`].
//!
//! Raw BSON, since a document tree for each message would be most of the projector's work.

use mongodb::bson::{DateTime, RawArrayBuf, RawDocumentBuf, cstr, rawdoc};
use protocol::client_frame::MessageKind;
use protocol::http::{HistoryAccess, Role};
use protocol::server_frame::{
    ConversationCreated, ConversationType, ConversationUpdated, MemberAdded, MemberRemoved, MessageIncoming,
};
use protocol::{ConversationId, Timestamp, UserId};

use super::queries::{client_key, signed};
use crate::event::{ADDED, CREATED, MESSAGE, REMOVED, UPDATED};

pub(super) fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millis())
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::Member => "member",
    }
}

pub(super) fn conversation_type(it: ConversationType) -> &'static str {
    match it {
        ConversationType::Direct => "direct",
        ConversationType::Group => "group",
    }
}

pub(super) fn history(it: HistoryAccess) -> &'static str {
    match it {
        HistoryAccess::All => "all",
        HistoryAccess::Joined => "joined",
    }
}

fn raw_key(id: &ConversationId, seq: u64) -> RawDocumentBuf {
    rawdoc! { "c": id.as_str(), "s": signed(seq) }
}

/// The document of a message, with the time at which it is written: only a message's timeline shows that. Without its client key it is outside the unique index: for a message that is in the log
/// twice, so that history shows what clients were sent.
pub(super) fn message(it: &MessageIncoming, with_key: bool, now: Timestamp) -> RawDocumentBuf {
    let kind = match it.kind {
        MessageKind::Text => "text",
        MessageKind::Image => "image",
        MessageKind::File => "file",
    };
    let mut doc = rawdoc! {
        "_id": raw_key(&it.conversation_id, it.seq),
        "t": MESSAGE,
        "at": date(it.timestamp),
        "sender": it.sender_id.as_str(),
        "stored": date(now),
    };
    if with_key {
        doc.append(cstr!("client_key"), client_key(&it.client_id));
    }
    // The key gives the usual way of writing it.
    if !with_key || it.client_id.as_str() != it.client_id.canonical() {
        doc.append(cstr!("client_id"), it.client_id.as_str());
    }
    doc.append(cstr!("text"), it.text.as_str());
    doc.append(cstr!("kind"), kind);
    if let Some(reply_to) = &it.reply_to {
        doc.append(cstr!("reply_to"), signed(reply_to.seq));
    }
    if !it.attachments.is_empty() {
        let mut attachments = RawArrayBuf::new();
        for file in &it.attachments {
            attachments.push(rawdoc! {
                "url": file.url.as_str(),
                "name": file.name.as_str(),
                // The same 64 bits: MongoDB has no unsigned integers.
                "bytes": file.bytes.cast_signed(),
                "type": file.media_type.as_str(),
            });
        }
        doc.append(cstr!("attachments"), attachments);
    }
    doc
}

/// The document of a creation.
pub(super) fn created(it: &ConversationCreated) -> RawDocumentBuf {
    let mut doc = rawdoc! {
        "_id": raw_key(&it.conversation_id, it.seq),
        "t": CREATED,
        "at": date(it.timestamp),
        "conversation_type": conversation_type(it.conversation_type),
        "by": it.by.as_str(),
    };
    if let Some(name) = &it.name {
        doc.append(cstr!("name"), name.as_str());
    }
    if !it.history.is_all() {
        doc.append(cstr!("history"), history(it.history));
    }
    doc.append(cstr!("members"), users(&it.members));
    doc
}

/// The document of a change of name, settings or roles.
pub(super) fn updated(it: &ConversationUpdated) -> RawDocumentBuf {
    let mut doc = change(&it.conversation_id, it.seq, UPDATED, it.timestamp, &it.by);
    if let Some(name) = &it.name {
        doc.append(cstr!("name"), name.as_str());
    }
    if let Some(it) = it.history {
        doc.append(cstr!("history"), history(it));
    }
    if !it.roles.is_empty() {
        let mut roles = RawArrayBuf::new();
        for change in &it.roles {
            roles.push(rawdoc! { "user_id": change.user_id.as_str(), "role": role(change.role) });
        }
        doc.append(cstr!("roles"), roles);
    }
    doc
}

/// The document of an addition, with the number of members after it.
pub(super) fn added(it: &MemberAdded, size: u64) -> RawDocumentBuf {
    let mut doc = change(&it.conversation_id, it.seq, ADDED, it.timestamp, &it.by);
    doc.append(cstr!("users"), users(&it.user_ids));
    doc.append(cstr!("size"), signed(size));
    doc
}

/// The document of a removal, with the number of members after it.
pub(super) fn removed(it: &MemberRemoved, size: u64) -> RawDocumentBuf {
    let mut doc = change(&it.conversation_id, it.seq, REMOVED, it.timestamp, &it.by);
    doc.append(cstr!("users"), users(&it.user_ids));
    if let Some(owner) = &it.owner {
        doc.append(cstr!("owner"), owner.as_str());
    }
    doc.append(cstr!("size"), signed(size));
    doc
}

fn change(id: &ConversationId, seq: u64, event_type: &str, at: Timestamp, by: &UserId) -> RawDocumentBuf {
    rawdoc! { "_id": raw_key(id, seq), "t": event_type, "at": date(at), "by": by.as_str() }
}

fn users(ids: &[UserId]) -> RawArrayBuf {
    let mut users = RawArrayBuf::new();
    for id in ids {
        users.push(id.as_str());
    }
    users
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
