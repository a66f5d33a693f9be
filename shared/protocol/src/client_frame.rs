//! What a client sends over a socket, and its decoding.
//!
//! Decoding is total: any text gives a frame or a [`Rejected`] that names the code, and the `ref` and `client_id` to
//! answer with where they could be read.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Code, Refusal};
use crate::{ClientId, lenient, limits};

/// A client's own mark on a frame, echoed in the answer: any string or number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reference {
    /// The usual form.
    Text(String),
    /// A number, echoed as a number.
    Number(serde_json::Number),
}

/// One frame from a client. Conversation and server ids are still text here: one that no server made is `not_found`
/// like one that belongs to others, and only the message service says so.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientFrame {
    /// Authenticates, or renews the token of a live session.
    Auth(Auth),
    /// Asks for a `pong`.
    Ping,
    /// Tells whether the app is on screen.
    State(AppState),
    /// Sends a message.
    MessageSend(Box<MessageSend>),
    /// Everything up to there has reached this device.
    MessageDelivered(ReceiptFrame),
    /// Everything up to there was read.
    MessageRead(ReceiptFrame),
    /// Turns a room's live signals on for this socket.
    Subscribe(RoomFrame),
    /// Turns them off.
    Unsubscribe(RoomFrame),
    /// The user is writing.
    TypingStart(RoomFrame),
    /// The user stopped writing.
    TypingStop(RoomFrame),
    /// Chooses how the user appears to others.
    PresenceSet(PresenceSet),
}

/// A decoded frame with the marks that any frame may carry.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The frame.
    pub frame: ClientFrame,
    /// `ref`, to be echoed.
    pub reference: Option<Reference>,
    /// `traceparent` (W3C), unchecked.
    pub traceparent: Option<String>,
}

/// A frame that could not be decoded, with what is needed to answer it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// `bad_frame`, `unknown_type` or `invalid`.
    pub refusal: Refusal,
    /// `ref`, where there was a usable one.
    pub reference: Option<Reference>,
    /// `client_id`, where there was a string.
    pub client_id: Option<String>,
    /// Whether the text was a JSON object at all: a first frame that is not closes the socket.
    pub is_object: bool,
    /// `type`, where there was a string.
    pub frame_type: Option<String>,
}

/// Body of `auth`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Auth {
    /// The JWT.
    pub token: String,
    /// This installation of the app.
    #[serde(default)]
    pub device_id: Option<String>,
    /// A cursor to go on from.
    #[serde(default)]
    pub resume: Option<String>,
    /// On screen or not.
    #[serde(default)]
    pub state: Option<AppState>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("token", &"(secret)")
            .field("device_id", &self.device_id)
            .field("resume", &self.resume)
            .field("state", &self.state)
            .finish()
    }
}

/// Whether the app is on screen; decides push.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// On screen.
    #[default]
    Foreground,
    /// Connected, not on screen.
    Background,
}

/// What a message is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// Words.
    #[default]
    Text,
    /// A picture.
    Image,
    /// Any other file.
    File,
}

/// A file that a message refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Where it is.
    pub url: String,
    /// Its file name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its media type.
    #[serde(rename = "type")]
    pub media_type: String,
}

/// Body of `message:send`, and of the HTTP send (where the conversation is in the path).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageSend {
    /// The client's own id of the message.
    pub client_id: ClientId,
    /// Where to.
    #[serde(default)]
    pub conversation_id: String,
    /// The text; absent counts as empty.
    #[serde(default)]
    pub text: String,
    /// What it is.
    #[serde(default)]
    pub kind: MessageKind,
    /// A server id of the same conversation.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Files.
    #[serde(default)]
    pub attachments: Option<Vec<Attachment>>,
    /// Whether this client id was sent before.
    #[serde(default)]
    pub retry: bool,
}

/// Body of `message:delivered` and `message:read`: exactly one of the two marks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ReceiptFrame {
    /// The conversation.
    pub conversation_id: String,
    /// Everything up to this `seq`.
    #[serde(default)]
    pub seq: Option<u64>,
    /// Everything up to this message.
    #[serde(default)]
    pub server_id: Option<String>,
}

