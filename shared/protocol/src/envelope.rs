//! The versioned envelope of a log entry, the one format that services exchange through streams.
//!
//! It holds the frame exactly as clients will get it, so that a connection node passes bytes on and re-encodes nothing.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::server_frame::ConversationType;
use crate::{ClientId, ConversationId, ServerFrame, Timestamp, UserId};

/// The version that this code writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// One log entry, borrowed from its bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope<'a> {
    /// Format version.
    pub v: u32,
    /// Stream sequence of the conversation's last entry that changed members or settings; 0 where it is this one.
    pub state_at: u64,
    /// The client's frame, ready to be sent.
    #[serde(borrow)]
    pub frame: &'a RawValue,
}

/// What an entry is, read from its frame without copying what nobody needs.
#[derive(Debug, Deserialize)]
pub struct EventHead<'a> {
    /// The frame's `type`.
    #[serde(rename = "type", borrow)]
    pub event_type: std::borrow::Cow<'a, str>,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Place in the conversation; of a receipt, its watermark.
    pub seq: u64,
    /// When.
    pub timestamp: Timestamp,
    /// Of a message: the sender.
    #[serde(default)]
    pub sender_id: Option<UserId>,
    /// Of a message: the sender's id of it.
    #[serde(default)]
    pub client_id: Option<ClientId>,
    /// Of a receipt: whose.
    #[serde(default)]
    pub user_id: Option<UserId>,
    /// Of a creation: the members.
    #[serde(default)]
    pub members: Option<Vec<UserId>>,
    /// Of a creation: by whom.
    #[serde(default)]
    pub by: Option<UserId>,
    /// Of a creation: direct or group.
    #[serde(default)]
    pub conversation_type: Option<ConversationType>,
}

/// Why an entry cannot be read. The reader skips it and counts it: a newer version's entry must not break anyone.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Written by a newer version.
    #[error("log entry of version {0}, newer than {VERSION}")]
    Newer(u32),
    /// An event type of a newer version.
    #[error("unknown event type")]
    UnknownEvent,
    /// Not an envelope.
    #[error("log entry is not an envelope: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The event types of the log that this version knows.
pub const EVENT_TYPES: [&str; 2] = ["message:incoming", "conversation:created"];
/// The receipt types that this version knows.
pub const RECEIPT_TYPES: [&str; 2] = ["message:delivered", "message:read"];

/// Wraps a frame for the log: an [`Envelope`], written around the frame's text without parsing that again.
pub fn encode(frame: &ServerFrame, state_at: u64) -> Vec<u8> {
    format!(r#"{{"v":{VERSION},"state_at":{state_at},"frame":{}}}"#, frame.encode()).into_bytes()
}

/// Reads an entry and what it is.
///
/// # Errors
/// [`Unreadable`]: skip the entry and count it.
pub fn decode(bytes: &[u8]) -> Result<(Envelope<'_>, EventHead<'_>), Unreadable> {
    let envelope: Envelope<'_> = serde_json::from_slice(bytes)?;
    if envelope.v > VERSION {
        return Err(Unreadable::Newer(envelope.v));
    }
    let head: EventHead<'_> = serde_json::from_str(envelope.frame.get())?;
    let known = EVENT_TYPES.contains(&&*head.event_type) || RECEIPT_TYPES.contains(&&*head.event_type);
    if !known {
        return Err(Unreadable::UnknownEvent);
    }
    Ok((envelope, head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_frame::Receipt;

    #[test]
    fn an_entry_is_an_envelope_around_the_very_frame_that_clients_get() {
        let receipt = Receipt {
            conversation_id: ConversationId::parse("g00000000000000000000000000000000").unwrap(),
            user_id: UserId::parse("a \"quoted\" user").unwrap(),
            seq: 7,
            timestamp: Timestamp::from_millis(0),
        };
        let frame = ServerFrame::MessageRead(receipt);
        let bytes = encode(&frame, 42);
        let (envelope, head) = decode(&bytes).unwrap();
        assert_eq!(
            (envelope.v, envelope.state_at, envelope.frame.get()),
            (VERSION, 42, &*frame.encode())
        );
        assert_eq!((&*head.event_type, head.seq), ("message:read", 7));
    }

    #[test]
    fn an_entry_of_a_newer_version_or_type_is_told_from_a_broken_one() {
        assert!(matches!(
            decode(br#"{"v":2,"state_at":0,"frame":{}}"#),
            Err(Unreadable::Newer(2))
        ));
        let unknown = br#"{"v":1,"state_at":0,"frame":{"type":"message:sung",
            "conversation_id":"g00000000000000000000000000000000","seq":1,"timestamp":"2026-11-22T10:15:30.123Z"}}"#;
        assert!(matches!(decode(unknown), Err(Unreadable::UnknownEvent)));
        assert!(matches!(decode(b"{"), Err(Unreadable::Malformed(_))));
    }
}
