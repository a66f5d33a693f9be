//! The cursor: one position across all of a user's conversations.
//!
//! It is the vector of positions in the log's streams with the identity of those streams. It names no user and no
//! conversation, so it is no secret and grants nothing; what a session is sent is decided by its memberships.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

const VERSION: u8 = 1;
/// More streams than any deployment has; bounds what a forged cursor can make the server allocate.
const LANES_MOST: usize = 257;

/// A decoded cursor. Written as URL-safe base64: version, identity of the log, then a varint for each stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Identity of the set of streams that the positions are of.
    pub log: u64,
    /// For each stream in its fixed order, the last sequence that is behind the reader.
    pub positions: Vec<u64>,
}

impl Cursor {
    /// The text that clients store.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(10 + self.positions.len() * 4);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.log.to_be_bytes());
        for &position in &self.positions {
            let mut rest = position;
            while rest >= 0x80 {
                bytes.push((rest as u8 & 0x7f) | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` for anything that [`Cursor::encode`] cannot have written.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (&version, rest) = bytes.split_first()?;
        let (log, mut rest) = rest.split_first_chunk::<8>()?;
        if version != VERSION {
            return None;
        }
        let mut positions = Vec::new();
        while !rest.is_empty() {
            let (position, after) = varint(rest)?;
            positions.push(position);
            rest = after;
            if positions.len() > LANES_MOST {
                return None;
            }
        }
        Some(Self {
            log: u64::from_be_bytes(*log),
            positions,
        })
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value: u64 = 0;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * index as u32;
        if bits.leading_zeros() < shift {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            // One form for each number: no padding with empty groups.
            let padded = byte == 0 && index > 0;
            return (!padded).then(|| (value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(log in any::<u64>(), positions in prop::collection::vec(any::<u64>(), 0..20)) {
            let cursor = Cursor { log, positions };
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_in_its_one_form_or_none(text in "[A-Za-z0-9_-]{0,60}") {
            if let Some(cursor) = Cursor::decode(&text) {
                prop_assert_eq!(cursor.encode(), text);
            }
        }
    }
}