/// Body of the frames that only name a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RoomFrame {
    /// The conversation, unchecked.
    pub conversation_id: String,
}

/// Body of `presence:set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct PresenceSet {
    /// The status from now on, until another one is set.
    pub status: ChosenStatus,
}

/// How a user wants to appear while connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChosenStatus {
    /// Online, and away by itself when nothing is done for a while.
    #[default]
    Online,
    /// Away, whatever is done.
    Away,
    /// Not to be disturbed.
    Dnd,
    /// Offline to everybody else; sends no live signal.
    Invisible,
}

/// Every frame type that [`decode`] knows.
pub const FRAME_TYPES: [&str; 11] = [
    "auth",
    "ping",
    "state",
    "message:send",
    "message:delivered",
    "message:read",
    "subscribe",
    "unsubscribe",
    "typing:start",
    "typing:stop",
    "presence:set",
];

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    frame_type: std::borrow::Cow<'a, str>,
    #[serde(rename = "ref", default)]
    reference: Option<Reference>,
    #[serde(default)]
    traceparent: Option<String>,
}

#[derive(Deserialize)]
struct StateBody {
    state: AppState,
}

/// Decodes one text frame.
///
/// # Errors
/// `bad_frame` for what is not a JSON object with a string `type`, `unknown_type` for a type that is not of this
/// version, `invalid` for a field that is missing or of the wrong type.
pub fn decode(text: &str) -> Result<Decoded, Box<Rejected>> {
    // serde would take an array for an object, field by field.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(reject_head(text));
    }
    let head: Head<'_> = serde_json::from_str(text).map_err(|_| reject_head(text))?;
    let frame = match &*head.frame_type {
        "message:send" => body::<Box<MessageSend>>(text)
            .and_then(checked_send)
            .map(ClientFrame::MessageSend),
        "ping" => Ok(ClientFrame::Ping),
        "message:delivered" => body(text).and_then(checked_receipt).map(ClientFrame::MessageDelivered),
        "message:read" => body(text).and_then(checked_receipt).map(ClientFrame::MessageRead),
        "auth" => body(text).map(ClientFrame::Auth),
        "subscribe" => body(text).map(ClientFrame::Subscribe),
        "unsubscribe" => body(text).map(ClientFrame::Unsubscribe),
        "typing:start" => body(text).map(ClientFrame::TypingStart),
        "typing:stop" => body(text).map(ClientFrame::TypingStop),
        "presence:set" => body(text).map(ClientFrame::PresenceSet),
        "state" => body::<StateBody>(text).map(|body| ClientFrame::State(body.state)),
        _ => Err(Refusal::new(
            Code::UnknownType,
            "this server does not know frames of this type",
        )),
    };
    match frame {
        Ok(frame) => Ok(Decoded {
            frame,
            reference: head.reference,
            traceparent: head.traceparent,
        }),
        Err(refusal) => Err(rejected(refusal, text)),
    }
}

fn body<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| {
        let half = error.is_syntax() && lenient::value_of(text).is_some();
        if half {
            half_a_character()
        } else {
            Refusal::invalid(describe(&error))
        }
    })
}

/// serde's words for what is wrong, without its position, which means nothing to somebody who built an object.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.rsplit_once(" at line ").map_or(text.as_str(), |(words, _)| words);
    words.chars().take(200).collect()
}

fn checked_send(send: Box<MessageSend>) -> Result<Box<MessageSend>, Refusal> {
    if send.conversation_id.is_empty() {
        return Err(Refusal::invalid("missing field `conversation_id`"));
    }
    Ok(send)
}

fn checked_receipt(receipt: ReceiptFrame) -> Result<ReceiptFrame, Refusal> {
    match (&receipt.seq, &receipt.server_id) {
        (Some(_), Some(_)) => Err(Refusal::invalid("give `seq` or `server_id`, not both")),
        (None, None) => Err(Refusal::invalid("missing field `seq` or `server_id`")),
        _ => Ok(receipt),
    }
}

