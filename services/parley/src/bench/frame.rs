//! The frames as the load generator sees them: what it sends is ready but for the client id, and of what it receives it
//! reads five fields, without copying.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::schedule::Key;

/// Where the client id begins in a frame.
const CLIENT_ID: usize = r#"{"type":"message:send","client_id":""#.len();
const CLIENT_ID_BYTES: usize = 36;
/// Frames are cut from chunks of this size.
const CHUNK: usize = 64 * 1024;

/// What matters of a server frame.
#[derive(Debug, Deserialize)]
pub(super) struct Incoming<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) frame_type: &'a str,
    #[serde(borrow, default)]
    pub(super) conversation_id: Option<&'a str>,
    #[serde(default)]
    pub(super) seq: Option<u64>,
    #[serde(borrow, default)]
    pub(super) client_id: Option<&'a str>,
    /// Of an `error`.
    #[serde(borrow, default)]
    pub(super) code: Option<&'a str>,
}

impl<'a> Incoming<'a> {
    /// `None` where it is not a frame of the protocol.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// A `message:send` to one conversation, but for its client id.
#[derive(Debug)]
pub(super) struct Template(Vec<u8>);

impl Template {
    pub(super) fn new(conversation_id: &str, text_bytes: usize) -> Self {
        let words = "The quick brown fox jumps over the lazy dog and trots home. ";
        let mut text: String = words.chars().cycle().take(text_bytes).collect();
        // A blank at the end would be trimmed, and the message be shorter than asked for.
        if text.pop().is_some() {
            text.push('.');
        }
        let nil = uuid::Uuid::nil();
        let frame = format!(
            r#"{{"type":"message:send","client_id":"{nil}","conversation_id":"{conversation_id}","text":"{text}"}}"#
        );
        Self(frame.into_bytes())
    }

    /// The frame of one message, cut from `chunk`.
    pub(super) fn fill(&self, key: Key, unix_ms: u64, chunk: &mut BytesMut) -> Option<Utf8Bytes> {
        if chunk.capacity() - chunk.len() < self.0.len() {
            chunk.reserve(CHUNK);
        }
        chunk.extend_from_slice(&self.0);
        key.write(unix_ms, &mut chunk[CLIENT_ID..CLIENT_ID + CLIENT_ID_BYTES]);
        let frame: Bytes = chunk.split().freeze();
        Utf8Bytes::try_from(frame).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_template_is_a_send_that_the_server_understands() {
        let id = "d00000000000000000000000000000000";
        let key = Key::new(1, 77);
        let mut chunk = BytesMut::new();
        let template = Template::new(id, 100);
        for _ in 0..2 {
            let text = template.fill(key, 1_795_000_000_000, &mut chunk).unwrap();
            let decoded = protocol::client_frame::decode(&text).unwrap();
            let protocol::client_frame::ClientFrame::MessageSend(send) = decoded.frame else {
                panic!("not a send");
            };
            assert_eq!((send.conversation_id.as_str(), send.text.trim().len()), (id, 100));
            assert_eq!(Key::parse(send.client_id.as_str()), Some(key));
        }
    }

    #[test]
    fn only_what_matters_is_read() {
        let text = r#"{"type":"message:ack","client_id":"c","server_id":"x-2","seq":2,"duplicate":false,"later":{}}"#;
        let frame = Incoming::parse(text).unwrap();
        assert_eq!(
            (frame.frame_type, frame.seq, frame.client_id),
            ("message:ack", Some(2), Some("c"))
        );
        assert!(Incoming::parse("[]").is_none());
        let error = r#"{"type":"error","code":"unavailable","message":"a \"word\""}"#;
        assert_eq!(Incoming::parse(error).unwrap().code, Some("unavailable"));
    }
}
