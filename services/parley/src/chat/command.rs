//! What a line that the user entered means.

use protocol::client_frame::ChosenStatus;
use protocol::http::Role;

/// For `/help`.
pub(super) const HELP: [&str; 15] = [
    "/open N     open number N of the list; or /open USER, /open CONVERSATION",
    "/list       your conversations; Tab chooses one",
    "/history    older messages; PgUp and PgDn scroll",
    "/group USER…          a new group with them",
    "/invite USER…         add them to this group",
    "/remove USER          take somebody out of it; /leave leaves it",
    "/role USER admin      make somebody an admin, or a member again",
    "/name NEW NAME        give it another name",
    "/who        who is in it, as what, and who is online",
    "/status S   how you appear: online, away, dnd, invisible",
    "/quit       leave the program, as Ctrl-C and Ctrl-D do",
    "//text      sends /text",
    "Alt-Enter   a new line; Esc closes this",
    "… on its way · ✓ sent · ✓✓ delivered · coloured ✓✓ read by all · ✗ refused",
    "● online · ◐ away · ⊖ not to be disturbed · ○ offline",
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
    /// Makes a group with those named.
    Group(&'a str),
    /// Adds those named.
    Invite(&'a str),
    /// Removes one.
    Remove(&'a str),
    /// Leaves the conversation.
    Leave,
    /// Gives somebody a role.
    Role(&'a str, Role),
    /// Gives the group a name.
    Name(&'a str),
    /// Lists the members.
    Who,
    /// How the user appears from now on.
    Status(ChosenStatus),
    /// Shows [`HELP`].
    Help,
    /// Leaves the program.
    Quit,
    /// A command with the wrong words behind it: how it is used.
    Usage(&'static str),
    /// A slash and something unknown.
    Unknown(&'a str),
}

/// Reads a line. Where nothing was ever open there is nobody to send to, so that a bare word says what to open.
pub(super) fn parse(line: &str, bare_opens: bool) -> Line<'_> {
    let line = line.trim();
    if line.is_empty() {
        return Line::Empty;
    }
    let Some(command) = line.strip_prefix('/') else {
        return if bare_opens { Line::Open(line) } else { Line::Text(line) };
    };
    if command.starts_with('/') {
        return Line::Text(command);
    }
    let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    match (name, argument.trim()) {
        ("open" | "o", argument) if !argument.is_empty() => Line::Open(argument),
        ("list" | "l" | "open" | "o", "") => Line::List,
        ("history", "") => Line::History,
        ("group", "") => Line::Usage("/group USER…"),
        ("group", users) => Line::Group(users),
        ("invite", "") => Line::Usage("/invite USER…"),
        ("invite", users) => Line::Invite(users),
        ("remove", "") => Line::Usage("/remove USER"),
        ("remove", user) => Line::Remove(user),
        ("leave", "") => Line::Leave,
        ("role", argument) => role(argument),
        ("name", "") => Line::Usage("/name NEW NAME"),
        ("name", name) => Line::Name(name),
        ("who" | "w", "") => Line::Who,
        ("status", argument) => status(argument),
        ("help" | "h" | "?", "") => Line::Help,
        ("quit" | "q" | "exit", "") => Line::Quit,
        _ => Line::Unknown(line),
    }
}

fn role(argument: &str) -> Line<'_> {
    let role = match argument.rsplit_once(char::is_whitespace) {
        Some((user, "admin")) => Some((user, Role::Admin)),
        Some((user, "member")) => Some((user, Role::Member)),
        _ => None,
    };
    role.map_or(Line::Usage("/role USER admin, or /role USER member"), |(user, role)| {
        Line::Role(user.trim_end(), role)
    })
}

fn status(argument: &str) -> Line<'_> {
    Line::Status(match argument {
        "online" => ChosenStatus::Online,
        "away" => ChosenStatus::Away,
        "dnd" => ChosenStatus::Dnd,
        "invisible" => ChosenStatus::Invisible,
        _ => return Line::Usage("/status online, away, dnd or invisible"),
    })
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
            ("/invite bob  carl", Line::Invite("bob  carl")),
            ("/remove", Line::Usage("/remove USER")),
            ("/leave", Line::Leave),
            ("/role ann b  admin", Line::Role("ann b", Role::Admin)),
            ("/name The Team ", Line::Name("The Team")),
            ("/status dnd", Line::Status(ChosenStatus::Dnd)),
            ("//path", Line::Text("/path")),
            ("/shrug", Line::Unknown("/shrug")),
            ("/quit now", Line::Unknown("/quit now")),
            ("/leave bob", Line::Unknown("/leave bob")),
        ] {
            assert_eq!(parse(line, false), meaning, "{line}");
        }
        for line in ["/role bob owner", "/role bob", "/status", "/status gone", "/group"] {
            assert!(matches!(parse(line, false), Line::Usage(_)), "{line}");
        }
    }

    #[test]
    fn where_nothing_is_open_a_word_opens_it() {
        assert_eq!(parse("2", true), Line::Open("2"));
        assert_eq!(parse("/list", true), Line::List);
    }
}
