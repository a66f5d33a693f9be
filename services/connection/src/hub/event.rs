//! A log entry as this node holds it: decoded once, its frame encoded never, its bytes shared by all who get it.

use protocol::envelope::{self, Unreadable};
use protocol::rpc::ReceiptKind;
use protocol::{ClientId, ConversationId, Timestamp, UserId};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// One entry of the log.
#[derive(Debug)]
pub struct Event {
    /// Index of its lane.
    pub lane: usize,
    /// Its sequence in the lane's stream.
    pub position: u64,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Its place in the conversation; of a receipt, the watermark.
    pub seq: u64,
    /// When the server took it.
    pub timestamp: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// The frame, as every recipient gets it.
    pub frame: Utf8Bytes,
}

/// What an event is, as far as delivery cares.
#[derive(Debug)]
pub enum Kind {
    /// A message, and the id that its sender gave it.
    Message(UserId, ClientId),
    /// A new conversation with its members.
    Created(Vec<UserId>),
    /// A watermark of a user.
    Receipt(UserId, ReceiptKind),
}

impl Event {
    /// Reads a log entry.
    ///
    /// # Errors
    /// [`Unreadable`]: skip it and count it.
    pub fn parse(lane: usize, position: u64, payload: &[u8]) -> Result<Self, Unreadable> {
        let (envelope, head) = envelope::decode(payload)?;
        let kind = match (
            &*head.event_type,
            head.sender_id,
            head.client_id,
            head.members,
            head.user_id,
        ) {
            ("message:incoming", Some(sender), Some(client_id), _, _) => Kind::Message(sender, client_id),
            ("conversation:created", _, _, Some(members), _) => Kind::Created(members),
            ("message:delivered", _, _, _, Some(user)) => Kind::Receipt(user, ReceiptKind::Delivered),
            ("message:read", _, _, _, Some(user)) => Kind::Receipt(user, ReceiptKind::Read),
            _ => return Err(Unreadable::UnknownEvent),
        };
        Ok(Self {
            lane,
            position,
            conversation_id: head.conversation_id,
            seq: head.seq,
            timestamp: head.timestamp,
            kind,
            frame: Utf8Bytes::from(envelope.frame.get()),
        })
    }

    /// Bytes that this event takes in memory, about.
    pub fn bytes(&self) -> usize {
        const OVERHEAD: usize = 320;
        let members = if let Kind::Created(members) = &self.kind {
            members.len() * 64
        } else {
            0
        };
        self.frame.len() + members + OVERHEAD
    }
}
