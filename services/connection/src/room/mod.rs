//! Rooms: the conversations that sockets of this node are subscribed to, and the live signals that go to them.
//!
//! Nothing here is stored or waited for. Who is subscribed and who is online on all nodes together is for the presence
//! service to say: this node reports what changes ([`Changes`], [`report`]) and is told ([`signals`]).

mod changes;
pub mod report;
pub mod signals;
mod state;
mod subscribe;
mod typing;

use std::sync::Arc;

use parking_lot::Mutex;
use protocol::signal::{Signal, Subscribed};
use protocol::{ConversationId, UserId};
use tokio::time::Instant;

pub use self::changes::Changes;
use self::state::State;
pub use self::subscribe::subscribe;
use crate::hub::event::{Event, Kind};
use crate::session::Session;

/// See the module.
#[derive(Debug, Default)]
pub struct Rooms {
    state: Mutex<State>,
    /// What the presence service has not been told yet.
    pub changes: Changes,
}

impl Rooms {
    /// An event changed a conversation's members. Called in the conversation's order.
    pub fn members_changed(&self, event: &Event) {
        let removed = matches!(event.kind, Kind::Removed(_));
        let mut state = self.state.lock();
        let ended = state.members_changed(&event.conversation_id, event.seq, event.changes(), removed);
        for user in ended {
            self.changes.room(&event.conversation_id, &user, Subscribed::Left);
        }
    }

    /// Ends a socket's subscription. Returns whether there was one.
    pub fn leave(&self, session: &Arc<Session>, id: &ConversationId) -> bool {
        self.end(session, id, Subscribed::Left)
    }

    /// Ends all subscriptions of a socket that is gone.
    pub fn leave_all(&self, session: &Arc<Session>) {
        let rooms = std::mem::take(&mut *session.rooms.lock());
        for id in rooms {
            self.end(session, &id, Subscribed::Gone);
        }
    }

    fn end(&self, session: &Arc<Session>, id: &ConversationId, how: Subscribed) -> bool {
        session.rooms.lock().retain(|it| it != id);
        let mut state = self.state.lock();
        let Some(last) = state.leave(session, id) else {
            return false;
        };
        if last {
            self.changes.room(id, &session.user_id, how);
        }
        true
    }

    /// Takes in what is told to all nodes, and tells it to the subscribers whom it concerns.
    pub fn on_signal(&self, signal: &Signal) {
        self.state.lock().on_signal(signal, Instant::now());
    }

    /// Ends the typing of those who have not started again in time.
    pub fn expire_typing(&self) {
        self.state.lock().expire_typing(Instant::now());
    }

    /// The rooms with the members whose presence matters here, to be compared with what the presence service knows.
    pub fn watched(&self) -> Vec<(ConversationId, Vec<UserId>)> {
        self.state.lock().watched()
    }

    /// Takes in what the presence service knows of a room, and tells subscribers what they had missed. `users`: whose
    /// presence was asked for.
    pub fn reconcile(&self, id: &ConversationId, users: &[UserId], sight: &protocol::rpc::Sight) {
        self.state.lock().reconcile(id, users, sight);
    }

    /// All subscriptions: each room with each user once.
    pub fn subscriptions(&self) -> Vec<(ConversationId, UserId)> {
        self.state.lock().subscriptions()
    }
}
