//! Entries of the log that are being planned: acked one by one, kept while that takes time, or given back.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message as Entry};
use parking_lot::Mutex;
use protocol::Timestamp;

use super::ACK_WAIT;
use crate::jobs::pause_by_chance;

/// NATS is told so often that they are in hand.
const PROGRESS: Duration = Duration::from_millis(ACK_WAIT.as_millis() as u64 / 3);

/// Entries come within milliseconds.
const OLD_MS: i64 = 3_000;
/// What cannot be planned comes again after this at the latest.
const AGAIN_MOST: Duration = Duration::from_secs(30);

/// See the module. Known by their index.
pub(super) struct InHand(Mutex<Vec<Option<Entry>>>);

impl InHand {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self(Mutex::new(entries.into_iter().map(Some).collect()))
    }

    /// Those that are not acked.
    pub(super) fn entries(&self) -> Vec<(usize, Entry)> {
        let entries = self.0.lock();
        let there = entries.iter().enumerate();
        there.filter_map(|(index, it)| Some((index, it.clone()?))).collect()
    }

    /// Whether an entry may have been planned already: it was delivered before, or is so old that a server which was killed
    /// may have forgotten that.
    pub(super) fn may_be_planned(&self, index: usize) -> bool {
        let entries = self.0.lock();
        let info = entries.get(index).and_then(Option::as_ref).map(Entry::info);
        let Some(Ok(info)) = info else { return false };
        let stored_at = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        info.delivered > 1 || Timestamp::now().as_millis() - stored_at > OLD_MS
    }

    fn take(&self, indexes: impl IntoIterator<Item = usize>) -> Vec<Entry> {
        let mut entries = self.0.lock();
        let taken = indexes.into_iter();
        taken
            .filter_map(|index| entries.get_mut(index).and_then(Option::take))
            .collect()
    }

    /// Acks some.
    pub(super) async fn ack(&self, indexes: impl IntoIterator<Item = usize>) {
        for entry in self.take(indexes) {
            send(&entry, AckKind::Ack).await;
        }
    }

    /// Acks all but some. An ack that is lost makes the entry come again, which its records answer.
    pub(super) async fn ack_all_but(&self, but: &HashSet<usize>) {
        let done: Vec<Entry> = {
            let mut entries = self.0.lock();
            let taken = entries.iter_mut().enumerate().filter(|(index, _)| !but.contains(index));
            taken.filter_map(|(_, it)| it.take()).collect()
        };
        for entry in done {
            send(&entry, AckKind::Ack).await;
        }
    }

    /// Keeps them, until dropped.
    pub(super) async fn keep(&self) -> Infallible {
        loop {
            tokio::time::sleep(PROGRESS).await;
            for (_, entry) in self.entries() {
                send(&entry, AckKind::Progress).await;
            }
        }
    }

    /// Gives some back, to come again after a pause that grows with every time they came.
    pub(super) async fn put_off(&self, indexes: impl IntoIterator<Item = usize>) -> u64 {
        let taken = self.take(indexes);
        for entry in &taken {
            let delivered = entry.info().map_or(1, |info| info.delivered);
            let pause = pause_by_chance(u32::try_from(delivered).unwrap_or(1), None, AGAIN_MOST);
            send(entry, AckKind::Nak(Some(pause))).await;
        }
        taken.len() as u64
    }

    /// Gives those that are left back, to come again at once. Returns how many.
    pub(super) async fn give_back(&self) -> u64 {
        let left = std::mem::take(&mut *self.0.lock());
        let mut count = 0;
        for entry in left.into_iter().flatten() {
            send(&entry, AckKind::Nak(None)).await;
            count += 1;
        }
        count
    }
}

async fn send(entry: &Entry, kind: AckKind) {
    if let Err(error) = entry.ack_with(kind).await {
        tracing::debug!(%error, "an entry of the log may come again");
    }
}
