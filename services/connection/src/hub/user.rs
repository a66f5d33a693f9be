//! A user with at least one session on this node, and the interest of all users in conversations.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use protocol::{ConversationId, UserId};
use tokio::sync::OnceCell;

use super::event::Event;
use super::memberships::{Memberships, Span};
use crate::session::Session;

/// One user: his sessions here and his conversations, shared by the sessions.
#[derive(Debug)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// His live sessions on this node.
    pub sessions: RwLock<Vec<Arc<Session>>>,
    /// Filled once from the directory, then kept by the log.
    pub(super) loaded: OnceCell<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    memberships: Memberships,
    /// Set when the last session left: nothing may register an interest for this user any more.
    gone: bool,
}

impl User {
    pub(super) fn new(id: UserId) -> Self {
        let state = State {
            memberships: Memberships::none(id.clone()),
            gone: false,
        };
        Self {
            id,
            sessions: RwLock::default(),
            loaded: OnceCell::new(),
            state: Mutex::new(state),
        }
    }

    /// Offers an event to all his sessions.
    pub(super) fn offer(&self, event: &Arc<Event>) {
        self.sessions.read().iter().for_each(|session| session.offer(event));
    }

    /// Runs `read` over the memberships, under their lock: keep it short.
    pub fn memberships<T>(&self, read: impl FnOnce(&Memberships) -> T) -> T {
        read(&self.state.lock().memberships)
    }
}

/// Which users on this node take part in a conversation: one map for each partition.
#[derive(Debug)]
pub struct Interest {
    partitions: Vec<RwLock<HashMap<ConversationId, Vec<Party>>>>,
}

/// A user's part in a conversation.
#[derive(Debug, Clone)]
pub struct Party {
    /// Who.
    pub user: Arc<User>,
    /// First `seq` that he gets.
    pub since: u64,
}

impl Interest {
    pub(super) fn new(partitions: u16) -> Self {
        Self {
            partitions: (0..partitions.max(1)).map(|_| RwLock::default()).collect(),
        }
    }

    fn shard(&self, id: &ConversationId) -> &RwLock<HashMap<ConversationId, Vec<Party>>> {
        let partition = id.partition(u16::try_from(self.partitions.len()).unwrap_or(u16::MAX));
        &self.partitions[usize::from(partition)]
    }

    /// Runs `visit` for every party of a conversation.
    pub(super) fn each(&self, id: &ConversationId, mut visit: impl FnMut(&Party)) {
        if let Some(parties) = self.shard(id).read().get(id) {
            parties.iter().for_each(&mut visit);
        }
    }

    /// Takes in a span for a user, in his memberships and in the map, unless something as new is known.
    pub(super) fn set(&self, user: &Arc<User>, id: &ConversationId, span: Span) {
        // The user's lock is held over both, so that the two agree whatever order the writers come in.
        let mut state = user.state.lock();
        let was_party = state.memberships.is_member(id);
        if state.gone || !state.memberships.set(id, span) {
            return;
        }
        let now = state.memberships.get(id).filter(|span| span.until.is_none());
        let since = now.map(|span| span.since);
        let mut shard = self.shard(id).write();
        let parties = shard.entry(id.clone()).or_default();
        if was_party {
            parties.retain(|party| !Arc::ptr_eq(&party.user, user));
        }
        if let Some(since) = since {
            parties.push(Party {
                user: user.clone(),
                since,
            });
        }
        if parties.is_empty() {
            shard.remove(id);
        }
    }

    /// Takes in what an event means for a user's memberships.
    pub(super) fn apply(&self, user: &Arc<User>, event: &Event) {
        let span = user.memberships(|mine| mine.span_after(event));
        if let Some(span) = span {
            self.set(user, &event.conversation_id, span);
        }
    }

    /// Ends all interest of a user whose last session has left.
    pub(super) fn remove(&self, user: &Arc<User>) {
        let mut state = user.state.lock();
        state.gone = true;
        for (id, _) in state.memberships.iter() {
            let mut shard = self.shard(id).write();
            if let Some(parties) = shard.get_mut(id) {
                parties.retain(|party| !Arc::ptr_eq(&party.user, user));
                if parties.is_empty() {
                    shard.remove(id);
                }
            }
        }
    }
}
