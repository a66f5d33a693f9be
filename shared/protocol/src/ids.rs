//! Identifiers. Made by the server (conversation, server id), by the client (client id) or by the issuer of tokens (user).
//!
//! A value of these types has been checked once, at the edge; inside nobody checks again. Of a user id nothing is known
//! but its length: it never stands in a subject or a query unescaped.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::limits::ID_BYTES;

/// A user, as the token's `sub` names him: any string of 1 to 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// `None` if empty or longer than 128 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= ID_BYTES).then(|| Self(text.into()))
    }

    /// The id as the issuer wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A conversation: `d` (direct) or `g` (group) and 32 lower-case hexadecimal digits; safe in a NATS subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationId(Arc<str>);

impl ConversationId {
    /// `None` if no server can have made this id.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, digits) = (text.as_bytes().first()?, text.get(1..)?);
        let known_kind = matches!(kind, b'd' | b'g');
        let hex = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (known_kind && hex).then(|| Self(text.into()))
    }

    /// The one direct conversation of two users: the same whichever of them asks.
    pub fn direct(one: &UserId, other: &UserId) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        Self::derived('d', &[low.as_str(), high.as_str()])
    }

    /// The group that a creator made under a client id: a retry finds the same.
    pub fn group(creator: &UserId, client_id: &ClientId) -> Self {
        Self::derived('g', &[creator.as_str(), &client_id.canonical()])
    }

    /// Hashes the parts with their lengths, so that no two lists of parts meet.
    fn derived(kind: char, parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut text = String::with_capacity(33);
        text.push(kind);
        for byte in digest.iter().take(16) {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        Self(text.into())
    }

    /// The id as written on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition of the log that holds this conversation: FNV-1a (64 bit) of the id, modulo the number of
    /// partitions. Part of the stored format: it may never change.
    pub fn partition(&self, partitions: u16) -> u16 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in self.0.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        (hash % u64::from(partitions.max(1))) as u16
    }
}

/// A message, as the server names it: its conversation and its `seq`. Opaque to clients.
///
/// It names a place in the conversation rather than a random number, so that finding a message never needs an index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerId {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The message's `seq`, from 1.
    pub seq: u64,
}

impl ServerId {
    /// `None` if no server can have made this id.
    pub fn parse(text: &str) -> Option<Self> {
        let (conversation, seq) = text.split_once('-')?;
        let canonical = !seq.starts_with('0') && seq.bytes().all(|b| b.is_ascii_digit());
        let seq = seq.parse().ok().filter(|_| canonical)?;
        Some(Self {
            conversation_id: ConversationId::parse(conversation)?,
            seq,
        })
    }
}

/// A message's id as its sender's client made it: a hyphenated UUID, best version 7.
///
/// Compared without regard to case, echoed exactly as written: some platforms write UUIDs in capitals.
#[derive(Debug, Clone)]
pub struct ClientId {
    uuid: Uuid,
    written: Arc<str>,
}

impl ClientId {
    /// `None` unless it is a UUID in its 36-character form.
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == 36)?;
        Some(Self {
            uuid,
            written: text.into(),
        })
    }

    /// A fresh version-7 id from this machine's clock, for our own clients.
    pub fn generate() -> Self {
        let uuid = Uuid::now_v7();
        Self {
            uuid,
            written: uuid.to_string().into(),
        }
    }

    /// As the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Lower-case hyphenated: equal for equal ids.
    pub fn canonical(&self) -> String {
        self.uuid.hyphenated().to_string()
    }

    /// The 128 bits.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// Milliseconds since the epoch at which a version-7 id says it was made; `None` for other versions.
    pub fn made_at_ms(&self) -> Option<i64> {
        if self.uuid.get_version_num() != 7 {
            return None;
        }
        let (seconds, nanos) = self.uuid.get_timestamp()?.to_unix();
        i64::try_from(seconds.checked_mul(1_000)? + u64::from(nanos / 1_000_000)).ok()
    }
}

impl PartialEq for ClientId {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}

impl Eq for ClientId {}

impl std::hash::Hash for ClientId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl std::fmt::Display for ServerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.conversation_id.as_str(), self.seq)
    }
}

macro_rules! wire_string {
    ($type:ty, $shape:literal, $self:ident => $text:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&$self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&$text)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| de::Error::custom($shape))
            }
        }
    };
}

wire_string!(UserId, "a user id is a string of 1 to 128 bytes", self => self.0);
wire_string!(ConversationId, "not a conversation id", self => self.0);
wire_string!(ServerId, "not a server id", self => self);
wire_string!(ClientId, "a client_id is a UUID in its 36-character form", self => self.written);

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    #[test]
    fn a_direct_conversation_is_the_same_from_both_sides() {
        assert_eq!(
            ConversationId::direct(&user("ann"), &user("bob")),
            ConversationId::direct(&user("bob"), &user("ann"))
        );
    }

    #[test]
    fn user_ids_that_join_to_the_same_text_do_not_meet() {
        assert_ne!(
            ConversationId::direct(&user("a"), &user("bc")),
            ConversationId::direct(&user("ab"), &user("c"))
        );
    }

    #[test]
    fn the_partition_of_a_known_id_never_changes() {
        let id = ConversationId::direct(&user("ann"), &user("bob"));
        assert_eq!(id.as_str(), "de59d9b89ccb0b1131b8f81c43783c453");
        assert_eq!(id.partition(4), 0);
        assert_eq!(
            ConversationId::parse("g00000000000000000000000000000000")
                .unwrap()
                .partition(16),
            6
        );
    }

    #[test]
    fn ids_with_wildcards_or_dots_are_no_conversation_ids() {
        for text in [
            "",
            "g",
            "g*",
            ">",
            "g.00000000000000000000000000000000",
            "g0000000000000000000000000000000G",
            "é",
        ] {
            assert_eq!(ConversationId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_server_id_is_read_back_and_only_in_its_one_form() {
        let id = ServerId {
            conversation_id: ConversationId::direct(&user("a"), &user("b")),
            seq: 42,
        };
        assert_eq!(ServerId::parse(&id.to_string()), Some(id.clone()));
        let conversation = id.conversation_id.as_str();
        for seq in ["", "0", "042", "+42", "-1", "99999999999999999999999"] {
            assert_eq!(ServerId::parse(&format!("{conversation}-{seq}")), None, "{seq}");
        }
    }

    #[test]
    fn a_client_id_in_capitals_is_the_same_id_and_is_echoed_as_written() {
        let small = ClientId::parse("0190b6f0-7e2c-7c3a-8a50-0a0b0c0d0e0f").unwrap();
        let big = ClientId::parse("0190B6F0-7E2C-7C3A-8A50-0A0B0C0D0E0F").unwrap();
        assert_eq!(small, big);
        assert_eq!(big.as_str(), "0190B6F0-7E2C-7C3A-8A50-0A0B0C0D0E0F");
        assert_eq!(ClientId::parse("0190b6f07e2c7c3a8a500a0b0c0d0e0f"), None);
    }

    #[test]
    fn only_a_version_7_id_tells_its_age() {
        assert_eq!(
            ClientId::parse("0190b6f0-7e2c-7c3a-8a50-0a0b0c0d0e0f")
                .unwrap()
                .made_at_ms(),
            Some(0x0190_b6f0_7e2c)
        );
        assert_eq!(
            ClientId::parse("9c5b94b1-35ad-49bb-b118-8e8fc24abf80")
                .unwrap()
                .made_at_ms(),
            None
        );
    }
}
