//! W3C trace context, as far as it is passed on.

/// Whether a text is a `traceparent` that can be passed on: version, trace, parent and flags in lower-case hexadecimal,
/// with neither id all zero. Those of versions that are longer are not.
pub fn is_traceparent(text: &str) -> bool {
    let mut parts = text.split('-');
    let [Some(version), Some(trace), Some(parent), Some(flags), None] = std::array::from_fn(|_| parts.next()) else {
        return false;
    };
    let hex = |part: &str, digits: usize| {
        let lower = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        part.len() == digits && part.bytes().all(lower)
    };
    let id = |part: &str, digits: usize| hex(part, digits) && part.bytes().any(|it| it != b'0');
    hex(version, 2) && version != "ff" && id(trace, 32) && id(parent, 16) && hex(flags, 2)
}

/// The id of the trace, of a [`traceparent`](is_traceparent); `None` of anything else.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    is_traceparent(traceparent)
        .then(|| traceparent.split('-').nth(1))
        .flatten()
}

/// Whether the caller wanted the trace to be recorded; `None` of what is no [`traceparent`](is_traceparent).
pub fn is_sampled(traceparent: &str) -> Option<bool> {
    let flags = is_traceparent(traceparent)
        .then(|| traceparent.rsplit('-').next())
        .flatten()?;
    u8::from_str_radix(flags, 16).ok().map(|flags| flags & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_one_with_ids_is_passed_on() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(good));
        assert_eq!(trace_id(good), Some("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(is_sampled(good), Some(true));
        assert_eq!(is_sampled(&good.replace("-01", "-02")), Some(false));
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\u{e9}",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
