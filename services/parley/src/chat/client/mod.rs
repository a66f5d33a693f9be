//! The client's whole state and what every event does to it. Pure: no socket, no terminal; the time is passed in.
//!
//! What is to be done comes out in three forms: frames for the socket ([`Client::frames`]), HTTP requests
//! ([`Client::take_requests`]) and things to tell the user ([`Client::take_outputs`]).

mod answers;
mod frames;
mod lines;

use std::time::{Duration, Instant};

use protocol::http::{Conversation, Conversations, History};
use protocol::rpc::ReceiptKind;
use protocol::server_frame::Ready;
use protocol::{ConversationId, UserId};
use serde_json::Value;

use super::api::{Failure, Target};
use super::list::Listed;
use super::outbox::Outbox;
use super::receipts::Receipts;
use super::room::Room;

/// Before a read that failed is tried again.
const READ_AGAIN: Duration = Duration::from_secs(2);

/// Whether there is a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) enum Status {
    /// The first attempt is under way.
    Connecting,
    /// Live.
    Online,
    /// Not now: why, and when the next attempt begins.
    Offline(String, Instant),
}

/// A read over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) enum Request {
    /// A conversation, to be opened or looked at afresh.
    Open(Target),
    /// A page of the open room: the newest, or what is before a `seq`.
    History(ConversationId, Option<u64>),
    /// The conversations.
    List,
}

/// What a read brought.
#[derive(Debug)]
pub(in crate::chat) enum Answer {
    /// To [`Request::Open`].
    Opened(Target, Result<Box<Conversation>, Failure>),
    /// To [`Request::History`].
    Page(ConversationId, Option<u64>, Result<History, Failure>),
    /// To [`Request::List`].
    Listed(Result<Conversations, Failure>),
}

/// Something to tell. Texts of others are harmless already, except in `Message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) enum Output {
    /// A message of the open room has come: sender and text as they are.
    Message(String, String),
    /// An own message came further; only for those who ask for every detail.
    Detail(String),
    /// Something to know.
    Notice(String),
    /// Something failed.
    Problem(String),
    /// An answer of several lines.
    Page(Vec<String>),
}

/// The client of one user.
#[derive(Debug)]
pub(in crate::chat) struct Client {
    me: UserId,
    room: Option<Room>,
    listed: Vec<Listed>,
    status: Status,
    outbox: Outbox,
    receipts: Receipts,
    requests: Vec<Request>,
    outputs: Vec<Output>,
    /// A read that failed and is to be tried again.
    again: Option<(Instant, Request)>,
    is_opening: bool,
    is_loading: bool,
    /// The newest `seq` of the room that was told as an [`Output::Message`].
    told: u64,
    is_visible: bool,
    has_failed: bool,
    wants_quit: bool,
}

impl Client {
    /// With no conversation open and no connection yet.
    pub(in crate::chat) fn new(me: UserId) -> Self {
        Self {
            me,
            room: None,
            listed: Vec::new(),
            status: Status::Connecting,
            outbox: Outbox::default(),
            receipts: Receipts::default(),
            requests: Vec::new(),
            outputs: Vec::new(),
            again: None,
            is_opening: false,
            is_loading: false,
            told: 0,
            is_visible: true,
            has_failed: false,
            wants_quit: false,
        }
    }

    pub(in crate::chat) fn me(&self) -> &UserId {
        &self.me
    }

    pub(in crate::chat) fn room(&self) -> Option<&Room> {
        self.room.as_ref()
    }

    pub(in crate::chat) fn status(&self) -> &Status {
        &self.status
    }

    pub(in crate::chat) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Whether a conversation that the user named is still to be opened.
    pub(in crate::chat) fn is_opening(&self) -> bool {
        self.is_opening
    }

    /// Whether older messages are on their way.
    pub(in crate::chat) fn is_loading(&self) -> bool {
        self.is_loading
    }

    /// Whether something that the user wanted sent will never be sent.
    pub(in crate::chat) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Whether the user wants to leave.
    pub(in crate::chat) fn wants_quit(&self) -> bool {
        self.wants_quit
    }

    pub(in crate::chat) fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    pub(in crate::chat) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// When [`Client::tick`] or [`Client::frames`] next has something to do.
    pub(in crate::chat) fn due(&self, now: Instant) -> Option<Instant> {
        let receipts = self.receipts.due().filter(|_| self.status == Status::Online);
        let again = self.again.as_ref().map(|(at, _)| *at);
        [self.outbox.due(now), receipts, again].into_iter().flatten().min()
    }

    /// Does what has become due.
    pub(in crate::chat) fn tick(&mut self, now: Instant) {
        if let Some((_, request)) = self.again.take_if(|(at, _)| *at <= now) {
            self.requests.push(request);
        }
    }

    /// The frames to write now.
    pub(in crate::chat) fn frames(&mut self, now: Instant) -> Vec<Value> {
        if self.status != Status::Online {
            return Vec::new();
        }
        let mut frames = self.receipts.take(now);
        frames.extend(self.outbox.next(now));
        frames
    }

    /// The newest messages of the room are before the user's eyes, or no longer.
    pub(in crate::chat) fn set_visible(&mut self, is_visible: bool, now: Instant) {
        self.is_visible = is_visible;
        self.confirm_shown(now);
    }

    pub(in crate::chat) fn on_online(&mut self, ready: &Ready, now: Instant) {
        let was_offline = matches!(self.status, Status::Offline(..));
        self.status = Status::Online;
        self.outbox.set_online(true);
        self.receipts.reconnected(now);
        if was_offline {
            let how = if ready.resumed { "connected again" } else { "connected" };
            self.outputs.push(Output::Notice(how.into()));
        }
        // Only now: what happens after `ready` comes by socket, what was before it is in the history.
        self.load();
    }

    pub(in crate::chat) fn on_offline(&mut self, why: String, retry_at: Instant) {
        if !matches!(self.status, Status::Offline(..)) {
            self.outputs.push(Output::Notice(format!("offline: {why}")));
        }
        self.status = Status::Offline(why, retry_at);
        self.outbox.set_online(false);
    }

    /// Makes a conversation the open one; one that is open already learns what is new.
    fn enter(&mut self, conversation: &Conversation) {
        if let Some(me) = conversation.members.iter().find(|it| it.user_id == self.me) {
            self.receipts
                .known_to_server(&conversation.conversation_id, me.delivered_seq, me.read_seq);
        }
        match self.room.as_mut().filter(|it| *it.id() == conversation.conversation_id) {
            Some(room) => room.learn(conversation),
            None => {
                self.room = Some(Room::new(self.me.clone(), conversation));
                self.told = 0;
            }
        }
        self.again = None;
        self.is_loading = false;
    }

    fn load(&mut self) {
        if self.status != Status::Online {
            return;
        }
        if let Some(room) = self.room.as_ref().filter(|it| !it.is_loaded()) {
            self.requests.push(Request::History(room.id().clone(), None));
        }
    }

    /// What is shown is read.
    fn confirm_shown(&mut self, now: Instant) {
        let Some(room) = self.room.as_ref().filter(|it| it.is_loaded() && self.is_visible) else {
            return;
        };
        if let Some(newest) = room.newest_of_others() {
            self.receipts.note(room.id(), ReceiptKind::Read, newest, now);
        }
    }

    fn fail(&mut self, words: String) -> bool {
        self.has_failed = true;
        self.outputs.push(Output::Problem(words));
        false
    }
}

#[cfg(test)]
mod tests;
