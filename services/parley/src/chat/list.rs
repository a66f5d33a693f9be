//! The user's conversations as a list to choose from, and news of those that are not open. Pure; everything that comes
//! out is harmless on a terminal.

use protocol::http::{Conversation, Conversations};
use protocol::limits::UNREAD_MOST;
use protocol::server_frame::{ConversationCreated, ConversationType, MessageIncoming};
use protocol::{ConversationId, UserId};

use super::{escape, room};

/// Longest piece of a message that stands in a list, characters.
const PREVIEW: usize = 50;

/// Most names that stand for a group without a name.
const NAMES: usize = 4;

/// One conversation of the list; its number is its place, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// To open it.
    pub(super) id: ConversationId,
    title: String,
    unread: u32,
    preview: String,
}

/// The list, in the server's order: the most recently active first.
pub(super) fn listed(conversations: Conversations, me: &UserId) -> Vec<Listed> {
    conversations.conversations.iter().map(|it| entry(it, me)).collect()
}

fn entry(conversation: &Conversation, me: &UserId) -> Listed {
    let others: Vec<&str> = conversation.members.iter().map(|it| it.user_id.as_str()).collect();
    let preview = match &conversation.last_message {
        None => "no messages yet".to_owned(),
        Some(last) if last.sender_id == *me => format!("you: {}", preview(last)),
        Some(last) => format!("{}: {}", escape::line(last.sender_id.as_str()), preview(last)),
    };
    Listed {
        id: conversation.conversation_id.clone(),
        title: title(conversation.name.as_deref(), &others, me),
        unread: conversation.unread,
        preview,
    }
}

fn title(name: Option<&str>, members: &[&str], me: &UserId) -> String {
    if let Some(name) = name {
        return escape::line(name);
    }
    let others: Vec<String> = members
        .iter()
        .filter(|it| **it != me.as_str())
        .map(|it| escape::line(it))
        .collect();
    match others.len() {
        0 => "only you".to_owned(),
        count if count > NAMES => format!("{} and {} more", others[..NAMES].join(", "), count - NAMES),
        _ => others.join(", "),
    }
}

fn preview(message: &MessageIncoming) -> String {
    let text = escape::line(&room::body(message));
    match text.char_indices().nth(PREVIEW) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The list as lines, with how to go on.
pub(super) fn shown(listed: &[Listed]) -> Vec<String> {
    if listed.is_empty() {
        return vec!["You have no conversations yet. Open one with somebody: /open USER".to_owned()];
    }
    let mut lines = vec!["Your conversations:".to_owned()];
    for (index, it) in listed.iter().enumerate() {
        let unread = match it.unread {
            0 => String::new(),
            many if many >= UNREAD_MOST => format!(" ({UNREAD_MOST}+ unread)"),
            some => format!(" ({some} unread)"),
        };
        lines.push(format!("{:>3}  {}{unread} — {}", index + 1, it.title, it.preview));
    }
    lines.push("Open one with /open and its number, or a new one with /open USER".to_owned());
    lines
}

/// News of a message in a conversation that is not open.
pub(super) fn elsewhere(message: &MessageIncoming) -> String {
    let sender = escape::line(message.sender_id.as_str());
    let id = message.conversation_id.as_str();
    match id.starts_with('d') {
        true => format!("{sender} writes: {} (/open {sender})", preview(message)),
        false => format!("{sender} writes in a group: {} (/open {id})", preview(message)),
    }
}

/// News of a conversation that somebody made.
pub(super) fn announced(created: &ConversationCreated) -> String {
    let by = escape::line(created.by.as_str());
    match created.conversation_type {
        ConversationType::Direct => format!("{by} has opened a conversation with you (/open {by})"),
        ConversationType::Group => {
            let name = created.name.as_deref().map(escape::line).unwrap_or_default();
            format!(
                "{by} has added you to the group {name} (/open {})",
                created.conversation_id.as_str()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conversations(unread: u32, text: &str) -> Conversations {
        let id = "d00000000000000000000000000000000";
        let member = |name: &str| json!({"user_id": name, "role": "member", "read_seq": 0, "delivered_seq": 0});
        let last = json!({"server_id": format!("{id}-2"), "client_id": "0190b6f0-7e2c-7c3a-8a50-0a0b0c0d0e0f",
            "conversation_id": id, "seq": 2, "sender_id": "b\u{1b}ob", "text": text, "kind": "text",
            "timestamp": "2026-11-22T01:02:03.456Z"});
        serde_json::from_value(
            json!({"conversations": [{"conversation_id": id, "type": "direct", "seq": 2,
            "members": [member("ann"), member("b\u{1b}ob")], "created_at": "2026-11-22T01:02:03.456Z",
            "last_message": last, "read_seq": 0, "unread": unread}]}),
        )
        .unwrap()
    }

    #[test]
    fn a_line_names_the_other_the_unread_and_the_last_words() {
        let me = UserId::parse("ann").unwrap();
        let lines = shown(&listed(conversations(3, "hi\nthere\u{1b}[2J"), &me));
        assert_eq!(
            lines[1],
            "  1  b\\u{1b}ob (3 unread) — b\\u{1b}ob: hi\\nthere\\u{1b}[2J"
        );
        let lines = shown(&listed(conversations(100, &"x".repeat(60)), &me));
        assert!(
            lines[1].contains("(100+ unread)") && lines[1].ends_with("xx…"),
            "{}",
            lines[1]
        );
    }

    #[test]
    fn a_group_without_a_name_is_its_members() {
        let me = UserId::parse("a").unwrap();
        assert_eq!(title(None, &["a", "b", "c"], &me), "b, c");
        assert_eq!(
            title(None, &["a", "b", "c", "d", "e", "f", "g"], &me),
            "b, c, d, e and 2 more"
        );
        assert_eq!(title(None, &["a"], &me), "only you");
        assert_eq!(title(Some("Team"), &["a"], &me), "Team");
    }
}