fn reject_head(text: &str) -> Box<Rejected> {
    let refusal = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(map)) => match map.get("type") {
            Some(Value::String(_)) => Refusal::invalid("`ref` is a string or a number, `traceparent` a string"),
            Some(_) => Refusal::new(Code::BadFrame, "`type` must be a string"),
            None => Refusal::new(Code::BadFrame, "a frame needs a `type`"),
        },
        Ok(_) => Refusal::new(Code::BadFrame, "a frame is a JSON object"),
        Err(_) if lenient::value_of(text).is_some() => half_a_character(),
        Err(_) => Refusal::new(Code::BadFrame, "not valid JSON"),
    };
    rejected(refusal, text)
}

fn half_a_character() -> Refusal {
    Refusal::invalid("half a character: a text was cut within an emoji (a lone surrogate, \\uD800 to \\uDFFF)")
}

fn rejected(refusal: Refusal, text: &str) -> Box<Rejected> {
    let value = lenient::value_of(text).unwrap_or_default();
    Box::new(Rejected {
        refusal,
        reference: value.get("ref").and_then(|it| Reference::deserialize(it).ok()),
        client_id: value.get("client_id").and_then(Value::as_str).map(str::to_owned),
        is_object: value.is_object(),
        frame_type: value.get("type").and_then(Value::as_str).map(str::to_owned),
    })
}

