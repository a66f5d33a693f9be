//! What MongoDB holds: how far it is behind while the load runs, and whether at the end every message is in it once.
//!
//! Asked of MongoDB itself, because the history that clients see is completed from the log and so never shows a lag.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::TryStreamExt;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::data_dir::DataDir;

/// All events of all conversations, as the message service keeps them: `_id` is `{c: conversation, s: seq}`.
const COLLECTION: &str = "messages";
const SAMPLE: Duration = Duration::from_millis(250);
const POLL: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Store(mongodb::Collection<Document>);

/// What storing owes the log.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Missing {
    /// Events that were seen and are not stored.
    pub(super) events: u64,
    /// Conversations that hold more than was seen.
    pub(super) too_many: u64,
}

impl Store {
    /// The MongoDB that belongs to a deployment's folder.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(super) async fn of(data: &DataDir) -> anyhow::Result<Self> {
        let config = config::Config::load(None, |_| {})?.mongodb;
        let uri = match data.port("mongod") {
            Some(port) => format!("mongodb://127.0.0.1:{port}/?directConnection=true"),
            None => config.uri,
        };
        let client = Client::with_uri_str(uri).await.context("cannot reach MongoDB")?;
        Ok(Self(client.database(&config.database).collection(COLLECTION)))
    }

    /// How many events are stored. Read from the collection's metadata: it costs MongoDB nothing.
    ///
    /// # Errors
    /// MongoDB does not answer.
    pub(super) async fn count(&self) -> anyhow::Result<u64> {
        Ok(self.0.estimated_document_count().await?)
    }

    /// Waits until `count` events are stored, and says when; `None` if they are not in time.
    ///
    /// # Errors
    /// MongoDB does not answer.
    pub(super) async fn wait(&self, count: u64, patience: Duration) -> anyhow::Result<Option<Instant>> {
        let start = Instant::now();
        while self.count().await? < count {
            if start.elapsed() > patience {
                return Ok(None);
            }
            sleep(POLL).await;
        }
        Ok(Some(Instant::now()))
    }

    /// Compares with what the sockets were told: a conversation whose head is `seq` n has n events, numbered 1 to n.
    ///
    /// # Errors
    /// MongoDB does not answer.
    pub(super) async fn missing(&self, heads: &[(String, u64)]) -> anyhow::Result<Missing> {
        let ids: Vec<&str> = heads.iter().map(|(id, _)| id.as_str()).collect();
        let pipeline = [
            doc! { "$match": { "_id.c": { "$in": ids } } },
            doc! { "$group": { "_id": "$_id.c", "events": { "$sum": 1_i64 }, "head": { "$max": "$_id.s" } } },
        ];
        let found: Vec<Document> = self.0.aggregate(pipeline).await?.try_collect().await?;
        let stored: HashMap<&str, (i64, i64)> = found
            .iter()
            .filter_map(|it| {
                Some((
                    it.get_str("_id").ok()?,
                    (it.get_i64("events").ok()?, it.get_i64("head").ok()?),
                ))
            })
            .collect();
        Ok(compare(heads, &stored))
    }

    /// Samples how far storing is behind the acks until [`Lag::end`].
    pub(super) fn lag(&self, base: u64, acked: Arc<AtomicU64>) -> Lag {
        let (seen, sight) = watch::channel(Seen::default());
        let store = self.clone();
        let sampler = tokio::spawn(async move {
            loop {
                let acked = acked.load(Ordering::Relaxed);
                if let Ok(count) = store.count().await {
                    let now = Instant::now();
                    seen.send_modify(|it| it.sample(acked, count.saturating_sub(base), now));
                }
                sleep(SAMPLE).await;
            }
        });
        Lag { sight, sampler }
    }
}

/// What the samples showed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// The most messages that were acked and not stored.
    pub(super) behind_most: u64,
    /// Since when nothing is behind, and how much was acked then.
    caught_up: Option<(Instant, u64)>,
}

impl Seen {
    fn sample(&mut self, acked: u64, stored: u64, now: Instant) {
        self.behind_most = self.behind_most.max(acked.saturating_sub(stored));
        self.caught_up = match self.caught_up {
            _ if stored < acked => None,
            Some((since, known)) if known == acked => Some((since, acked)),
            _ => Some((now, acked)),
        };
    }

    /// How long after `last_ack` all was stored: `known` at the latest, or earlier if a sample showed it.
    pub(super) fn stored_after(&self, last_ack: Instant, known: Instant) -> Duration {
        let sampled = self
            .caught_up
            .map(|(since, _)| since)
            .filter(|since| *since >= last_ack);
        sampled
            .map_or(known, |since| since.min(known))
            .saturating_duration_since(last_ack)
    }
}

/// A running sampler.
#[derive(Debug)]
pub(super) struct Lag {
    sight: watch::Receiver<Seen>,
    sampler: JoinHandle<()>,
}

impl Lag {
    /// Ends it.
    pub(super) fn end(self) -> Seen {
        self.sampler.abort();
        *self.sight.borrow()
    }
}

fn compare(heads: &[(String, u64)], stored: &HashMap<&str, (i64, i64)>) -> Missing {
    let mut missing = Missing::default();
    for (id, head) in heads {
        let (events, last) = stored.get(id.as_str()).copied().unwrap_or_default();
        let events = u64::try_from(events).unwrap_or_default();
        missing.events += head.saturating_sub(events);
        missing.too_many += u64::from(events > *head || u64::try_from(last).unwrap_or_default() > *head);
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_too_much_is_found() {
        let heads = [("a".to_owned(), 10), ("b".to_owned(), 4), ("c".to_owned(), 2)];
        let whole = HashMap::from([("a", (10, 10)), ("b", (4, 4)), ("c", (2, 2))]);
        assert_eq!(compare(&heads, &whole), Missing::default());
        let wrong = HashMap::from([("a", (9, 10)), ("b", (5, 5))]);
        assert_eq!(compare(&heads, &wrong), Missing { events: 3, too_many: 1 });
    }

    #[test]
    fn a_sample_tells_when_storing_caught_up_for_good() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut seen = Seen::default();
        for (acked, stored, ms) in [(10, 10, 0), (50, 20, 100), (60, 60, 200), (60, 60, 300)] {
            seen.sample(acked, stored, at(ms));
        }
        assert_eq!(seen.behind_most, 30);
        assert_eq!(seen.stored_after(at(150), at(900)), Duration::from_millis(50));
        assert_eq!(
            seen.stored_after(at(250), at(900)),
            Duration::from_millis(650),
            "no sample since then"
        );
    }
}
