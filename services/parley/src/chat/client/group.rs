//! What the user does with a group, and what the server says to it. The change itself comes as an event, like others'.

use std::time::Instant;

use protocol::http::{Conversation, Role};
use protocol::{ConversationId, UserId};

use super::{Change, Client, Output, Request, Who};
use crate::chat::api::{Failure, Target};
use crate::chat::{escape, people};

impl Client {
    /// Makes a group with those named, and opens it.
    pub(super) fn make_group(&mut self, names: &str) -> bool {
        let Some(users) = users(names) else {
            return self.no_user();
        };
        self.is_opening = true;
        self.requests
            .push(Request::Open(Target::Group(users, protocol::ClientId::generate())));
        true
    }

    /// Adds those named to the open room.
    pub(super) fn invite(&mut self, names: &str) -> bool {
        match users(names) {
            Some(users) => self.change(|id| Change::Invite(id, users)),
            None => self.no_user(),
        }
    }

    /// Takes somebody out of the open room.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        match UserId::parse(name) {
            Some(user) => self.change(|id| Change::Remove(id, user)),
            None => self.no_user(),
        }
    }

    /// Gives a member of the open room a role.
    pub(super) fn set_role(&mut self, name: &str, role: Role) -> bool {
        match UserId::parse(name) {
            Some(user) => self.change(|id| Change::Role(id, user, role)),
            None => self.no_user(),
        }
    }

    /// Asks for a change of the open room.
    pub(super) fn change(&mut self, change: impl FnOnce(ConversationId) -> Change) -> bool {
        let Some(id) = self.room.as_ref().map(|it| it.id().clone()) else {
            return self.no_room();
        };
        self.wishes += 1;
        self.requests.push(Request::Change(change(id)));
        true
    }

    /// Asks who is in the open room.
    pub(super) fn who(&mut self) -> bool {
        let Some(id) = self.room.as_ref().map(|it| it.id().clone()) else {
            return self.no_room();
        };
        self.wishes += 1;
        self.requests.push(Request::Who(id));
        true
    }

    pub(super) fn no_room(&mut self) -> bool {
        self.fail("no conversation is open: /open one first".into())
    }

    fn no_user(&mut self) -> bool {
        self.fail("a user's id has 1 to 128 bytes".into())
    }

    pub(super) fn on_changed(
        &mut self,
        change: &Change,
        changed: Result<Option<Box<Conversation>>, Failure>,
        now: Instant,
    ) {
        self.wishes = self.wishes.saturating_sub(1);
        let conversation = match changed {
            Ok(conversation) => conversation,
            Err(failure) => return self.problem(failure.words),
        };
        match (change, conversation) {
            (Change::Remove(id, user), _) if *user == self.me => self.leave(id, None, now),
            (_, Some(conversation)) => {
                self.rooms.learn(&conversation);
                if let Some(room) = self.room.as_mut().filter(|it| *it.id() == conversation.conversation_id) {
                    room.learn(&conversation);
                }
            }
            (_, None) => {}
        }
    }

    pub(super) fn on_who(&mut self, id: &ConversationId, who: Result<Who, Failure>) {
        self.wishes = self.wishes.saturating_sub(1);
        let who = match who {
            Ok(who) => who,
            Err(failure) => return self.problem(failure.words),
        };
        self.people.learn_all(&who.presence.presence);
        let is_open = self.is_open(id);
        let mut lines: Vec<String> = who
            .members
            .iter()
            .map(|member| {
                let user = &member.user_id;
                let status = self.people.status(user);
                let mut line = format!(
                    "{} {}  {}",
                    status.map_or(" ", people::dot),
                    escape::line(user.as_str()),
                    role(member.role)
                );
                if *user == self.me {
                    line.push_str(" · you");
                }
                if is_open && self.live.is_present(user) {
                    line.push_str(" · in this room");
                }
                if let Some(status) = status {
                    line.push_str(" · ");
                    line.push_str(people::words(status));
                }
                if let Some(seen) = self.people.last_seen(user) {
                    line.push_str(&format!(" · last seen {}", people::ago(seen, who.at)));
                }
                line
            })
            .collect();
        if who.more {
            lines.push("… and more".to_owned());
        }
        self.outputs.push(Output::Page(lines));
    }
}

/// `owner`, `admin` or `member`.
fn role(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::Member => "member",
    }
}

fn users(names: &str) -> Option<Vec<UserId>> {
    names.split_whitespace().map(UserId::parse).collect()
}
