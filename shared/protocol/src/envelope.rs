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
    /// Of an entry that changed members or settings: stream sequence of the one before it that did. 0: none.
    #[serde(default)]
    pub prev: u64,
    /// Of such an entry: all members and settings after it, so that a reader need not go further back.
    #[serde(borrow, default)]
    pub snapshot: Option<&'a RawValue>,
    /// Of a change of members: how many there are after it.
    #[serde(default)]
    pub size: Option<u64>,
    /// Of `member:added`: the conversation, for those who were added ([`crate::http::Conversation`]).
    #[serde(borrow, default)]
    pub conversation: Option<&'a RawValue>,
    /// Of a receipt in a large conversation: who is told of it, besides the user himself. See [`Told`].
    #[serde(default)]
    pub to: Option<Vec<Told>>,
    /// Of a message: the sender's name as his token said it. Only for notifications.
    #[serde(borrow, default)]
    pub sender_name: Option<std::borrow::Cow<'a, str>>,
    /// Of a message: the W3C trace context of the frame that sent it.
    #[serde(borrow, default)]
    pub traceparent: Option<std::borrow::Cow<'a, str>>,
    /// The client's frame, ready to be sent.
    #[serde(borrow)]
    pub frame: &'a RawValue,
}

/// Somebody who is told of a receipt, and of which of the watermark's steps: 0 is the step that this entry makes, any
/// other number the stream sequence of an earlier step's entry. An entry replaces the one before it, so it names those
/// too whom that one was for: they may have been away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told(pub UserId, pub u64);

/// What an entry holds besides `state_at` and its frame.
#[derive(Debug, Default)]
pub struct Extras<'a> {
    /// See [`Envelope::prev`].
    pub prev: u64,
    /// See [`Envelope::snapshot`]; JSON text.
    pub snapshot: Option<&'a str>,
    /// See [`Envelope::size`].
    pub size: Option<u64>,
    /// See [`Envelope::conversation`]; JSON text.
    pub conversation: Option<&'a str>,
    /// See [`Envelope::to`].
    pub to: Option<&'a [Told]>,
    /// See [`Envelope::sender_name`].
    pub sender_name: Option<&'a str>,
    /// See [`Envelope::traceparent`].
    pub traceparent: Option<&'a str>,
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
    /// Of a change of members: whose.
    #[serde(default)]
    pub user_ids: Option<Vec<UserId>>,
    /// Of a creation or change: by whom.
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
    #[error("log entry is not an envelope: {}", crate::Quiet(.0))]
    Malformed(#[from] serde_json::Error),
}

/// The event types of the log that this version knows.
pub const EVENT_TYPES: [&str; 5] = [
    "message:incoming",
    "conversation:created",
    "conversation:updated",
    "member:added",
    "member:removed",
];
/// The receipt types that this version knows.
pub const RECEIPT_TYPES: [&str; 2] = ["message:delivered", "message:read"];

/// Wraps a frame for the log: an [`Envelope`], written around the frame's text without parsing that again.
pub fn encode(frame: &ServerFrame, state_at: u64) -> Vec<u8> {
    format!(r#"{{"v":{VERSION},"state_at":{state_at},"frame":{}}}"#, frame.encode()).into_bytes()
}

/// Wraps a frame that comes with more than its state; see [`encode`].
pub fn encode_with(frame: &ServerFrame, state_at: u64, extras: &Extras<'_>) -> Vec<u8> {
    let mut text = format!(r#"{{"v":{VERSION},"state_at":{state_at}"#);
    if extras.prev > 0 {
        text += &format!(r#","prev":{}"#, extras.prev);
    }
    if let Some(snapshot) = extras.snapshot {
        text += &format!(r#","snapshot":{snapshot}"#);
    }
    if let Some(size) = extras.size {
        text += &format!(r#","size":{size}"#);
    }
    if let Some(conversation) = extras.conversation {
        text += &format!(r#","conversation":{conversation}"#);
    }
    if let Some(to) = extras.to {
        text += &format!(r#","to":{}"#, serde_json::to_string(to).unwrap_or_default());
    }
    for (name, value) in [("sender_name", extras.sender_name), ("traceparent", extras.traceparent)] {
        if let Some(value) = value {
            text += &format!(r#","{name}":{}"#, serde_json::to_string(value).unwrap_or_default());
        }
    }
    text += &format!(r#","frame":{}}}"#, frame.encode());
    text.into_bytes()
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
    fn what_comes_with_a_frame_is_read_back() {
        let (id, ann) = (
            ConversationId::parse("g00000000000000000000000000000000").unwrap(),
            UserId::parse("ann").unwrap(),
        );
        let frame = ServerFrame::MessageRead(Receipt {
            conversation_id: id,
            user_id: ann.clone(),
            seq: 7,
            timestamp: Timestamp::from_millis(0),
        });
        let to = [Told(ann, 3)];
        let extras = Extras {
            prev: 9,
            snapshot: Some("[1]"),
            size: Some(4),
            conversation: Some("{}"),
            to: Some(&to),
            sender_name: Some("Ann \"the\" first"),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        };
        let bytes = encode_with(&frame, 0, &extras);
        let (envelope, _) = decode(&bytes).unwrap();
        let text = |it: Option<&RawValue>| it.map(|it| it.get().to_owned());
        assert_eq!(
            (envelope.prev, envelope.size, envelope.to.as_deref()),
            (9, Some(4), Some(&to[..]))
        );
        assert_eq!(envelope.sender_name.as_deref(), Some("Ann \"the\" first"));
        assert!(envelope.traceparent.is_some_and(|it| it.starts_with("00-")));
        assert_eq!(
            (text(envelope.snapshot), text(envelope.conversation)),
            (Some("[1]".into()), Some("{}".into()))
        );
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
