//! Shortening a text so that a payload keeps within its provider's limit. Counts bytes as JSON writes them, since it is
//! the written payload that has a limit.

/// What stands for the rest.
const ELLIPSIS: &str = "…";

/// Writes a JSON payload with these two texts, as long as they may be: where the payload is longer than `most`,
/// a long title is shortened and then the body.
///
/// What is too long even without a body is returned as it is: its provider refuses it.
pub(crate) fn fit(
    most: usize,
    title: &str,
    body: &str,
    mut payload: impl FnMut(&str, &str) -> serde_json::Result<Vec<u8>>,
) -> serde_json::Result<Vec<u8>> {
    let whole = payload(title, body)?;
    if whole.len() <= most {
        return Ok(whole);
    }
    let title = shorten(title, most / 8);
    let without_body = payload(&title, "")?;
    let body = shorten(body, most.saturating_sub(without_body.len()));
    payload(&title, &body)
}

/// The text, or its longest beginning that takes `room` bytes in JSON together with an ellipsis. Empty where not even
/// that has room.
fn shorten(text: &str, room: usize) -> String {
    let mut bytes = 0;
    let mut end = 0;
    for (at, character) in text.char_indices() {
        if bytes + ELLIPSIS.len() <= room {
            end = at;
        }
        bytes += written(character);
        if bytes > room {
            let ellipsis = if ELLIPSIS.len() <= room { ELLIPSIS } else { "" };
            return format!("{}{ellipsis}", &text[..end]);
        }
    }
    text.to_owned()
}

/// Bytes of a character within a JSON string, as `serde_json` writes it.
fn written(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn payload(title: &str, body: &str) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&json!({ "title": title, "body": body, "n": 1 }))
    }

    #[test]
    fn a_text_with_room_stays() {
        assert_eq!(shorten("hello", 5), "hello");
        assert_eq!(shorten("", 0), "");
    }

    #[test]
    fn a_cut_is_marked_and_counts_escapes() {
        for (text, room, cut) in [
            ("hello", 4, "h…"),
            ("hello", 3, "…"),
            ("hello", 2, ""),
            ("äöü", 5, "ä…"),
            ("äöü", 4, "…"),
            ("\n\n\n", 5, "\n…"),
            ("a\u{1}b", 7, "a…"),
            ("👍👍", 7, "👍…"),
        ] {
            assert_eq!(shorten(text, room), cut, "{text:?} in {room}");
        }
    }

    proptest! {
        #[test]
        fn a_payload_is_json_within_the_limit_with_a_prefix_of_the_text(
            title in "\\PC{0,80}",
            body in "(\\PC|[\\x00-\\x1f\"\\\\]){0,400}",
            most in 200_usize..800,
        ) {
            let written = fit(most, &title, &body, payload).unwrap();
            prop_assert!(written.len() <= most);
            let read: Value = serde_json::from_slice(&written).unwrap();
            let got = read["body"].as_str().unwrap();
            if got != body {
                prop_assert!(body.starts_with(got.strip_suffix('…').unwrap()));
                // Not a character less than needed: the next one would not fit.
                let next = body[got.len() - '…'.len_utf8()..].chars().next().unwrap();
                prop_assert!(written.len() + super::written(next) > most);
            }
        }
    }
}
