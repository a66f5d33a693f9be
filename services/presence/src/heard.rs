//! Everything that a replica hears, as one stream of decoded messages.

use async_nats::{Message, StatusCode};
use bus::{Bus, subjects};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll, select_all};
use protocol::signal::{Report, Signals, Snapshot};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::bucket::BucketEvent;
use crate::core::Beat;

/// Header that names the replica which sent signals.
pub(crate) const REPLICA: &str = "Parley-Replica";

/// One thing that was heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Report(Report),
    Part {
        ask: u64,
        snapshot: Snapshot,
    },
    Absent {
        node: String,
        ask: u64,
    },
    Signals {
        replica: Option<String>,
        signals: Signals,
    },
    Beat(Beat),
    Bucket(BucketEvent),
    /// It could not be read, and was counted.
    Nothing,
}

/// The open ears: nothing that is said after this returns is missed.
pub(crate) struct Ears {
    /// Where parts of snapshots are sent to: this, the node, the number of the question.
    pub(crate) inbox: String,
    pub(crate) heard: SelectAll<BoxStream<'static, Heard>>,
}

impl Ears {
    /// # Errors
    /// The connection was closed for good.
    pub(crate) async fn open(bus: &Bus, bucket: mpsc::Receiver<BucketEvent>) -> anyhow::Result<Self> {
        let inbox = bus.client.new_inbox();
        let client = &bus.client;
        let bucket = futures_util::stream::unfold(bucket, |mut bucket| async {
            bucket.recv().await.map(|event| (Heard::Bucket(event), bucket))
        });
        let heard = select_all([
            client.subscribe(subjects::PRESENCE_REPORTS).await?.map(report).boxed(),
            client.subscribe(format!("{inbox}.*.*")).await?.map(part).boxed(),
            client.subscribe(subjects::PRESENCE_SIGNALS).await?.map(signals).boxed(),
            client.subscribe(subjects::PRESENCE_REPLICAS).await?.map(beat).boxed(),
            bucket.boxed(),
        ]);
        Ok(Self { inbox, heard })
    }
}

fn report(message: Message) -> Heard {
    decode(&message, "report").map_or(Heard::Nothing, Heard::Report)
}

fn part(message: Message) -> Heard {
    let mut tokens = message.subject.rsplit('.');
    let (ask, node) = (tokens.next().and_then(|it| it.parse().ok()), tokens.next());
    let (Some(ask), Some(node)) = (ask, node) else {
        return Heard::Nothing;
    };
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        let node = node.to_owned();
        return Heard::Absent { node, ask };
    }
    decode(&message, "snapshot").map_or(Heard::Nothing, |snapshot| Heard::Part { ask, snapshot })
}

fn signals(message: Message) -> Heard {
    let header = message.headers.as_ref().and_then(|it| it.get(REPLICA));
    let replica = header.map(|it| it.as_str().to_owned());
    decode(&message, "signals").map_or(Heard::Nothing, |signals| Heard::Signals { replica, signals })
}

fn beat(message: Message) -> Heard {
    decode(&message, "beat").map_or(Heard::Nothing, Heard::Beat)
}

/// What cannot be read is skipped and counted: a newer version may have sent it.
fn decode<T: DeserializeOwned>(message: &Message, what: &'static str) -> Option<T> {
    serde_json::from_slice(&message.payload)
        .inspect_err(|error| {
            metrics::counter!("parley_unreadable_total", "what" => what).increment(1);
            tracing::warn!(error = %protocol::Quiet(error), subject = %message.subject, "skipped an unreadable message");
        })
        .ok()
}
