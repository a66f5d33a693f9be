//! Percent-encoding in paths and queries.

/// A form-encoded text: `%XX` and `+`. `None` where it is none, or not UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_none() {
        assert_eq!(decode("a+b%2Cc%C3%A9").as_deref(), Some("a b,c\u{e9}"));
        for text in ["%ff", "%", "%4", "%zz", "%C3"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
