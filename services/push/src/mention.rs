//! Whom a text names: `@` and the id of a member, as people write it, with spaces around it or, as in Chinese, without.

use std::collections::HashSet;

use protocol::UserId;
use protocol::limits::ID_BYTES;

/// The members whom the text names. The longest id that fits counts, so that `@ann.b` names `ann.b` where there is one, and
/// `ann` otherwise; an `@` inside a word, as in an address, names nobody.
pub(crate) fn named<'a>(text: &str, members: &'a [UserId]) -> HashSet<&'a UserId> {
    if !text.contains('@') {
        return HashSet::new();
    }
    let ids: std::collections::HashMap<&str, &UserId> = members.iter().map(|it| (it.as_str(), it)).collect();
    let mut before = None;
    let mut named = HashSet::new();
    for (at, character) in text.char_indices() {
        let is_begin = character == '@' && !before.is_some_and(|it: char| it.is_ascii_alphanumeric());
        before = Some(character);
        if is_begin {
            named.extend(longest(text[at + 1..].trim_start_matches(is_isolate), &ids));
        }
    }
    named
}

fn longest<'a>(rest: &str, ids: &std::collections::HashMap<&str, &'a UserId>) -> Option<&'a UserId> {
    let ends = rest
        .char_indices()
        .map(|(at, _)| at)
        .chain([rest.len()])
        .take_while(|at| *at <= ID_BYTES);
    let ends: Vec<usize> = ends.filter(|at| *at > 0).collect();
    ends.into_iter().rev().find_map(|end| {
        is_whole(&rest[..end], &rest[end..])
            .then(|| ids.get(&rest[..end]).copied())
            .flatten()
    })
}

/// Whether a word ends where `id` does. Scripts that are written without spaces go on with another word of theirs; what is
/// written around a word to set it off, as `_`, is not part of it.
fn is_whole(id: &str, after: &str) -> bool {
    let is_ascii = id.ends_with(|it: char| it.is_ascii());
    let goes_on = |it: char| it.is_ascii_alphanumeric() || (!is_ascii && it.is_alphanumeric());
    !after.trim_start_matches('_').starts_with(goes_on)
}

/// What apps put around a name so that its direction does not spread.
fn is_isolate(character: char) -> bool {
    ('\u{2066}'..='\u{2069}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_named_by_an_at_and_his_whole_id() {
        let members: Vec<UserId> = ["ann", "ann.b", "bob", "émile", "a b", "@x", "_"]
            .iter()
            .filter_map(|it| UserId::parse(it))
            .collect();
        let cases: [(&str, &[&str]); 21] = [
            ("hello ann", &[]),
            ("hello @ann", &["ann"]),
            ("@ann, are you there?", &["ann"]),
            ("@ann.b!", &["ann.b"]),
            ("@ann.", &["ann"]),
            ("@anna", &[]),
            ("@ann_", &["ann"]),
            ("_@ann_", &["ann"]),
            ("@ann_b", &[]),
            ("@ann你好", &["ann"]),
            ("你好@ann", &["ann"]),
            ("@annさん", &["ann"]),
            ("привет@bob", &["bob"]),
            ("@\u{2068}ann\u{2069}", &["ann"]),
            ("mail bob@ann", &[]),
            ("(@bob) @ann", &["ann", "bob"]),
            ("@émile", &["émile"]),
            ("see @a b", &["a b"]),
            ("@@x", &["@x"]),
            ("@", &[]),
            ("@BOB", &[]),
        ];
        for (text, expected) in cases {
            let mut found: Vec<&str> = named(text, &members).into_iter().map(UserId::as_str).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{text}");
        }
    }
}
