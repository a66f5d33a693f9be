//! The client's whole state and what every event does to it. Pure: no socket, no terminal; the time is passed in.
//!
//! What is to be done comes out in three forms: frames for the socket ([`Client::frames`]), HTTP requests
//! ([`Client::take_requests`]) and things to tell the user ([`Client::take_outputs`]).

mod answers;
mod effect;
mod frames;
mod group;
mod lines;
mod members;
mod signals;
mod time;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::client_frame::ChosenStatus;
use protocol::http::Conversation;
use protocol::rpc::ReceiptKind;
use protocol::server_frame::Ready;
use protocol::{ConversationId, UserId};

pub(in crate::chat) use effect::{Answer, Change, Output, Request, Who};

use super::live::Live;
use super::outbox::Outbox;
use super::people::People;
use super::receipts::Receipts;
use super::room::Room;
use super::rooms::Rooms;
use super::subscription::Subscription;
use super::typist::Typist;

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

/// The client of one user.
#[derive(Debug)]
pub(in crate::chat) struct Client {
    me: UserId,
    room: Option<Room>,
    live: Live,
    rooms: Rooms,
    people: People,
    status: Status,
    subscription: Subscription,
    typist: Typist,
    outbox: Outbox,
    receipts: Receipts,
    requests: Vec<Request>,
    outputs: Vec<Output>,
    /// A read that failed and is to be tried again.
    again: Option<(Instant, Request)>,
    /// Conversations of the list that are being looked at, with the newest message that is known of each.
    looks: BTreeMap<ConversationId, u64>,
    /// When to ask again how people appear.
    ask_at: Option<Instant>,
    /// How the user has said that he wants to appear, and whether the server has been told.
    chosen: Option<(ChosenStatus, bool)>,
    is_opening: bool,
    is_loading: bool,
    /// Requests of the user's own that are not answered yet.
    wishes: usize,
    /// The newest `seq` of the room that was told as an [`Output::Message`].
    told: u64,
    is_visible: bool,
    /// Whether a room was closed under the user: what he goes on writing is not the name of somebody to talk to.
    was_closed: bool,
    has_failed: bool,
    wants_quit: bool,
}

impl Client {
    /// With no conversation open and no connection yet.
    pub(in crate::chat) fn new(me: UserId) -> Self {
        Self {
            rooms: Rooms::new(me.clone()),
            me,
            room: None,
            live: Live::default(),
            people: People::default(),
            status: Status::Connecting,
            subscription: Subscription::default(),
            typist: Typist::default(),
            outbox: Outbox::default(),
            receipts: Receipts::default(),
            requests: Vec::new(),
            outputs: Vec::new(),
            again: None,
            looks: BTreeMap::new(),
            ask_at: None,
            chosen: None,
            is_opening: false,
            is_loading: false,
            wishes: 0,
            told: 0,
            is_visible: true,
            was_closed: false,
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

    /// Who is in the open room now.
    pub(in crate::chat) fn live(&self) -> &Live {
        &self.live
    }

    pub(in crate::chat) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    pub(in crate::chat) fn people(&self) -> &People {
        &self.people
    }

    pub(in crate::chat) fn status(&self) -> &Status {
        &self.status
    }

    pub(in crate::chat) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Whether something that the user named is still to be opened, or a wish to be answered: the next line may depend
    /// on it.
    pub(in crate::chat) fn is_busy(&self) -> bool {
        self.is_opening || self.wishes > 0
    }

    /// Whether everything that the user wanted is done, as far as it ever will be.
    pub(in crate::chat) fn is_settled(&self) -> bool {
        let is_status_told = self.chosen.is_none_or(|(_, is_told)| is_told);
        self.outbox.waiting() == 0 && !self.is_busy() && is_status_told
    }

    /// Whether older messages are on their way.
    pub(in crate::chat) fn is_loading(&self) -> bool {
        self.is_loading
    }

    /// Whether something that the user wanted will never be done.
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
        self.subscription.reconnected();
        if was_offline {
            let how = if ready.resumed { "connected again" } else { "connected" };
            self.outputs.push(Output::Notice(how.into()));
        }
        // Only now: what happens after `ready` comes by socket, what was before it is in the history.
        self.load();
        self.requests.push(Request::List(false));
    }

    pub(in crate::chat) fn on_offline(&mut self, why: String, retry_at: Instant) {
        if !matches!(self.status, Status::Offline(..)) {
            self.outputs.push(Output::Notice(format!("offline: {why}")));
        }
        self.status = Status::Offline(why, retry_at);
        self.outbox.set_online(false);
        self.typist.on_offline();
        self.live = Live::default();
        self.people.forget();
        self.ask_at = None;
    }

    /// Makes a conversation the open one; one that is open already learns what is new.
    fn enter(&mut self, conversation: &Conversation, now: Instant) {
        if let Some(me) = conversation.members.iter().find(|it| it.user_id == self.me) {
            self.receipts
                .known_to_server(&conversation.conversation_id, me.delivered_seq, me.read_seq);
        }
        match self.room.as_mut().filter(|it| *it.id() == conversation.conversation_id) {
            Some(room) => room.learn(conversation),
            None => {
                self.typist.stop(now);
                self.live = Live::default();
                self.subscription.want(Some(conversation.conversation_id.clone()));
                self.room = Some(Room::new(self.me.clone(), conversation));
                self.told = 0;
            }
        }
        self.rooms.learn(conversation);
        self.was_closed = false;
        self.again = None;
        self.is_loading = false;
        self.ask_soon(now);
    }

    /// The user is in the open room no more.
    fn close(&mut self, now: Instant) {
        self.typist.stop(now);
        self.live = Live::default();
        self.subscription.dropped();
        self.room = None;
        self.was_closed = true;
        self.is_loading = false;
    }

    fn is_open(&self, id: &ConversationId) -> bool {
        self.room.as_ref().is_some_and(|it| it.id() == id)
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
            self.rooms.read(room.id(), room.newest().unwrap_or(newest));
        }
    }

    /// Something that the user wanted will not be done.
    fn problem(&mut self, words: String) {
        self.has_failed = true;
        self.outputs.push(Output::Problem(words));
    }

    /// The same, for a line that is to be kept.
    fn fail(&mut self, words: String) -> bool {
        self.problem(words);
        false
    }
}

#[cfg(test)]
mod tests;
