//! The open conversation: its messages and what happened between them, in order. Pure.
//!
//! `(conversation, seq)` identifies an event, so a message that comes twice, by socket and by HTTP, is there once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use protocol::http::{Conversation, History};
use protocol::server_frame::{ConversationType, MessageAck, MessageIncoming};
use protocol::{ConversationId, Timestamp, UserId};

use super::members::Members;
use super::rooms;

/// Most messages kept; the oldest go first, and can be loaded again.
const MOST: usize = 2_000;

/// A message that is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Who wrote it.
    pub(super) sender: UserId,
    /// Text and attachments, as they came: not yet harmless.
    pub(super) body: String,
    /// When the server accepted it.
    pub(super) at: Timestamp,
    /// Whether this client sent it.
    pub(super) is_from_here: bool,
}

/// Something that happened between the messages: who came and went, a new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// When.
    pub(super) at: Timestamp,
    /// What; harmless on a terminal.
    pub(super) text: String,
}

/// The room of one user.
#[derive(Debug)]
pub(super) struct Room {
    id: ConversationId,
    me: UserId,
    kind: ConversationType,
    name: Option<String>,
    /// Who is in it, and how far the messages have come with them.
    pub(super) members: Members,
    messages: BTreeMap<u64, Message>,
    notes: BTreeMap<u64, Note>,
    has_older: bool,
    is_loaded: bool,
}

impl Room {
    /// An empty room; its history comes by [`Room::page`].
    pub(super) fn new(me: UserId, conversation: &Conversation) -> Self {
        let mut room = Self {
            id: conversation.conversation_id.clone(),
            members: Members::new(me.clone()),
            me,
            kind: conversation.conversation_type,
            name: None,
            messages: BTreeMap::new(),
            notes: BTreeMap::new(),
            has_older: false,
            is_loaded: false,
        };
        room.learn(conversation);
        room
    }

    /// Takes over name, members and watermarks as the server tells them.
    pub(super) fn learn(&mut self, conversation: &Conversation) {
        self.name.clone_from(&conversation.name);
        self.members.learn(conversation);
    }

    /// The conversation.
    pub(super) fn id(&self) -> &ConversationId {
        &self.id
    }

    /// A group's name, else the other members; harmless on a terminal.
    pub(super) fn title(&self) -> String {
        let others: Vec<&str> = self.members.others().map(UserId::as_str).collect();
        rooms::title(self.name.as_deref(), &others, self.members.count() - 1)
    }

    /// Takes a new name.
    pub(super) fn rename(&mut self, name: &str) {
        self.name = Some(name.to_owned());
    }

    /// The other one of a conversation of two.
    pub(super) fn peer(&self) -> Option<&UserId> {
        match self.kind {
            ConversationType::Direct => self.members.others().next(),
            ConversationType::Group => None,
        }
    }

    /// The messages with their `seq`, oldest first.
    pub(super) fn messages(&self) -> impl DoubleEndedIterator<Item = (u64, &Message)> {
        self.messages.iter().map(|(seq, message)| (*seq, message))
    }

    /// What happened between the messages, with the `seq` of each, oldest first.
    pub(super) fn notes(&self) -> impl Iterator<Item = (u64, &Note)> {
        self.notes.iter().map(|(seq, note)| (*seq, note))
    }

    /// Takes what happened at `seq`. False if it was there.
    pub(super) fn note(&mut self, seq: u64, note: Note) -> bool {
        let is_new = insert_new(&mut self.notes, seq, note);
        self.trim();
        is_new
    }

    /// Whether the newest page of history has come.
    pub(super) fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    /// Where the next older page ends, while there is one.
    pub(super) fn older(&self) -> Option<u64> {
        let first = *self.messages.first_key_value()?.0;
        (self.has_older && self.messages.len() < MOST).then_some(first)
    }

    /// Takes a message, and whether this client sent it. False if it was there.
    pub(super) fn insert(&mut self, incoming: &MessageIncoming, is_from_here: bool) -> bool {
        let new = self.put(incoming, is_from_here);
        self.trim();
        new
    }

    /// Takes an own message at the place that its ack names. False if it was there.
    pub(super) fn ack(&mut self, ack: &MessageAck, body: String) -> bool {
        let message = Message {
            sender: self.me.clone(),
            body,
            at: ack.timestamp,
            is_from_here: true,
        };
        let new = insert_new(&mut self.messages, ack.seq, message);
        self.trim();
        new
    }

    /// Takes a page of history: the newest one if nothing was loaded, else an older one.
    pub(super) fn page(&mut self, history: &History) {
        self.is_loaded = true;
        self.has_older = history.more;
        for message in &history.messages {
            self.put(message, false);
        }
    }

    /// Forgets what came, for a log that may be another one; its history is to be loaded again.
    pub(super) fn reset(&mut self) {
        self.messages.clear();
        self.notes.clear();
        self.has_older = false;
        self.is_loaded = false;
        self.members.forget_marks();
    }

    /// The newest message.
    pub(super) fn newest(&self) -> Option<u64> {
        self.messages.last_key_value().map(|(seq, _)| *seq)
    }

    /// The newest message of somebody else.
    pub(super) fn newest_of_others(&self) -> Option<u64> {
        let mut newest_first = self.messages.iter().rev();
        newest_first
            .find(|(_, message)| message.sender != self.me)
            .map(|(seq, _)| *seq)
    }

    fn put(&mut self, incoming: &MessageIncoming, is_from_here: bool) -> bool {
        let (sender, at) = (incoming.sender_id.clone(), incoming.timestamp);
        let message = Message {
            sender,
            body: body(incoming),
            at,
            is_from_here,
        };
        insert_new(&mut self.messages, incoming.seq, message)
    }

    fn trim(&mut self) {
        while self.messages.len() > MOST {
            self.messages.pop_first();
            self.has_older = true;
        }
        while self.notes.len() > MOST {
            self.notes.pop_first();
        }
    }
}

fn insert_new<T>(events: &mut BTreeMap<u64, T>, seq: u64, event: T) -> bool {
    match events.entry(seq) {
        Entry::Vacant(place) => {
            place.insert(event);
            true
        }
        Entry::Occupied(_) => false,
    }
}

/// What there is to read of a message: its text, and a line for each attachment.
pub(super) fn body(message: &MessageIncoming) -> String {
    let files = message
        .attachments
        .iter()
        .map(|it| format!("[{}: {}]", it.name, it.url));
    let text = (!message.text.is_empty()).then(|| message.text.clone());
    text.into_iter().chain(files).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
