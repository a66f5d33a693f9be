//! The open conversation: its messages in order, and who has received and read what. Pure.
//!
//! `(conversation, seq)` identifies an event, so a message that comes twice, by socket and by HTTP, is there once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use protocol::http::{Conversation, History};
use protocol::rpc::ReceiptKind;
use protocol::server_frame::{MessageAck, MessageIncoming, Receipt};
use protocol::{ConversationId, Timestamp, UserId};

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

/// How far an own message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// In the log.
    Sent,
    /// On a device of every other member.
    Delivered,
    /// Read by every other member.
    Read,
}

#[derive(Debug, Clone, Copy, Default)]
struct Watermarks {
    delivered: u64,
    read: u64,
}

/// The room of one user.
#[derive(Debug)]
pub(super) struct Room {
    id: ConversationId,
    me: UserId,
    name: Option<String>,
    others: BTreeMap<UserId, Watermarks>,
    /// Members beside this user, those not listed included.
    others_count: usize,
    messages: BTreeMap<u64, Message>,
    has_older: bool,
    is_loaded: bool,
}

impl Room {
    /// An empty room; its history comes by [`Room::page`].
    pub(super) fn new(me: UserId, conversation: &Conversation) -> Self {
        let mut room = Self {
            id: conversation.conversation_id.clone(),
            me,
            name: None,
            others: BTreeMap::new(),
            others_count: 0,
            messages: BTreeMap::new(),
            has_older: false,
            is_loaded: false,
        };
        room.learn(conversation);
        room
    }

    /// Takes over name, members and watermarks as the server tells them; a watermark never falls.
    pub(super) fn learn(&mut self, conversation: &Conversation) {
        self.name.clone_from(&conversation.name);
        let listed = conversation.members.iter().filter(|it| it.user_id != self.me);
        let listed: BTreeMap<UserId, Watermarks> = listed
            .map(|it| {
                let known = self.others.get(&it.user_id).copied().unwrap_or_default();
                let delivered = known.delivered.max(it.delivered_seq);
                (
                    it.user_id.clone(),
                    Watermarks {
                        delivered,
                        read: known.read.max(it.read_seq),
                    },
                )
            })
            .collect();
        let total = conversation.member_count.and_then(|it| usize::try_from(it).ok());
        self.others_count = total.map_or(listed.len(), |total| total.saturating_sub(1));
        self.others = listed;
    }

    /// The conversation.
    pub(super) fn id(&self) -> &ConversationId {
        &self.id
    }

    /// A group's name, else the other members; not yet harmless.
    pub(super) fn title(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let names: Vec<&str> = self.others.keys().map(UserId::as_str).collect();
        names.join(", ")
    }

    /// The messages with their `seq`, oldest first.
    pub(super) fn messages(&self) -> impl DoubleEndedIterator<Item = (u64, &Message)> {
        self.messages.iter().map(|(seq, message)| (*seq, message))
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

    /// Takes another's watermark. False if it says nothing new.
    pub(super) fn receipt(&mut self, kind: ReceiptKind, receipt: &Receipt) -> bool {
        if receipt.user_id == self.me {
            return false;
        }
        let marks = self.others.entry(receipt.user_id.clone()).or_default();
        let mark = match kind {
            ReceiptKind::Delivered => &mut marks.delivered,
            ReceiptKind::Read => &mut marks.read,
        };
        let is_news = receipt.seq > *mark;
        *mark = receipt.seq.max(*mark);
        is_news
    }

    /// Forgets what came, for a log that may be another one; its history is to be loaded again.
    pub(super) fn reset(&mut self) {
        self.messages.clear();
        self.has_older = false;
        self.is_loaded = false;
        for marks in self.others.values_mut() {
            *marks = Watermarks::default();
        }
    }

    /// How far an own message at `seq` has come.
    pub(super) fn mark(&self, seq: u64) -> Mark {
        let reached = |mark: fn(&Watermarks) -> u64| {
            let count = self.others.values().filter(|it| mark(it) >= seq).count();
            count > 0 && count >= self.others_count
        };
        if reached(|it| it.read) {
            Mark::Read
        } else if reached(|it| it.delivered.max(it.read)) {
            Mark::Delivered
        } else {
            Mark::Sent
        }
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
    }
}

fn insert_new(messages: &mut BTreeMap<u64, Message>, seq: u64, message: Message) -> bool {
    match messages.entry(seq) {
        Entry::Vacant(place) => {
            place.insert(message);
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
