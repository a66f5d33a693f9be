//! Reading as much as can be read of JSON that is wrong in one way: a text in it was cut within a character.

use serde_json::Value;

/// A frame as far as it can be read: also with a lone surrogate, which `JSON.stringify` writes where a text was cut within an
/// emoji. Whoever sent it must be able to tell which frame was wrong.
pub(crate) fn value_of(text: &str) -> Option<Value> {
    let read = |text: &str| serde_json::from_str(text).ok();
    read(text).or_else(|| read(&without_lone_surrogates(text)))
}

/// The text of a JSON document with U+FFFD for each escape of half a character.
fn without_lone_surrogates(text: &str) -> String {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let (mut whole, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(next) = text[at..].find('\\').map(|it| at + it) {
        whole.push_str(&text[at..next]);
        let (length, lone) = match (unit(next), unit(next + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (12, false),
            (Some(0xD800..=0xDFFF), _) => (6, true),
            // Another escape: both of its characters, so that the second one begins none.
            _ => (1 + text[next + 1..].chars().next().map_or(0, char::len_utf8), false),
        };
        whole.push_str(if lone { "\\ufffd" } else { &text[next..next + length] });
        at = next + length;
    }
    whole + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_escapes_of_half_a_character_are_replaced() {
        let cases = [
            (r"\ud83d\ude00", r"\ud83d\ude00"),
            (r"a\ud83d", r"a\ufffd"),
            (r"\ude00\ud83d\u0041é", r"\ufffd\ufffd\u0041é"),
            (r"\\ud83d", r"\\ud83d"),
            (r"\\\ud83d\", r"\\\ufffd\"),
            (r"\n\u00e9\ud8", r"\n\u00e9\ud8"),
        ];
        for (text, whole) in cases {
            assert_eq!(without_lone_surrogates(text), whole);
        }
    }
}
