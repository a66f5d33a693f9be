//! What the answer to an HTTP request does to the client.

use std::time::Instant;

use protocol::ConversationId;
use protocol::http::History;
use protocol::rpc::ReceiptKind;

use super::{Answer, Client, Output, READ_AGAIN, Request};
use crate::chat::api::Failure;
use crate::chat::{list, room};

impl Client {
    pub(in crate::chat) fn on_answer(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::Opened(_, Ok(conversation)) => {
                self.is_opening = false;
                self.enter(&conversation);
                self.load();
            }
            Answer::Page(id, before, Ok(history)) => self.on_page(&id, before, &history, now),
            Answer::Listed(Ok(conversations)) => {
                self.listed = list::listed(conversations, &self.me);
                self.outputs.push(Output::Page(list::shown(&self.listed)));
            }
            Answer::Opened(target, Err(failure)) => self.on_failure(Request::Open(target), &failure, now),
            Answer::Page(id, before, Err(failure)) => {
                self.is_loading = false;
                // The newest page is tried again; an older one when the user asks again.
                match before {
                    None => self.on_failure(Request::History(id, None), &failure, now),
                    Some(_) => drop(self.fail(failure.words)),
                }
            }
            Answer::Listed(Err(failure)) => self.on_failure(Request::List, &failure, now),
        }
    }

    fn on_failure(&mut self, request: Request, failure: &Failure, now: Instant) {
        if failure.is_passing {
            self.outputs
                .push(Output::Notice(format!("{}; trying again", failure.words)));
            self.again = Some((now + READ_AGAIN, request));
        } else {
            self.is_opening = false;
            self.fail(failure.words.clone());
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