/// Trims and checks the parts of a message that need no knowledge of the conversation.
///
/// # Errors
/// `invalid`, with what to change.
pub fn checked_text(send: &MessageSend) -> Result<&str, Refusal> {
    let text = send.text.trim();
    let attachments = send.attachments.as_deref().unwrap_or_default();
    if text.is_empty() && attachments.is_empty() {
        return Err(Refusal::invalid(
            "`text` is empty: write 1 to 4000 characters, or add an attachment",
        ));
    }
    if text.chars().nth(limits::TEXT_CHARS).is_some() {
        return Err(Refusal::invalid(
            "`text` is longer than 4000 characters: shorten or split it",
        ));
    }
    if attachments.len() > limits::ATTACHMENTS {
        return Err(Refusal::invalid(format!(
            "more than {} attachments",
            limits::ATTACHMENTS
        )));
    }
    let sane = |it: &Attachment| {
        !it.url.is_empty()
            && it.url.len() <= limits::URL_BYTES
            && it.name.chars().count() <= limits::NAME_CHARS
            && it.media_type.len() <= limits::ID_BYTES
    };
    if !attachments.iter().all(sane) {
        return Err(Refusal::invalid(
            "an attachment needs a `url` of at most 2048 bytes, a `name` and a `type`",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0190b6f0-7e2c-7c3a-8a50-0a0b0c0d0e0f";

    fn code(text: &str) -> Code {
        decode(text).unwrap_err().refusal.code
    }

    #[test]
    fn what_is_no_object_with_a_type_is_a_bad_frame() {
        for text in [
            "",
            "hello",
            "[]",
            "[\"ping\"]",
            "7",
            "null",
            "{}",
            r#"{"type":7}"#,
            r#"{"type":null}"#,
            "{\"type\":\"ping\"",
        ] {
            assert_eq!(code(text), Code::BadFrame, "{text}");
        }
    }

    #[test]
    fn only_what_is_no_json_object_closes_an_unauthenticated_socket() {
        assert!(!decode("hello").unwrap_err().is_object);
        assert!(!decode("[1]").unwrap_err().is_object);
        assert!(decode("{}").unwrap_err().is_object);
    }

    #[test]
    fn an_unknown_type_is_named_so() {
        assert_eq!(code(r#"{"type":"message:shout"}"#), Code::UnknownType);
    }

    #[test]
    fn a_field_of_the_wrong_type_is_invalid_and_echoes_ref_and_client_id() {
        let text =
            format!(r#"{{"type":"message:send","client_id":"{ID}","conversation_id":{{}},"text":"x","ref":"r1"}}"#);
        let rejected = decode(&text).unwrap_err();
        assert_eq!(rejected.refusal.code, Code::Invalid);
        assert_eq!(rejected.reference, Some(Reference::Text("r1".into())));
        assert_eq!(rejected.client_id.as_deref(), Some(ID));
    }

    #[test]
    fn half_a_character_is_invalid_and_echoes_ref_and_client_id() {
        let id = "01890000-0000-7000-8000-000000000000";
        let frame = |text: &str| {
            format!(r#"{{"type":"message:send","ref":"r","client_id":"{id}","conversation_id":"g","text":"{text}"}}"#)
        };
        for text in [r"cut \ud83d", r"\udc00 \ud83d\u0041", r"\\\ud83d"] {
            let rejected = decode(&frame(text)).unwrap_err();
            assert_eq!(rejected.refusal.code, Code::Invalid, "{text}");
            assert!(
                rejected.refusal.message.starts_with("half a character"),
                "{}",
                rejected.refusal.message
            );
            assert_eq!(rejected.client_id.as_deref(), Some(id));
            assert!(rejected.reference.is_some() && rejected.is_object);
        }
        for text in [r"\ud83d\ude00", r"\\ud83d", r"\u00e9"] {
            assert!(decode(&frame(text)).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_client_id_that_is_no_uuid_is_invalid_and_echoed() {
        let rejected =
            decode(r#"{"type":"message:send","client_id":"x","conversation_id":"c","text":"t"}"#).unwrap_err();
        assert_eq!(
            (rejected.refusal.code, rejected.client_id.as_deref()),
            (Code::Invalid, Some("x"))
        );
    }

    #[test]
    fn a_receipt_with_both_marks_or_none_is_invalid() {
        assert_eq!(code(r#"{"type":"message:read","conversation_id":"c"}"#), Code::Invalid);
        assert_eq!(
            code(r#"{"type":"message:read","conversation_id":"c","seq":1,"server_id":"s"}"#),
            Code::Invalid
        );
    }

    #[test]
    fn unknown_fields_are_ignored_and_a_number_is_a_ref() {
        let decoded = decode(r#"{"type":"ping","ref":7,"colour":{"deep":[1]}}"#).unwrap();
        assert_eq!(decoded.frame, ClientFrame::Ping);
        assert_eq!(decoded.reference, Some(Reference::Number(7.into())));
    }

    #[test]
    fn text_is_measured_in_characters_after_trimming() {
        let send = |text: String| MessageSend {
            client_id: ClientId::parse(ID).unwrap(),
            conversation_id: "c".into(),
            text,
            kind: MessageKind::Text,
            reply_to: None,
            attachments: None,
            retry: false,
        };
        assert_eq!(checked_text(&send("  hi \n".into())), Ok("hi"));
        assert!(checked_text(&send("ö".repeat(4_000))).is_ok());
        assert!(checked_text(&send("ö".repeat(4_001))).is_err());
        assert!(checked_text(&send(" \n\t ".into())).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_decoded_or_rejected_without_a_panic(text in ".{0,400}") {
            let _ = decode(&text);
        }

        #[test]
        fn any_json_in_any_field_is_decoded_or_rejected_without_a_panic(
            kind in prop::sample::select(vec!["auth", "ping", "state", "message:send", "message:read", "zzz"]),
            field in prop::sample::select(vec!["client_id", "conversation_id", "text", "ref", "token", "seq", "retry"]),
            value in prop::sample::select(vec!["null", "{}", "[]", "-1", "1e400", "18446744073709551616", "\"\"", "true",
                "\"\\ud800\"", "\"\\u0000\"", "[[[[[[]]]]]]", "{\"a\":{\"type\":\"ping\"}}"]),
        ) {
            let text = format!(r#"{{"type":"{kind}","{field}":{value},"{field}2":{value}}}"#);
            if let Err(rejected) = decode(&text) {
                prop_assert!(matches!(rejected.refusal.code, Code::BadFrame | Code::Invalid | Code::UnknownType));
            }
        }

        #[test]
        fn a_frame_cut_or_changed_anywhere_never_panics(at in 0usize..200, byte in any::<u8>()) {
            let whole = format!(r#"{{"type":"message:send","client_id":"{ID}","conversation_id":"g0","text":"höi","ref":"r"}}"#);
            let mut bytes = whole.into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes.clone()) { let _ = decode(&text); }
            bytes.truncate(at);
            if let Ok(text) = String::from_utf8(bytes) { let _ = decode(&text); }
        }
    }
}
