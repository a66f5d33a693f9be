//! What a line that the user entered means.

/// For `/help`.
pub(super) const HELP: [&str; 7] = [
    "/open N     open number N of the list; or /open USER, /open CONVERSATION",
    "/list       your conversations",
    "/history    older messages; PgUp and PgDn scroll",
    "/quit       leave, as Ctrl-C and Ctrl-D do",
    "//text      sends /text",
    "Alt-Enter   a new line; Esc closes this",
    "… on its way · ✓ sent · ✓✓ delivered · coloured ✓✓ read · ✗ refused",
];

/// A line's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Nothing to do.
    Empty,
    /// A message.
    Text(&'a str),
    /// Opens what is named.
    Open(&'a str),
    /// Lists the conversations.
    List,
    /// Loads older messages.
    History,
    /// Shows [`HELP`].
    Help,
    /// Leaves.
    Quit,
    /// A slash and something unknown.
    Unknown(&'a str),
}

/// Reads a line. Without an open room there is nobody to send to, so that a bare word says what to open.
pub(super) fn parse(line: &str, is_room_open: bool) -> Line<'_> {
    let line = line.trim();
    if line.is_empty() {
        return Line::Empty;
    }
    let Some(command) = line.strip_prefix('/') else {
        return if is_room_open {
            Line::Text(line)
        } else {
            Line::Open(line)
        };
    };
    if command.starts_with('/') {
        return Line::Text(command);
    }
    let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    match (name, argument.trim()) {
        ("open" | "o", argument) if !argument.is_empty() => Line::Open(argument),
        ("list" | "l" | "open" | "o", "") => Line::List,
        ("history", "") => Line::History,
        ("help" | "h" | "?", "") => Line::Help,
        ("quit" | "q" | "exit", "") => Line::Quit,
        _ => Line::Unknown(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_a_slash_and_a_doubled_slash_is_text() {
        for (line, meaning) in [
            ("  hi  ", Line::Text("hi")),
            ("", Line::Empty),
            ("/quit", Line::Quit),
            ("/open 2", Line::Open("2")),
            ("/open  ann b ", Line::Open("ann b")),
            ("/open", Line::List),
            ("/history", Line::History),
            ("//path", Line::Text("/path")),
            ("/shrug", Line::Unknown("/shrug")),
            ("/quit now", Line::Unknown("/quit now")),
        ] {
            assert_eq!(parse(line, true), meaning, "{line}");
        }
    }

    #[test]
    fn without_a_room_a_word_opens_one() {
        assert_eq!(parse("2", false), Line::Open("2"));
        assert_eq!(parse("/list", false), Line::List);
    }
}
