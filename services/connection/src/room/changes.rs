//! What changed on this node and was not reported yet.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use protocol::signal::Subscribed;
use protocol::{ConversationId, UserId};
use tokio::sync::Notify;

/// Users whose sessions changed and subscriptions that changed, as they are now: what changes twice is reported once.
#[derive(Debug, Default)]
pub struct Changes {
    inner: Mutex<Inner>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    users: HashSet<UserId>,
    rooms: HashMap<(ConversationId, UserId), Subscribed>,
}

impl Changes {
    /// A user's sessions are not what they were.
    pub fn user(&self, user: &UserId) {
        self.inner.lock().users.insert(user.clone());
        self.bell.notify_one();
    }

    /// A user's first socket has subscribed to a room, or the last one is no longer subscribed.
    pub fn room(&self, id: &ConversationId, user: &UserId, now: Subscribed) {
        self.inner.lock().rooms.insert((id.clone(), user.clone()), now);
        self.bell.notify_one();
    }

    /// Waits until there is anything.
    pub async fn some(&self) {
        self.bell.notified().await;
    }

    /// Takes all of it.
    pub fn take(&self) -> (Vec<UserId>, Vec<(ConversationId, UserId, Subscribed)>) {
        let inner = std::mem::take(&mut *self.inner.lock());
        let rooms = inner.rooms.into_iter().map(|((id, user), now)| (id, user, now));
        (inner.users.into_iter().collect(), rooms.collect())
    }
}
