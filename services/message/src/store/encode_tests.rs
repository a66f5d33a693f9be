//! What is written is read back.

use mongodb::bson::deserialize_from_slice;

use protocol::client_frame::Attachment;
use protocol::server_frame::RoleChange;
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
            let Event::Message(stored) = back(&message(&it, with_key, Timestamp::EPOCH)) else {
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
        history: HistoryAccess::Joined,
        members: vec![ann.clone(), bob],
        by: ann,
        timestamp: Timestamp::from_millis(5),
    };
    assert_eq!(back(&created(&it)), Event::Created(it));
}

#[test]
fn changes_come_back_as_they_were() {
    let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("$b.ob").unwrap());
    let conversation_id = ConversationId::direct(&ann, &bob);
    let timestamp = Timestamp::from_millis(5);
    let it = ConversationUpdated {
        conversation_id: conversation_id.clone(),
        seq: 2,
        by: ann.clone(),
        name: Some("$n".into()),
        history: Some(HistoryAccess::All),
        roles: vec![RoleChange {
            user_id: bob.clone(),
            role: Role::Admin,
        }],
        timestamp,
    };
    assert_eq!(back(&updated(&it)), Event::Updated(it.clone()));
    let bare = ConversationUpdated {
        name: None,
        history: None,
        roles: Vec::new(),
        ..it
    };
    assert_eq!(back(&updated(&bare)), Event::Updated(bare));
    let it = MemberAdded {
        conversation_id: conversation_id.clone(),
        seq: 3,
        user_ids: vec![bob.clone(), ann.clone()],
        by: ann.clone(),
        timestamp,
        conversation: None,
    };
    assert_eq!(back(&added(&it, 2)), Event::Added(it, 2));
    for owner in [None, Some(bob)] {
        let it = MemberRemoved {
            conversation_id: conversation_id.clone(),
            seq: 4,
            user_ids: vec![ann.clone()],
            by: ann.clone(),
            owner,
            timestamp,
        };
        assert_eq!(back(&removed(&it, 1)), Event::Removed(it, 1));
    }
}
