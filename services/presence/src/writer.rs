//! Writing into the bucket what nobody waits for: when users were last seen, which nodes live.
//!
//! Many at once when many leave at once, but never more than a few under way; of one key only the newest value counts.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use bus::{Bus, streams};
use bytes::Bytes;
use futures_util::StreamExt;
use lifecycle::Shutdown;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Keys that wait; past it new ones are not written.
pub(crate) const WAITING_MOST: usize = 100_000;
/// Writes under way.
const CONCURRENCY: usize = 64;
/// Keys taken at once.
const BATCH: usize = 1_024;
/// Before a failed write is tried again.
const PAUSE: Duration = Duration::from_millis(300);
/// How long the end waits for what is left.
const LAST: Duration = Duration::from_secs(1);

/// What is to be written; `None`: deleted.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    waiting: Mutex<HashMap<String, Option<Bytes>>>,
    some: Notify,
}

impl Writer {
    /// Writes it soon, in place of what was to be written there.
    pub(crate) fn write(&self, key: String, value: Option<Bytes>) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= WAITING_MOST && !waiting.contains_key(&key) {
            metrics::counter!("parley_presence_writes_dropped_total").increment(1);
            return;
        }
        waiting.insert(key, value);
        drop(waiting);
        self.some.notify_one();
    }

    /// How many keys wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Writes until `end` fires, and then for a moment what is left.
    pub(crate) async fn run(&self, bus: &Bus, config: &config::Stream, end: &Shutdown) {
        let too_late = async {
            end.triggered().await;
            tokio::time::sleep(LAST).await;
        };
        tokio::select! {
            () = self.write_all(bus, config, end) => {}
            () = too_late => {
                let left = self.waiting() as u64;
                metrics::counter!("parley_presence_writes_dropped_total").increment(left);
            }
        }
    }

    /// Writes what waits and what comes, until `end` fires and nothing waits.
    async fn write_all(&self, bus: &Bus, config: &config::Stream, end: &Shutdown) {
        let mut bucket = None;
        loop {
            if self.waiting() == 0 {
                tokio::select! {
                    () = self.some.notified() => continue,
                    () = end.triggered() => return,
                }
            }
            if bucket.is_none() {
                bucket = streams::presence_bucket(bus, config).await.ok();
            }
            let whole = match &bucket {
                Some(bucket) => self.write_batch(bucket).await,
                None => false,
            };
            if !whole {
                bucket = None;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Whether all of it was written; what was not waits again.
    async fn write_batch(&self, bucket: &Store) -> bool {
        let mut writes = futures_util::stream::iter(self.take_batch())
            .map(|(key, value)| async move {
                let written = match value.clone() {
                    Some(value) => bucket.put(&key, value).await.map(drop).map_err(|it| it.to_string()),
                    None => {
                        let deleted = bucket.purge_with_ttl(&key, streams::PRESENCE_MARKERS).await;
                        deleted.map_err(|it| it.to_string())
                    }
                };
                (key, value, written)
            })
            .buffer_unordered(CONCURRENCY);
        let mut whole = true;
        while let Some((key, value, written)) = writes.next().await {
            let Err(error) = written else {
                metrics::counter!("parley_presence_writes_total").increment(1);
                continue;
            };
            whole = false;
            metrics::counter!("parley_presence_write_failures_total").increment(1);
            tracing::debug!(%error, "the presence bucket could not be written");
            self.waiting.lock().entry(key).or_insert(value);
        }
        whole
    }

    fn take_batch(&self) -> Vec<(String, Option<Bytes>)> {
        let mut waiting = self.waiting.lock();
        if waiting.len() <= BATCH {
            return waiting.drain().collect();
        }
        let keys: Vec<String> = waiting.keys().take(BATCH).cloned().collect();
        keys.into_iter().filter_map(|key| waiting.remove_entry(&key)).collect()
    }
}
