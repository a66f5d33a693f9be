//! What a line of the user does to the client.

use std::time::Instant;

use protocol::ClientId;
use protocol::client_frame::{ChosenStatus, MessageKind, MessageSend, checked_text};
use protocol::server_frame::{Presence, Status};

use super::{Change, Client, Output, Request};
use crate::chat::api::Target;
use crate::chat::command::{self, Line};
use crate::chat::escape;

impl Client {
    /// Takes a line of the user. False if the text was not taken and should be kept for another try.
    pub(in crate::chat) fn on_line(&mut self, line: &str, now: Instant) -> bool {
        let bare_opens = self.room.is_none() && !self.was_closed;
        match command::parse(line, bare_opens) {
            Line::Empty => {}
            Line::Text(text) => {
                self.typist.stop(now);
                return self.send(text);
            }
            Line::Open(which) => return self.open(which),
            Line::List => {
                self.wishes += 1;
                self.requests.push(Request::List(true));
            }
            Line::Group(users) => return self.make_group(users),
            Line::Invite(users) => return self.invite(users),
            Line::Remove(user) => return self.remove(user),
            Line::Leave => {
                let me = self.me.clone();
                return self.change(|id| Change::Remove(id, me));
            }
            Line::Role(user, role) => return self.set_role(user, role),
            Line::Name(name) => return self.change(|id| Change::Rename(id, name.to_owned())),
            Line::Who => return self.who(),
            Line::Status(status) => self.choose(status),
            Line::Usage(usage) => return self.fail(format!("say {usage}")),
            Line::History => self.load_older(true),
            Line::Help => self
                .outputs
                .push(Output::Page(command::HELP.map(str::to_owned).to_vec())),
            Line::Quit => self.wants_quit = true,
            Line::Unknown(line) => {
                return self.fail(format!(
                    "no command {}: /help lists them, //… sends a slash",
                    escape::line(line)
                ));
            }
        }
        true
    }

    /// Asks for the page before the oldest message. `is_wish` if the user asked for it in words.
    pub(in crate::chat) fn load_older(&mut self, is_wish: bool) {
        let Some(room) = self.room.as_ref().filter(|it| it.is_loaded()) else {
            return;
        };
        match room.older() {
            Some(before) if !self.is_loading => {
                self.is_loading = true;
                self.requests.push(Request::History(room.id().clone(), Some(before)));
            }
            None if is_wish => self.outputs.push(Output::Notice("there is nothing older".into())),
            _ => {}
        }
    }

    fn send(&mut self, text: &str) -> bool {
        let Some(room) = &self.room else {
            return self.no_room();
        };
        if self.outbox.is_full() {
            return self.fail("too many messages wait to be sent: wait until the server has taken some".into());
        }
        let send = MessageSend {
            client_id: ClientId::generate(),
            conversation_id: room.id().as_str().to_owned(),
            text: text.to_owned(),
            kind: MessageKind::Text,
            reply_to: None,
            attachments: None,
            retry: false,
        };
        let id = room.id().clone();
        match checked_text(&send) {
            Ok(text) => self.outbox.push(id, text.to_owned(), send.client_id.clone()),
            Err(refusal) => return self.fail(refusal.message),
        }
        true
    }

    fn open(&mut self, which: &str) -> bool {
        let numbered = which.parse::<usize>().ok().and_then(|it| self.rooms.numbered(it));
        let target = match numbered {
            Some(id) => Some(Target::Conversation(id.clone())),
            None => Target::parse(which),
        };
        match target {
            Some(target) => self.open_target(target),
            None => return self.fail("a user's id has at most 128 bytes".into()),
        }
        true
    }

    /// Opens a conversation of the list.
    pub(in crate::chat) fn open_target(&mut self, target: Target) {
        self.is_opening = true;
        self.requests.push(Request::Open(target));
    }

    fn choose(&mut self, status: ChosenStatus) {
        self.chosen = Some((status, false));
        let (appears, words) = match status {
            ChosenStatus::Online => (Status::Online, "as online, and as away after a while"),
            ChosenStatus::Away => (Status::Away, "as away"),
            ChosenStatus::Dnd => (Status::Dnd, "as not to be disturbed"),
            ChosenStatus::Invisible => (Status::Offline, "as offline"),
        };
        // The socket that sets it is told nothing of it.
        self.people.learn(&Presence {
            user_id: self.me.clone(),
            status: appears,
            last_seen: None,
        });
        self.outputs
            .push(Output::Notice(format!("from now on others see you {words}")));
    }
}
