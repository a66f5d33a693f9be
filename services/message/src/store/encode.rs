//! Events as documents. What is written here is read back by [`super::documents`].
//!
//! Raw BSON, since a document tree for each message would be most of the projector's work.

use mongodb::bson::{DateTime, RawArrayBuf, RawDocumentBuf, cstr, rawdoc};
use protocol::client_frame::MessageKind;
use protocol::http::Role;
use protocol::server_frame::{ConversationCreated, ConversationType, MessageIncoming};
use protocol::{ConversationId, Timestamp};

use super::queries::{client_key, signed};
use crate::event::{CREATED, MESSAGE};

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

fn raw_key(id: &ConversationId, seq: u64) -> RawDocumentBuf {
    rawdoc! { "c": id.as_str(), "s": signed(seq) }
}

/// The document of a message. Without its client key it is outside the unique index: for a message that is in the log
/// twice, so that history shows what clients were sent.
pub(super) fn message(it: &MessageIncoming, with_key: bool) -> RawDocumentBuf {
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
    let mut members = RawArrayBuf::new();
    for member in &it.members {
        members.push(member.as_str());
    }
    doc.append(cstr!("members"), members);
    doc
}

#[cfg(test)]
mod tests {
    use mongodb::bson::deserialize_from_slice;

    use protocol::client_frame::Attachment;
    use protocol::{ClientId, ServerId, UserId};

    use super::*;
    use crate::event::Event;
    use crate::store::documents::EventDocument;

    fn back(doc: &RawDocumentBuf) -> Event {
        deserialize_from_slice::<EventDocument>(doc.as_bytes())
            .unwrap()
            .into_event()
            .unwrap()
    }

    fn sample(client_id: &str) -> MessageIncoming {
        let (ann, bob) = (UserId::parse("an.n*>").unwrap(), UserId::parse("b\0b é").unwrap());
        let id = ConversationId::direct(&ann, &bob);
        MessageIncoming {
            server_id: ServerId {
                conversation_id: id.clone(),
                seq: 5,
            },
            client_id: ClientId::parse(client_id).unwrap(),
            conversation_id: id.clone(),
            seq: 5,
            sender_id: bob,
            text: "{\"$ne\": 1} ö\0".into(),
            kind: MessageKind::File,
            reply_to: Some(ServerId {
                conversation_id: id,
                seq: 2,
            }),
            attachments: vec![Attachment {
                url: "u".into(),
                name: "n".into(),
                bytes: u64::MAX,
                media_type: "t".into(),
            }],
            timestamp: Timestamp::from_millis(1_795_000_000_123),
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was_and_its_client_id_as_it_was_written() {
        for written in [
            "0190b6f0-7e2c-7c3a-8a50-0a0b0c0d0e0f",
            "0190B6F0-7E2C-7C3A-8A50-0A0B0C0D0E0F",
        ] {
            for with_key in [true, false] {
                let it = sample(written);
                let Event::Message(stored) = back(&message(&it, with_key)) else {
                    panic!("not a message")
                };
                assert_eq!(stored, it);
                assert_eq!(stored.client_id.as_str(), written);
            }
        }
    }

    #[test]
    fn a_creation_comes_back_as_it_was() {
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
        let it = ConversationCreated {
            conversation_id: ConversationId::direct(&ann, &bob),
            seq: 1,
            conversation_type: ConversationType::Group,
            name: Some("n".into()),
            members: vec![ann.clone(), bob],
            by: ann,
            timestamp: Timestamp::from_millis(5),
        };
        assert_eq!(back(&created(&it)), Event::Created(it));
    }
}
