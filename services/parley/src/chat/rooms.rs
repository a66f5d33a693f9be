//! The user's conversations as a living list, most recently active first. Pure; everything that comes out is harmless on
//! a terminal.

use protocol::http::Conversation;
use protocol::limits::UNREAD_MOST;
use protocol::server_frame::{ConversationType, MessageIncoming};
use protocol::{ConversationId, UserId};

use super::people::{self, People};
use super::{escape, room};

/// Longest piece of a message that stands in a list, characters.
const PREVIEW: usize = 50;

/// Most names that stand for a group without a name.
const NAMES: usize = 4;

/// Most conversations kept; the longest silent ones go first, and come back with their next message.
const MOST: usize = 500;

/// One conversation of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// To open it.
    pub(super) id: ConversationId,
    /// Its name, or who is in it.
    pub(super) title: String,
    /// The other one of a conversation of two.
    pub(super) peer: Option<UserId>,
    /// Messages of others that this user has not read; 100 means 100 or more.
    pub(super) unread: u32,
    /// Whether the title is a name, which stays when members come and go.
    pub(super) has_name: bool,
    preview: String,
    /// `seq` of the last message in it.
    newest: u64,
}

/// All of them; see the module.
#[derive(Debug)]
pub(super) struct Rooms {
    me: UserId,
    listed: Vec<Listed>,
    /// As they were numbered when they were last shown as lines: a number must not come to mean another one.
    numbered: Vec<ConversationId>,
}

impl Rooms {
    /// None yet.
    pub(super) fn new(me: UserId) -> Self {
        Self {
            me,
            listed: Vec::new(),
            numbered: Vec::new(),
        }
    }

    /// Most recently active first.
    pub(super) fn listed(&self) -> &[Listed] {
        &self.listed
    }

    /// Takes the server's list, in its order, for the one known.
    pub(super) fn replace(&mut self, conversations: &[Conversation]) {
        self.listed = conversations.iter().map(|it| entry(it, &self.me)).collect();
    }

    /// Takes a conversation as it is now; a new one stands first.
    pub(super) fn learn(&mut self, conversation: &Conversation) {
        let entry = entry(conversation, &self.me);
        match self.listed.iter_mut().find(|it| it.id == entry.id) {
            Some(known) => *known = entry,
            None => self.listed.insert(0, entry),
        }
        self.listed.truncate(MOST);
    }

    /// Takes a message, and whether the user has seen it already. False for a conversation that is not in the list.
    pub(super) fn message(&mut self, message: &MessageIncoming, is_seen: bool) -> bool {
        let Some(place) = self.listed.iter().position(|it| it.id == message.conversation_id) else {
            return false;
        };
        // A message that the list was read with is in its count.
        if message.seq > self.listed[place].newest {
            let mut entry = self.listed.remove(place);
            entry.newest = message.seq;
            entry.preview = preview_of(Some(message), &self.me);
            if message.sender_id != self.me && !is_seen {
                entry.unread = (entry.unread + 1).min(UNREAD_MOST);
            }
            self.listed.insert(0, entry);
        }
        true
    }

    /// A message of this client is in the log. False for a conversation that is not in the list.
    pub(super) fn sent(&mut self, id: &ConversationId, seq: u64, text: &str) -> bool {
        let Some(place) = self.listed.iter().position(|it| it.id == *id) else {
            return false;
        };
        if seq > self.listed[place].newest {
            let mut entry = self.listed.remove(place);
            entry.newest = seq;
            entry.preview = format!("you: {}", shortened(text));
            self.listed.insert(0, entry);
        }
        true
    }

    /// The user has read up to `seq`, here or elsewhere. False if it is unknown how much is unread now.
    pub(super) fn read(&mut self, id: &ConversationId, seq: u64) -> bool {
        match self.listed.iter_mut().find(|it| it.id == *id) {
            Some(entry) if seq >= entry.newest => {
                entry.unread = 0;
                true
            }
            Some(entry) => entry.unread == 0,
            None => true,
        }
    }

