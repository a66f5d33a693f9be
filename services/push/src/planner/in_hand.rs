//! Entries of the log that are being planned: acked one by one, kept while that takes time, or given back.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message as Entry};
use parking_lot::Mutex;

use super::ACK_WAIT;

/// NATS is told so often that they are in hand.
const PROGRESS: Duration = Duration::from_millis(ACK_WAIT.as_millis() as u64 / 3);

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

    /// Whether an entry was delivered before: it may have been planned already.
    pub(super) fn came_again(&self, index: usize) -> bool {
        let entries = self.0.lock();
        let entry = entries.get(index).and_then(Option::as_ref);
        entry.is_some_and(|it| it.info().is_ok_and(|info| info.delivered > 1))
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

    /// Gives those that are left back, to come again after `pause`. Returns how many.
    pub(super) async fn give_back(&self, pause: Option<Duration>) -> u64 {
        let left = std::mem::take(&mut *self.0.lock());
        let mut count = 0;
        for entry in left.into_iter().flatten() {
            send(&entry, AckKind::Nak(pause)).await;
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
