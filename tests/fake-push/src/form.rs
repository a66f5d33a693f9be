//! Forms as browsers and OAuth clients post them: `application/x-www-form-urlencoded`.

/// The fields of a form, decoded. What is not UTF-8 is replaced.
pub(crate) fn fields(form: &[u8]) -> impl Iterator<Item = (String, String)> + '_ {
    form.split(|it| *it == b'&').filter(|it| !it.is_empty()).map(|pair| {
        let at = pair.iter().position(|it| *it == b'=').unwrap_or(pair.len());
        (decoded(&pair[..at]), decoded(pair.get(at + 1..).unwrap_or_default()))
    })
}

/// One field, or nothing.
pub(crate) fn field(form: &[u8], name: &str) -> Option<String> {
    fields(form).find(|(it, _)| it == name).map(|(_, value)| value)
}

fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let escaped = text.get(at + 1..at + 3).and_then(|it| {
            let digits = std::str::from_utf8(it).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        match (byte, escaped) {
            (b'%', Some(value)) => {
                bytes.push(value);
                at += 3;
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_spaces_are_decoded_and_broken_escapes_stay() {
        let read: Vec<(String, String)> = fields(b"a=1%2B1&b+c=d+e&f&=g&h=%zz%2").collect();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            read,
            [
                pair("a", "1+1"),
                pair("b c", "d e"),
                pair("f", ""),
                pair("", "g"),
                pair("h", "%zz%2")
            ]
        );
        assert_eq!(field(b"x=1&y=2", "y").as_deref(), Some("2"));
        assert_eq!(field(b"x=1", "z"), None);
    }
}