    /// Takes a new name.
    pub(super) fn rename(&mut self, id: &ConversationId, name: &str) {
        if let Some(entry) = self.listed.iter_mut().find(|it| it.id == *id) {
            (entry.title, entry.has_name) = (escape::line(name), true);
        }
    }

    /// The user is in it no more.
    pub(super) fn remove(&mut self, id: &ConversationId) {
        self.listed.retain(|it| it.id != *id);
    }

    /// One of the list.
    pub(super) fn get(&self, id: &ConversationId) -> Option<&Listed> {
        self.listed.iter().find(|it| it.id == *id)
    }

    /// The conversation that a number stood before when the list was last shown as lines.
    pub(super) fn numbered(&self, number: usize) -> Option<&ConversationId> {
        self.numbered.get(number.checked_sub(1)?)
    }

    /// The list as numbered lines, with how to go on.
    pub(super) fn lines(&mut self, people: &People) -> Vec<String> {
        self.numbered = self.listed.iter().map(|it| it.id.clone()).collect();
        if self.listed.is_empty() {
            return vec!["You have no conversations yet. Open one with somebody: /open USER".to_owned()];
        }
        let mut lines = vec!["Your conversations:".to_owned()];
        for (index, it) in self.listed.iter().enumerate() {
            let dot = match it.peer.as_ref().and_then(|peer| people.status(peer)) {
                Some(status) => format!("{} ", people::dot(status)),
                None => String::new(),
            };
            let unread = match it.unread {
                0 => String::new(),
                some => format!(" ({} unread)", count(some)),
            };
            lines.push(format!("{:>3}  {dot}{}{unread} — {}", index + 1, it.title, it.preview));
        }
        lines.push("Open one with /open and its number, or a new one with /open USER".to_owned());
        lines
    }
}

/// How many are unread, in digits.
pub(super) fn count(unread: u32) -> String {
    match unread {
        many if many >= UNREAD_MOST => format!("{UNREAD_MOST}+"),
        some => some.to_string(),
    }
}

/// A conversation's name, else who is in it: `others` by name, of `others_count`.
pub(super) fn title(name: Option<&str>, others: &[&str], others_count: usize) -> String {
    if let Some(name) = name {
        return escape::line(name);
    }
    let names: Vec<String> = others.iter().take(NAMES).map(|it| escape::line(it)).collect();
    match others_count {
        0 => "only you".to_owned(),
        all if all > names.len() => format!("{} and {} more", names.join(", "), all - names.len()),
        _ => names.join(", "),
    }
}

/// The beginning of a message.
pub(super) fn preview(message: &MessageIncoming) -> String {
    shortened(&room::body(message))
}

fn shortened(text: &str) -> String {
    let text = escape::line(text);
    match text.char_indices().nth(PREVIEW) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn preview_of(message: Option<&MessageIncoming>, me: &UserId) -> String {
    match message {
        None => "no messages yet".to_owned(),
        Some(last) if last.sender_id == *me => format!("you: {}", preview(last)),
        Some(last) => format!("{}: {}", escape::line(last.sender_id.as_str()), preview(last)),
    }
}

fn entry(conversation: &Conversation, me: &UserId) -> Listed {
    let others = conversation.members.iter().filter(|it| it.user_id != *me);
    let others: Vec<&UserId> = others.map(|it| &it.user_id).collect();
    let names: Vec<&str> = others.iter().map(|it| it.as_str()).collect();
    let total = conversation.member_count.and_then(|it| usize::try_from(it).ok());
    let is_direct = conversation.conversation_type == ConversationType::Direct;
    Listed {
        id: conversation.conversation_id.clone(),
        title: title(
            conversation.name.as_deref(),
            &names,
            total.map_or(names.len(), |it| it.saturating_sub(1)),
        ),
        peer: others.first().filter(|_| is_direct).map(|it| (*it).clone()),
        unread: conversation.unread,
        has_name: conversation.name.is_some(),
        preview: preview_of(conversation.last_message.as_ref(), me),
        newest: conversation.last_message.as_ref().map_or(0, |it| it.seq),
    }
}

#[cfg(test)]
#[path = "rooms_tests.rs"]
mod tests;
