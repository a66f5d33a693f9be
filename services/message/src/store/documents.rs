//! The documents as they are read, and the events that they were made from. They are written in [`super::encode`].

use mongodb::bson::{Binary, DateTime, spec::BinarySubtype};
use protocol::client_frame::{Attachment, MessageKind};
use protocol::http::HistoryAccess;
use protocol::server_frame::{
    ConversationCreated, ConversationType, ConversationUpdated, MemberAdded, MemberRemoved, MessageIncoming, RoleChange,
};
use protocol::{ClientId, ConversationId, ServerId, Timestamp, UserId};
use serde::Deserialize;

use crate::event::{ADDED, CREATED, Event, MESSAGE, REMOVED, UPDATED};

/// `_id` of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub(crate) struct EventKey {
    #[serde(rename = "c")]
    pub(crate) conversation_id: ConversationId,
    #[serde(rename = "s")]
    pub(crate) seq: i64,
}

/// An event, whatever it is.
#[derive(Debug, Deserialize)]
pub(crate) struct EventDocument {
    #[serde(rename = "_id")]
    pub(crate) key: EventKey,
    #[serde(rename = "t")]
    pub(crate) event_type: String,
    at: DateTime,
    /// When it was written; of messages, and not of those that older versions wrote.
    stored: Option<DateTime>,
    sender: Option<UserId>,
    client_key: Option<Binary>,
    client_id: Option<ClientId>,
    text: Option<String>,
    kind: Option<MessageKind>,
    reply_to: Option<i64>,
    #[serde(default)]
    attachments: Vec<AttachmentDocument>,
    conversation_type: Option<ConversationType>,
    name: Option<String>,
    history: Option<HistoryAccess>,
    by: Option<UserId>,
    members: Option<Vec<UserId>>,
    #[serde(default)]
    roles: Vec<RoleChange>,
    users: Option<Vec<UserId>>,
    owner: Option<UserId>,
    size: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct AttachmentDocument {
    url: String,
    name: String,
    bytes: i64,
    #[serde(rename = "type")]
    media_type: String,
}

/// The key alone, where documents are only counted.
#[derive(Debug, Deserialize)]
pub(crate) struct KeyOnly {
    #[serde(rename = "_id")]
    pub(crate) key: EventKey,
}

/// The sender alone, of a message.
#[derive(Debug, Deserialize)]
pub(crate) struct SenderDocument {
    pub(crate) sender: UserId,
}

/// Key and sender, of a message.
#[derive(Debug, Deserialize)]
pub(crate) struct BriefDocument {
    #[serde(rename = "_id")]
    pub(crate) key: EventKey,
    pub(crate) sender: UserId,
}

/// Key and time, of a message that was sent before.
#[derive(Debug, Deserialize)]
pub(crate) struct SentDocument {
    #[serde(rename = "_id")]
    pub(crate) key: EventKey,
    pub(crate) at: DateTime,
}

pub(crate) fn unsigned(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}

pub(crate) fn time(at: DateTime) -> Timestamp {
    Timestamp::from_millis(at.timestamp_millis())
}

impl EventDocument {
    /// Conversation and `seq`.
    pub(crate) fn place(&self) -> (ConversationId, u64) {
        (self.key.conversation_id.clone(), unsigned(self.key.seq))
    }

    /// Whether it is a message whose client id is stored under another `seq`.
    pub(crate) fn is_doubled(&self) -> bool {
        self.event_type == MESSAGE && self.client_key.is_none()
    }

    /// The event that the document was made from; `None` where it is none that this version knows.
    pub(crate) fn into_event(self) -> Option<Event> {
        match &*self.event_type {
            MESSAGE => self.into_message().map(Event::Message),
            CREATED => Some(Event::Created(ConversationCreated {
                seq: unsigned(self.key.seq),
                conversation_id: self.key.conversation_id,
                conversation_type: self.conversation_type?,
                name: self.name,
                history: self.history.unwrap_or_default(),
                members: self.members?,
                by: self.by?,
                timestamp: time(self.at),
            })),
            UPDATED => Some(Event::Updated(ConversationUpdated {
                seq: unsigned(self.key.seq),
                conversation_id: self.key.conversation_id,
                by: self.by?,
                name: self.name,
                history: self.history,
                roles: self.roles,
                timestamp: time(self.at),
            })),
            ADDED => {
                let added = MemberAdded {
                    seq: unsigned(self.key.seq),
                    conversation_id: self.key.conversation_id,
                    user_ids: self.users?,
                    by: self.by?,
                    timestamp: time(self.at),
                    conversation: None,
                };
                Some(Event::Added(added, unsigned(self.size?)))
            }
            REMOVED => {
                let removed = MemberRemoved {
                    seq: unsigned(self.key.seq),
                    conversation_id: self.key.conversation_id,
                    user_ids: self.users?,
                    by: self.by?,
                    owner: self.owner,
                    timestamp: time(self.at),
                };
                Some(Event::Removed(removed, unsigned(self.size?)))
            }
            _ => None,
        }
    }

    /// Sender, time and when it was written, of a message; `None` where it is none.
    pub(crate) fn into_brief(self) -> Option<(UserId, Timestamp, Option<Timestamp>)> {
        let sender = self.sender.filter(|_| self.event_type == MESSAGE)?;
        Some((sender, time(self.at), self.stored.map(time)))
    }

    /// The message, as clients get it.
    pub(crate) fn into_message(self) -> Option<MessageIncoming> {
        let (id, seq) = (self.key.conversation_id, unsigned(self.key.seq));
        let client_id = match (self.client_id, self.client_key) {
            (Some(written), _) => written,
            (
                None,
                Some(Binary {
                    subtype: BinarySubtype::Uuid,
                    bytes,
                }),
            ) => {
                let uuid = uuid::Uuid::from_slice(&bytes).ok()?;
                ClientId::parse(&uuid.hyphenated().to_string())?
            }
            (None, _) => return None,
        };
        let reply_to = self.reply_to.map(|seq| ServerId {
            conversation_id: id.clone(),
            seq: unsigned(seq),
        });
        let attachment = |it: AttachmentDocument| Attachment {
            url: it.url,
            name: it.name,
            bytes: it.bytes.cast_unsigned(),
            media_type: it.media_type,
        };
        Some(MessageIncoming {
            server_id: ServerId {
                conversation_id: id.clone(),
                seq,
            },
            client_id,
            conversation_id: id,
            seq,
            sender_id: self.sender?,
            text: self.text?,
            kind: self.kind?,
            reply_to,
            attachments: self.attachments.into_iter().map(attachment).collect(),
            timestamp: time(self.at),
        })
    }
}
