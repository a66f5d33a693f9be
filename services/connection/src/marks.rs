//! Writing down what devices have confirmed: see [`crate::session`]'s marks.
//!
//! Published without waiting for an ack, by one task for all sessions: nothing waits for it. Where one is lost a device is
//! notified of something that it has already, which is better than not at all.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_TTL;
use bus::{Bus, subjects};
use lifecycle::Shutdown;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::session::Session;
use crate::session::marks::Entry;

/// Entries that wait to be published. More are dropped.
const WAITING_MOST: usize = 32_768;
/// Seconds that an entry is kept: nothing older is pushed.
const KEPT_SECONDS: u64 = 24 * 3600;
/// A publish that takes longer is given up.
const PUBLISH: Duration = Duration::from_secs(1);
/// For the last ones to leave the process.
const FLUSH: Duration = Duration::from_millis(500);

/// Subject and payload.
type Line = (String, u64);

/// Takes entries of all sessions of this node.
#[derive(Debug)]
pub struct MarkWriter(mpsc::Sender<Line>);

/// Entries on their way.
#[derive(Debug)]
pub struct Waiting(mpsc::Receiver<Line>);

/// A writer, and what [`run`] publishes.
pub fn channel() -> (MarkWriter, Waiting) {
    let (sender, receiver) = mpsc::channel(WAITING_MOST);
    let waiting = sender.downgrade();
    telemetry::watch_queue("device_confirmations", move || {
        let waiting: mpsc::Sender<Line> = waiting.upgrade()?;
        Some((waiting.max_capacity() - waiting.capacity(), waiting.max_capacity()))
    });
    (MarkWriter(sender), Waiting(receiver))
}

impl MarkWriter {
    /// Writes down what a session's device has confirmed; never waits.
    pub fn write(&self, session: &Session, (id, seq): Entry) {
        let subject = subjects::confirmed(&session.user_id, &session.device_id, &id);
        if self.0.try_send((subject, seq)).is_err() {
            count("dropped");
        }
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("parley_device_confirmations_total", "outcome" => outcome).increment(1);
}

/// Publishes until `last` fires, and then what is left.
pub async fn run(bus: Bus, mut waiting: Waiting, last: Shutdown) -> anyhow::Result<()> {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_TTL, KEPT_SECONDS.to_string());
    loop {
        let line = tokio::select! {
            Some(line) = waiting.0.recv() => line,
            () = last.triggered() => break,
        };
        publish(&bus, &headers, line).await;
    }
    let rest = async {
        while let Ok(line) = waiting.0.try_recv() {
            publish(&bus, &headers, line).await;
        }
        let _ = bus.client.flush().await;
    };
    let _ = timeout(FLUSH, rest).await;
    Ok(())
}

async fn publish(bus: &Bus, headers: &HeaderMap, (subject, seq): Line) {
    let payload = seq.to_string().into();
    // While NATS is away nothing is asked of push either, and what is confirmed then is not accepted.
    let sent = async {
        let client = &bus.client;
        bus.is_up()
            && client
                .publish_with_headers(subject, headers.clone(), payload)
                .await
                .is_ok()
    };
    let sent = timeout(PUBLISH, sent).await.unwrap_or(false);
    count(if sent { "written" } else { "dropped" });
}
