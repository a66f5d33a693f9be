//! Following the bucket: the statuses that users chose, and which nodes live.
//!
//! Read whole at each start, and again after every doubt: a lost link, a failed watch, a bucket that is gone or another
//! one. async-nats' own watch would wait in silence for a bucket made anew to grow past the old position.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::kv::Store;
use bus::{Bus, streams, subjects};
use futures_util::StreamExt;
use lifecycle::Shutdown;
use protocol::UserId;
use protocol::client_frame::ChosenStatus;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::core::Choice;

const PAUSE: Duration = Duration::from_millis(100);
/// Between looks at the bucket's identity.
const LOOK: Duration = Duration::from_millis(500);
/// Silence while the bucket is read for the first time after which it is read again.
const SILENCE: Duration = Duration::from_secs(5);

/// What the follower is told.
#[derive(Debug)]
pub(crate) enum BucketEvent {
    /// Everything that is in it, as of an entry.
    Loaded(Content, u64),
    /// What changed, in an entry.
    Changed(Change, u64),
    /// It cannot be followed for now; it will be loaded again.
    Lost,
}

/// Everything that is in the bucket and is followed.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) choices: HashMap<UserId, Choice>,
    pub(crate) nodes: HashSet<String>,
}

/// One entry.
#[derive(Debug)]
pub(crate) enum Change {
    Choice(UserId, Choice),
    Node(String, bool),
}

/// A chosen status as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) status: ChosenStatus,
    /// The session that chose it; the last one alone is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<String>,
}

impl Content {
    fn take(&mut self, change: Change) {
        match change {
            Change::Choice(user, choice) => {
                self.choices.insert(user, choice);
            }
            Change::Node(name, true) => {
                self.nodes.insert(name);
            }
            Change::Node(name, false) => {
                self.nodes.remove(&name);
            }
        }
    }
}

/// Follows the bucket until the shutdown.
pub(crate) async fn follow(
    bus: Bus,
    config: config::Stream,
    events: mpsc::Sender<BucketEvent>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    loop {
        let mut link = bus.link();
        let ended = tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            ended = read(&bus, &config, &events) => ended,
            _ = link.changed() => "the link changed".to_owned(),
        };
        tracing::info!(reason = ended, "following the presence bucket again");
        metrics::counter!("parley_presence_bucket_restarts_total").increment(1);
        if events.send(BucketEvent::Lost).await.is_err() {
            return Ok(());
        }
        let again = async {
            if !bus.is_up() {
                let _ = link.wait_for(|it| it.up).await;
            }
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            () = again => {}
        }
    }
}

/// Reads until something is doubtful, and says what.
async fn read(bus: &Bus, config: &config::Stream, events: &mpsc::Sender<BucketEvent>) -> String {
    let store = match streams::presence_bucket(bus, config).await {
        Ok(store) => store,
        Err(error) => return error.to_string(),
    };
    let identity = match streams::state(bus, &store.stream_name).await {
        Ok(Some(state)) => state.identity,
        Ok(None) => return "the bucket is gone".into(),
        Err(error) => return error.to_string(),
    };
    tokio::select! {
        ended = consume(bus, &store, events) => ended.unwrap_or_else(|error| error.to_string()),
        () = another(bus, &store, identity) => "the bucket is another one".into(),
    }
}

async fn consume(bus: &Bus, store: &Store, events: &mpsc::Sender<BucketEvent>) -> Result<String, async_nats::Error> {
    let config = OrderedConfig {
        deliver_subject: bus.client.new_inbox(),
        filter_subjects: [subjects::STATUS_KEYS, subjects::NODE_KEYS]
            .map(|keys| format!("{}{keys}", store.prefix))
            .to_vec(),
        deliver_policy: DeliverPolicy::LastPerSubject,
        ..Default::default()
    };
    let consumer = store.stream.create_consumer(config).await?;
    let mut pending = consumer.cached_info().num_pending;
    let mut revision = consumer.cached_info().delivered.stream_sequence;
    let mut messages = consumer.messages().await?;
    let mut content = Content::default();
    while pending > 0 {
        let Ok(next) = tokio::time::timeout(SILENCE, next(&mut messages)).await else {
            return Ok("the bucket could not be read in full".into());
        };
        let Some(message) = next? else {
            return Ok("the watch ended".into());
        };
        let info = message.info()?;
        (pending, revision) = (info.pending, info.stream_sequence);
        if let Some(change) = parse(store, &message) {
            content.take(change);
        }
    }
    if events.send(BucketEvent::Loaded(content, revision)).await.is_err() {
        return Ok("nobody listens".into());
    }
    while let Some(message) = next(&mut messages).await? {
        let revision = message.info()?.stream_sequence;
        if let Some(change) = parse(store, &message)
            && events.send(BucketEvent::Changed(change, revision)).await.is_err()
        {
            return Ok("nobody listens".into());
        }
    }
    Ok("the watch ended".into())
}

async fn next(messages: &mut Ordered) -> Result<Option<Message>, async_nats::Error> {
    Ok(messages.next().await.transpose()?)
}

/// Waits until the bucket is gone or another one: the server does not tell those who watch.
async fn another(bus: &Bus, store: &Store, identity: u64) {
    loop {
        tokio::time::sleep(LOOK).await;
        match streams::state(bus, &store.stream_name).await {
            Ok(Some(state)) if state.identity == identity => {}
            Ok(_) => return,
            // Whoever consumes finds out what is wrong with the link.
            Err(_) => {}
        }
    }
}

/// An entry that cannot be read is skipped and counted: a newer version may have written it.
fn parse(store: &Store, message: &Message) -> Option<Change> {
    let key = message.subject.strip_prefix(&store.prefix)?;
    let headers = message.headers.as_ref();
    let operation = headers.and_then(|it| it.get("KV-Operation"));
    // The server's own word for a key that ran out.
    let marker = headers.and_then(|it| it.get("Nats-Marker-Reason"));
    let deleted = marker.is_some() || operation.is_some_and(|it| it.as_str() != "PUT");
    let change = parse_entry(key, &message.payload, deleted);
    if change.is_none() {
        metrics::counter!("parley_unreadable_total", "what" => "status").increment(1);
        tracing::warn!(key, "skipped an unreadable entry of the presence bucket");
    }
    change
}

fn parse_entry(key: &str, value: &[u8], deleted: bool) -> Option<Change> {
    if let Some(node) = key.strip_prefix("node.") {
        return Some(Change::Node(node.to_owned(), !deleted));
    }
    let user = subjects::status_user(key)?;
    let choice = if deleted {
        Choice {
            status: ChosenStatus::default(),
            session_id: None,
        }
    } else {
        let Stored { status, session_id } = serde_json::from_slice(value).ok()?;
        Choice { status, session_id }
    };
    Some(Change::Choice(user, choice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_status_is_the_default() {
        let Some(Change::Choice(user, choice)) = parse_entry("status.ada=40home", b"", true) else {
            panic!("no choice");
        };
        assert_eq!((user.as_str(), choice.status), ("ada@home", ChosenStatus::Online));
    }

    #[test]
    fn a_status_of_a_newer_version_is_skipped() {
        assert!(parse_entry("status.ada", br#"{"status":"sleeping"}"#, false).is_none());
    }
}
