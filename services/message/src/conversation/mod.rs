//! The conversations that this replica knows, each behind a lock of its own.
//!
//! The lock is fair and serialises this replica's appends to one conversation; other replicas are met through
//! conflicts. Nothing here is owned or leased: forgetting everything at any moment costs a few reads.

mod chain;
mod find;
#[cfg(test)]
pub(crate) mod histories;
pub(crate) mod load;
pub(crate) mod members;
pub(crate) mod shown;
pub(crate) mod snapshot;
pub(crate) mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus::{Lane, Log};
use protocol::ConversationId;

pub(crate) use state::{Head, State};

/// One conversation's place in the cache.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) id: ConversationId,
    pub(crate) lane: Lane,
    pub(crate) subject: String,
    /// `None`: not known, read the log. Whoever appends takes the state out before, and puts back what he knows for
    /// certain, so that a cancelled or unanswered append leaves `None`.
    pub(crate) state: tokio::sync::Mutex<Option<State>>,
    members: AtomicU32,
}

/// Bounds of the cache: members of all conversations together, at about 100 bytes each.
const MEMBERS_MOST: u64 = 1_000_000;
/// Weight of a conversation without its members, in members.
const BASE_WEIGHT: u32 = 8;
const IDLE_MOST: Duration = Duration::from_secs(600);
/// How long an id is believed to name nothing once log and MongoDB have said so. The log is asked before.
const ABSENT_FOR: Duration = Duration::from_secs(2);
const ABSENT_MOST: u64 = 20_000;

/// The bounded cache.
#[derive(Debug, Clone)]
pub(crate) struct Conversations {
    log: Log,
    known: moka::sync::Cache<ConversationId, Arc<Conversation>>,
    absent: moka::sync::Cache<ConversationId, ()>,
}

impl Conversations {
    /// An empty cache. What is idle for half of `max_age` is forgotten, so that no state outlives all the entries that
    /// would tell of its changes.
    pub(crate) fn new(log: Log, max_age: Duration) -> Self {
        let known = moka::sync::Cache::builder()
            .max_capacity(MEMBERS_MOST)
            .weigher(|_, it: &Arc<Conversation>| it.members.load(Ordering::Relaxed) + BASE_WEIGHT)
            .time_to_idle(IDLE_MOST.min(max_age / 2).max(Duration::from_millis(1)))
            .build();
        let absent = moka::sync::Cache::builder()
            .max_capacity(ABSENT_MOST)
            .time_to_live(ABSENT_FOR)
            .build();
        Self { log, known, absent }
    }

    /// The place of a conversation, whether or not there is such a conversation.
    pub(crate) fn open(&self, id: &ConversationId) -> Arc<Conversation> {
        self.known.get_with_by_ref(id, || {
            let (lane, subject) = self.log.place(id);
            Arc::new(Conversation {
                id: id.clone(),
                lane,
                subject,
                state: tokio::sync::Mutex::new(None),
                members: AtomicU32::new(0),
            })
        })
    }

    /// Weighs a conversation by the members that it turned out to have.
    pub(crate) fn weigh(&self, conversation: &Arc<Conversation>, members: usize) {
        let members = u32::try_from(members).unwrap_or(u32::MAX - BASE_WEIGHT);
        if conversation.members.swap(members, Ordering::Relaxed) != members {
            self.known.insert(conversation.id.clone(), conversation.clone());
        }
    }

    fn is_absent(&self, id: &ConversationId) -> bool {
        self.absent.contains_key(id)
    }

    fn set_absent(&self, id: &ConversationId) {
        self.known.invalidate(id);
        self.absent.insert(id.clone(), ());
    }

    /// Forgets all of them: a stream was made anew, and positions of the old one mean nothing in it.
    pub(crate) fn forget_all(&self) {
        self.known.invalidate_all();
    }

    /// How many are known.
    pub(crate) fn count(&self) -> u64 {
        self.known.entry_count()
    }
}
