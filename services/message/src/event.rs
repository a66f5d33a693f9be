//! A log entry as this service understands it: decoded once, in full, for everything that is stored or compared.
//!
//! Of an event type of a newer version only its place is known. Entries that cannot be read at all are refused with a
//! reason; that they are skipped and counted is for the reader to do.

use bus::Record;
use protocol::envelope::{Envelope, EventHead, Unreadable, VERSION};
use protocol::rpc::ReceiptKind;
use protocol::server_frame::{
    ConversationCreated, ConversationUpdated, MemberAdded, MemberRemoved, MessageIncoming, Receipt,
};
use protocol::{ConversationId, Timestamp};

use crate::conversation::Head;

/// One durable event of a conversation, or one watermark.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Message(MessageIncoming),
    Created(ConversationCreated),
    Updated(ConversationUpdated),
    /// With the number of members after it.
    Added(MemberAdded, u64),
    /// With the number of members after it.
    Removed(MemberRemoved, u64),
    Receipt(ReceiptKind, Receipt),
    /// Of a type that newer versions write, or in a form that only they read.
    Newer(Place),
}

/// Where an event stands in its conversation, whatever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) conversation_id: ConversationId,
    pub(crate) seq: u64,
    pub(crate) timestamp: Timestamp,
}

/// `type` of a message's frame.
pub(crate) const MESSAGE: &str = "message:incoming";
/// `type` of a creation's frame.
pub(crate) const CREATED: &str = "conversation:created";
/// `type` of the frame of a change of name, settings or roles.
pub(crate) const UPDATED: &str = "conversation:updated";
/// `type` of the frame that tells of new members.
pub(crate) const ADDED: &str = "member:added";
/// `type` of the frame that tells of members who went.
pub(crate) const REMOVED: &str = "member:removed";
const DELIVERED: &str = "message:delivered";
const READ: &str = "message:read";

impl Event {
    /// Reads a log entry.
    ///
    /// # Errors
    /// [`Unreadable`]: skip the entry and count it.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Unreadable> {
        let (envelope, head) = open(payload)?;
        let frame = envelope.frame.get();
        Ok(match &*head.event_type {
            MESSAGE => Self::Message(serde_json::from_str(frame)?),
            CREATED => Self::Created(serde_json::from_str(frame)?),
            UPDATED => Self::Updated(serde_json::from_str(frame)?),
            ADDED => Self::Added(serde_json::from_str(frame)?, envelope.size.unwrap_or(0)),
            REMOVED => Self::Removed(serde_json::from_str(frame)?, envelope.size.unwrap_or(0)),
            DELIVERED => Self::Receipt(ReceiptKind::Delivered, serde_json::from_str(frame)?),
            READ => Self::Receipt(ReceiptKind::Read, serde_json::from_str(frame)?),
            _ => Self::Newer(Place::of(head)),
        })
    }

    /// Reads of a log entry what every version can.
    ///
    /// # Errors
    /// [`Unreadable`]: skip the entry and count it.
    pub(crate) fn decode_place(payload: &[u8]) -> Result<Self, Unreadable> {
        open(payload).map(|(_, head)| Self::Newer(Place::of(head)))
    }

    pub(crate) fn conversation_id(&self) -> &ConversationId {
        match self {
            Self::Message(it) => &it.conversation_id,
            Self::Created(it) => &it.conversation_id,
            Self::Updated(it) => &it.conversation_id,
            Self::Added(it, _) => &it.conversation_id,
            Self::Removed(it, _) => &it.conversation_id,
            Self::Receipt(_, it) => &it.conversation_id,
            Self::Newer(it) => &it.conversation_id,
        }
    }

    /// Its place in the conversation; of a receipt, the watermark.
    pub(crate) fn seq(&self) -> u64 {
        match self {
            Self::Message(it) => it.seq,
            Self::Created(it) => it.seq,
            Self::Updated(it) => it.seq,
            Self::Added(it, _) => it.seq,
            Self::Removed(it, _) => it.seq,
            Self::Receipt(_, it) => it.seq,
            Self::Newer(it) => it.seq,
        }
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        match self {
            Self::Message(it) => it.timestamp,
            Self::Created(it) => it.timestamp,
            Self::Updated(it) => it.timestamp,
            Self::Added(it, _) => it.timestamp,
            Self::Removed(it, _) => it.timestamp,
            Self::Receipt(_, it) => it.timestamp,
            Self::Newer(it) => it.timestamp,
        }
    }

    /// Whether it has a document of its own in MongoDB.
    pub(crate) fn is_stored(&self) -> bool {
        !matches!(self, Self::Receipt(..) | Self::Newer(_))
    }
}

impl Place {
    fn of(head: EventHead<'_>) -> Self {
        Self {
            conversation_id: head.conversation_id,
            seq: head.seq,
            timestamp: head.timestamp,
        }
    }
}

/// An entry's envelope, and what is in it, of whatever type.
///
/// # Errors
/// [`Unreadable`] where even that cannot be read.
pub(crate) fn open(payload: &[u8]) -> Result<(Envelope<'_>, EventHead<'_>), Unreadable> {
    let envelope: Envelope<'_> = serde_json::from_slice(payload)?;
    if envelope.v > VERSION {
        return Err(Unreadable::Newer(envelope.v));
    }
    let head = serde_json::from_str(envelope.frame.get())?;
    Ok((envelope, head))
}

/// What the writer needs to know of a conversation's last entry, whatever event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Stream sequence.
    pub(crate) position: u64,
    pub(crate) seq: u64,
    pub(crate) timestamp: Timestamp,
    /// Stream sequence of the last entry that changed members or settings; its own where it is one.
    pub(crate) state_at: u64,
    pub(crate) is_message: bool,
}

impl Seen {
    /// The conversation's head, if it is its last entry.
    pub(crate) fn head(&self) -> Head {
        Head {
            seq: self.seq,
            position: self.position,
            timestamp: self.timestamp,
        }
    }

    /// Reads the head of an entry, also of an event type that this version does not know: a newer replica may have
    /// written it, and the next `seq` is one past it all the same.
    ///
    /// # Errors
    /// [`Unreadable`] where even that cannot be read.
    pub(crate) fn of(record: &Record) -> Result<Self, Unreadable> {
        let (envelope, head) = open(&record.payload)?;
        Ok(Self {
            position: record.position,
            seq: head.seq,
            timestamp: head.timestamp,
            state_at: if envelope.state_at == 0 {
                record.position
            } else {
                envelope.state_at
            },
            is_message: head.event_type == MESSAGE,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_type_of_a_newer_version_the_place_is_known() {
        let payload = br#"{"v":1,"state_at":0,"frame":{"type":"conversation:locked","seq":7,
            "conversation_id":"g00000000000000000000000000000000","timestamp":"2026-11-22T10:15:30.123Z"}}"#;
        let event = Event::decode(payload).unwrap();
        assert!(matches!(&event, Event::Newer(it) if it.seq == 7), "{event:?}");
        assert_eq!(Event::decode_place(payload).unwrap(), event);
    }

    #[test]
    fn a_whole_envelope_of_a_newer_version_is_unreadable() {
        assert!(matches!(
            Event::decode(br#"{"v":2,"state_at":0,"frame":{}}"#),
            Err(Unreadable::Newer(2))
        ));
    }
}
