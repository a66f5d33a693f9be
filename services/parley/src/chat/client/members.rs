//! Who comes into conversations, who goes, and what they are called.

use std::time::Instant;

use protocol::server_frame::{ConversationCreated, ConversationUpdated, MemberAdded, MemberRemoved};
use protocol::{ConversationId, Timestamp};

use super::{Client, Output, Request};
use crate::chat::news;
use crate::chat::room::Note;

impl Client {
    pub(super) fn on_created(&mut self, created: &ConversationCreated) {
        if created.by != self.me {
            self.outputs.push(Output::Notice(news::created(created)));
        }
        if self.rooms.get(&created.conversation_id).is_none() {
            self.look(&created.conversation_id, created.seq);
        }
    }

    pub(super) fn on_updated(&mut self, updated: &ConversationUpdated) {
        let id = &updated.conversation_id;
        if let Some(name) = &updated.name {
            self.rooms.rename(id, name);
        }
        let Some(room) = self.room.as_mut().filter(|it| it.id() == id) else {
            return;
        };
        if let Some(name) = &updated.name {
            room.rename(name);
        }
        room.members.set_roles(&updated.roles);
        let sentences = news::updated(updated, &self.me);
        self.happened(id, updated.seq, updated.timestamp, &sentences.join("; "));
    }

    pub(super) fn on_added(&mut self, added: &MemberAdded, now: Instant) {
        let id = &added.conversation_id;
        let is_me = added.user_ids.contains(&self.me);
        match &added.conversation {
            Some(conversation) if is_me => self.rooms.learn(conversation),
            _ if is_me => self.look(id, added.seq),
            _ => self.title_changed(id, added.seq),
        }
        let Some(room) = self.room.as_mut().filter(|it| it.id() == id) else {
            if is_me {
                self.outputs.push(Output::Notice(news::added_to(added)));
            }
            return;
        };
        room.members.add(added);
        self.happened(id, added.seq, added.timestamp, &news::added(added, &self.me));
        self.ask_soon(now);
    }

    pub(super) fn on_removed(&mut self, removed: &MemberRemoved, now: Instant) {
        let id = &removed.conversation_id;
        if removed.user_ids.contains(&self.me) {
            return self.leave(id, Some(removed), now);
        }
        self.title_changed(id, removed.seq);
        let Some(room) = self.room.as_mut().filter(|it| it.id() == id) else {
            return;
        };
        room.members.remove(removed);
        for user in &removed.user_ids {
            self.live.stopped(user);
        }
        self.happened(id, removed.seq, removed.timestamp, &news::removed(removed, &self.me));
    }

    /// The user is in the conversation no more: by the event, because the server has taken his wish to leave, or
    /// because it knows nothing of the conversation when everything is read again.
    pub(super) fn leave(&mut self, id: &ConversationId, removed: Option<&MemberRemoved>, now: Instant) {
        let listed = self.rooms.get(id).map(|it| it.title.clone());
        let is_open = self.is_open(id);
        if listed.is_none() && !is_open {
            return;
        }
        let title = self.room.as_ref().filter(|_| is_open).map(|it| it.title()).or(listed);
        self.rooms.remove(id);
        self.receipts.forget(id);
        let words = match (removed, &title) {
            (Some(removed), _) => news::removed_from(removed, title.as_deref(), &self.me),
            (None, Some(title)) => format!("you are not in {title} any more"),
            (None, None) => return,
        };
        if !is_open {
            return self.outputs.push(Output::Notice(words));
        }
        self.close(now);
        self.outputs.push(Output::Page(vec![
            words,
            "This conversation is closed; /list shows the others".to_owned(),
        ]));
    }

    /// A group without a name is called by its members.
    fn title_changed(&mut self, id: &ConversationId, seq: u64) {
        if self.rooms.get(id).is_some_and(|it| !it.has_name) {
            self.look(id, seq);
        }
    }

    /// A grey line in the open room.
    fn happened(&mut self, id: &ConversationId, seq: u64, at: Timestamp, text: &str) {
        let Some(room) = self.room.as_mut().filter(|it| it.id() == id) else {
            return;
        };
        let note = Note {
            at,
            text: text.to_owned(),
        };
        if room.note(seq, note) {
            self.outputs.push(Output::Happened(text.to_owned()));
        }
    }

    /// Everything is to be read again.
    pub(super) fn list_again(&mut self) {
        self.requests.push(Request::List(false));
    }
}
