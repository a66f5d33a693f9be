//! Finding out who sent what a receipt covers: from the log, where it is recent, and from MongoDB, if that is quick.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bus::LogError;
use bus::direct::Reach;
use protocol::envelope::{Envelope, EventHead};
use protocol::{ConversationId, UserId};
use tokio::sync::{Mutex, Semaphore};

use super::ring::{RING, Ring};
use crate::conversation::{Conversation, State};
use crate::event::MESSAGE;
use crate::service::Service;

/// Conversations remembered, at most a third of a megabyte each, and for how long without a receipt.
const CACHE_MOST: u64 = 200;
const IDLE_MOST: Duration = Duration::from_secs(600);
/// Entries read at once.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// A first look goes back so far, whatever is asked for: the next receipt is likely to ask for more.
const FIRST_LOOK: u64 = 256;
/// Messages older than what is remembered, the time for finding out who sent them, and how many find out at once. Who
/// comes back after long, to much, tells only the senders of the newest of it.
const OLDER_MOST: i64 = 4_096;
const OLDER_TIME: Duration = Duration::from_millis(300);
const OLDER_AT_ONCE: usize = 4;

/// Who sent the last messages of the large conversations that this replica handles receipts of.
#[derive(Debug)]
pub(crate) struct Senders {
    pub(super) rings: moka::sync::Cache<ConversationId, Arc<Mutex<Ring>>>,
    older: Semaphore,
}

impl Senders {
    pub(crate) fn new() -> Self {
        let rings = moka::sync::Cache::builder()
            .max_capacity(CACHE_MOST)
            .time_to_idle(IDLE_MOST)
            .build();
        Self {
            rings,
            older: Semaphore::new(OLDER_AT_ONCE),
        }
    }

    /// Forgets all: a stream was made anew.
    pub(crate) fn forget_all(&self) {
        self.rings.invalidate_all();
    }
}

impl Service {
    /// The members who sent messages above `after` and up to `up_to`, the newest first, without `reader` himself.
    pub(super) async fn senders_of(
        &self,
        conversation: &Conversation,
        state: &State,
        reader: &UserId,
        after: u64,
        up_to: u64,
    ) -> Result<Vec<UserId>, LogError> {
        let ring = self.senders.rings.get_with_by_ref(&conversation.id, Arc::default);
        let (mut senders, known_from) = {
            let mut ring = ring.lock().await;
            if ring.last() < up_to {
                self.read_senders(conversation, state, &mut ring, after, up_to).await?;
            }
            let known_from = if ring.first() == 0 { up_to + 1 } else { ring.first() };
            (ring.senders(after, up_to), known_from)
        };
        if known_from > after + 1 {
            let mut seen: HashSet<UserId> = senders.iter().cloned().collect();
            let older = self.older_senders(conversation, after, known_from.min(up_to + 1)).await;
            senders.extend(older.into_iter().filter(|it| seen.insert(it.clone())));
        }
        senders.retain(|it| it != reader && state.members.contains(it));
        senders.truncate(RING);
        Ok(senders)
    }

    /// Reads on, from where the ring ends, or from where a new one begins.
    pub(super) async fn read_senders(
        &self,
        conversation: &Conversation,
        state: &State,
        ring: &mut Ring,
        after: u64,
        up_to: u64,
    ) -> Result<(), LogError> {
        let mut from = ring.position() + 1;
        if ring.position() == 0 || ring.last() + (RING as u64) < up_to {
            let first = up_to.saturating_sub(FIRST_LOOK).min(after + 1);
            let first = first.max((up_to + 1).saturating_sub(RING as u64)).max(1);
            let Some(record) = self.first_from(conversation, first).await? else {
                return Ok(());
            };
            from = record.position;
        }
        while ring.last() < up_to {
            let place = (from, Reach::Position(state.head.position));
            let read = self
                .log
                .from(conversation.lane, &conversation.subject, place, BATCH, BATCH_BYTES);
            let records = read.await?.records;
            let Some(last) = records.last() else { return Ok(()) };
            from = last.position + 1;
            for record in &records {
                let Some((seq, sender)) = sender(&record.payload) else {
                    continue;
                };
                // The members' own copies of their ids: there are many messages and few senders.
                let sender = sender.map(|it| state.members.get(&it).map_or(it, |it| it.user_id.clone()));
                ring.push(seq, record.position, sender);
            }
        }
        Ok(())
    }

    /// Who sent messages between exclusive bounds; nobody where MongoDB does not say so soon.
    async fn older_senders(&self, conversation: &Conversation, after: u64, before: u64) -> Vec<UserId> {
        let read = async {
            let _turn = self.senders.older.acquire().await.ok()?;
            self.store
                .senders(&conversation.id, after, before, OLDER_MOST)
                .await
                .ok()
        };
        let found = tokio::time::timeout(OLDER_TIME, read).await;
        found.ok().flatten().unwrap_or_default()
    }
}

/// An entry's `seq`, and its sender where it is a message.
fn sender(payload: &[u8]) -> Option<(u64, Option<UserId>)> {
    let envelope: Envelope<'_> = serde_json::from_slice(payload).ok()?;
    let head: EventHead<'_> = serde_json::from_str(envelope.frame.get()).ok()?;
    let sender = head.sender_id.filter(|_| head.event_type == MESSAGE);
    Some((head.seq, sender))
}
