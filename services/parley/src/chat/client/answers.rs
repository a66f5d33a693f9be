//! What the answer to an HTTP request does to the client.

use std::time::Instant;

use protocol::ConversationId;
use protocol::http::{Conversation, Conversations, History};
use protocol::rpc::ReceiptKind;

use super::{Answer, Client, Output, READ_AGAIN, Request};
use crate::chat::api::{Failure, Target};
use crate::chat::room;

impl Client {
    pub(in crate::chat) fn on_answer(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::Opened(_, Ok(conversation)) => {
                self.is_opening = false;
                self.enter(&conversation, now);
                self.load();
            }
            Answer::Opened(Target::Conversation(id), Err(failure)) if failure.is_gone && self.is_open(&id) => {
                self.is_opening = false;
                self.leave(&id, None, now);
            }
            Answer::Opened(target, Err(failure)) => self.on_failure(Request::Open(target), &failure, now),
            Answer::Page(id, before, Ok(history)) => self.on_page(&id, before, &history, now),
            Answer::Page(id, before, Err(failure)) => {
                self.is_loading = false;
                // The newest page is tried again; an older one when the user asks again.
                match before {
                    None => self.on_failure(Request::History(id, None), &failure, now),
                    Some(_) => self.problem(failure.words),
                }
            }
            Answer::Listed(is_wish, listed) => self.on_listed(is_wish, listed, now),
            Answer::Looked(id, looked) => self.on_looked(id, looked.ok().as_deref(), now),
            // The next one is not far away.
            Answer::Presence(Err(_)) => {}
            Answer::Presence(Ok(list)) => self.people.learn_all(&list.presence),
            Answer::Who(id, who) => self.on_who(&id, who),
            Answer::Changed(change, changed) => self.on_changed(&change, changed, now),
        }
    }

    fn on_failure(&mut self, request: Request, failure: &Failure, now: Instant) {
        if failure.is_passing {
            self.outputs
                .push(Output::Notice(format!("{}; trying again", failure.words)));
            self.again = Some((now + READ_AGAIN, request));
        } else {
            self.is_opening = false;
            self.problem(failure.words.clone());
        }
    }

    fn on_listed(&mut self, is_wish: bool, listed: Result<Conversations, Failure>, now: Instant) {
        self.wishes = self.wishes.saturating_sub(usize::from(is_wish));
        match listed {
            Ok(listed) => {
                self.rooms.replace(&listed.conversations);
                self.ask_soon(now);
                self.confirm_shown(now);
                if is_wish {
                    self.outputs.push(Output::Page(self.rooms.lines(&self.people)));
                }
            }
            Err(failure) if is_wish => self.problem(failure.words),
            // What is shown stays, and every event brings it on.
            Err(_) => {}
        }
    }

    /// Looks how a listed conversation is now; once at a time, however much happens in it.
    pub(super) fn look(&mut self, id: &ConversationId, newest: u64) {
        match self.looks.get_mut(id) {
            Some(known) => *known = newest.max(*known),
            None => {
                self.looks.insert(id.clone(), newest);
                self.requests.push(Request::Look(id.clone()));
            }
        }
    }

    fn on_looked(&mut self, id: ConversationId, conversation: Option<&Conversation>, now: Instant) {
        let newest = self.looks.remove(&id).unwrap_or_default();
        let Some(conversation) = conversation else {
            return;
        };
        self.rooms.learn(conversation);
        if let Some(room) = self.room.as_mut().filter(|it| *it.id() == id) {
            room.learn(conversation);
        }
        self.confirm_shown(now);
        if conversation.seq < newest {
            self.look(&id, newest);
        }
    }

    fn on_page(&mut self, id: &ConversationId, before: Option<u64>, history: &History, now: Instant) {
        self.is_loading = false;
        let Some(room) = self.room.as_mut().filter(|room| room.id() == id) else {
            return;
        };
        for message in history
            .messages
            .iter()
            .rev()
            .filter(|it| self.outbox.settle(&it.client_id).is_some())
        {
            self.outputs.push(Output::Detail(format!("sent {}", message.seq)));
            room.insert(message, true);
        }
        let is_first = !room.is_loaded();
        room.page(history);
        if let Some(newest) = history
            .messages
            .iter()
            .filter(|it| it.sender_id != self.me)
            .map(|it| it.seq)
            .max()
        {
            self.receipts.note(id, ReceiptKind::Delivered, newest, now);
        }
        let told = self.told;
        self.told = room.newest().map_or(told, |newest| newest.max(told));
        let message = |sender: &str, body| Output::Message(sender.to_owned(), body);
        if is_first {
            let untold = room.messages().filter(|(seq, it)| *seq > told && !it.is_from_here);
            self.outputs
                .extend(untold.map(|(_, it)| message(it.sender.as_str(), it.body.clone())));
        } else if before.is_some() {
            let oldest_first = history.messages.iter().rev();
            self.outputs
                .extend(oldest_first.map(|it| message(it.sender_id.as_str(), room::body(it))));
        }
        self.confirm_shown(now);
    }
}
