//! Rooms: the conversations that sockets of this node are subscribed to, and the live signals that go to them.
//!
//! Nothing here is stored or waited for. Who is subscribed and who is online on all nodes together is for the presence
//! service to say: this node reports what changes ([`Changes`], [`report`]) and is told ([`signals`]).

mod changes;
pub mod live;
mod present;
pub mod report;
pub mod signals;
mod sockets;
mod state;
mod subscribe;
mod typing;

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::signal::{Signal, Subscribed};
use protocol::{ConversationId, Refusal, UserId};
use tokio::time::Instant;

pub use self::changes::Changes;
use self::state::State;
use self::subscribe::Looking;
pub use self::subscribe::subscribe;
use crate::app::App;
use crate::hub::event::{Event, Kind};
use crate::session::Session;

/// See the module.
#[derive(Debug, Default)]
pub struct Rooms {
    state: Mutex<State>,
    /// What the presence service has not been told yet.
    pub changes: Changes,
    /// Rooms of which an answer was late: to be compared soon.
    doubtful: Mutex<HashSet<ConversationId>>,
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
        session.rooms.lock().remove(id);
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

    /// The rooms whose members are known here, to be compared with what the presence service knows.
    pub fn watched(&self) -> Vec<ConversationId> {
        self.state.lock().watched()
    }

    /// What is known of a room may be older than it should be.
    fn doubt(&self, id: &ConversationId) {
        self.doubtful.lock().insert(id.clone());
    }

    /// Compares a room with what the presence service knows of it, and tells subscribers what they had missed.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn compare(app: &Arc<App>, id: &ConversationId) -> Result<(), Refusal> {
        let rooms = &app.hub.rooms;
        let looking = Looking::begin(rooms, id);
        let members = rooms.state.lock().members(id);
        if members.is_empty() {
            // Nobody is in the room any more.
            return Ok(());
        }
        let sight = subscribe::look(app, Some(id), &members).await?;
        let mut state = rooms.state.lock();
        state.reconcile_people(&members, &sight, looking.since);
        state.reconcile_present(id, &sight, looking.since);
        // It is locked again when the look ends.
        drop(state);
        if sight.late {
            return Err(Refusal::unavailable(
                "the presence service does not know yet what there is",
            ));
        }
        Ok(())
    }

    /// Shows how much there is.
    pub fn measure(&self) {
        let sizes = self.state.lock().sizes();
        metrics::gauge!("parley_rooms").set(sizes.rooms as f64);
        metrics::gauge!("parley_room_members").set(sizes.members as f64);
        metrics::gauge!("parley_subscriptions").set(sizes.subscriptions as f64);
    }

    /// All subscriptions: each room with each user once.
    pub fn subscriptions(&self) -> Vec<(ConversationId, UserId)> {
        self.state.lock().subscriptions()
    }
}
