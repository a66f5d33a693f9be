//! One batch of log entries on its way into MongoDB, and what becomes of it when MongoDB is away or refuses.

use std::time::Duration;

use async_nats::jetstream::Message;
use bus::Lane;
use lifecycle::Shutdown;

use crate::event::Event;
use crate::memberships;
use crate::service::Service;
use crate::store::Failure;

/// Pauses between tries while MongoDB is away: short enough to be back within a second of it.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MOST: Duration = Duration::from_millis(500);

/// Entries in hand: those that can be read, and all that are to be acked.
#[derive(Debug)]
pub(crate) struct Batch {
    lane: Lane,
    events: Vec<Event>,
    messages: Vec<Message>,
}

impl Batch {
    pub(super) fn new(lane: Lane) -> Self {
        Self {
            lane,
            events: Vec::new(),
            messages: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Takes an entry in. One that cannot be read is counted and acked with the others: a newer version's entry must
    /// not stop the lane.
    pub(super) fn push(&mut self, message: Message) {
        match Event::decode(&message.payload) {
            Ok(event) => self.events.push(event),
            Err(error) => {
                metrics::counter!("parley_unreadable_total", "what" => "entry").increment(1);
                tracing::warn!(stream = self.lane.stream(), subject = %message.subject, %error, "skipped an entry");
            }
        }
        self.messages.push(message);
    }

    /// Projects the batch and acks it.
    ///
    /// # Errors
    /// Why the lane must start again; the entries come again.
    pub(super) async fn project(self, service: &Service, shutdown: &Shutdown) -> Result<(), String> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let started = tokio::time::Instant::now();
        for event in &self.events {
            // Ahead of MongoDB, so that the directory is whole also while MongoDB is away.
            let stored = memberships::store_event(&service.log, event).await;
            stored.map_err(|error| error.to_string())?;
        }
        let events: Vec<&Event> = self.events.iter().collect();
        if !commit(service, self.lane, &events, shutdown).await {
            return Err("shutting down".into());
        }
        for message in &self.messages {
            message.ack().await.map_err(|error| error.to_string())?;
        }
        let lane = self.lane.stream();
        metrics::counter!("parley_projected_total", "stream" => lane.clone()).increment(self.messages.len() as u64);
        metrics::counter!("parley_projector_batches_total", "stream" => lane).increment(1);
        metrics::histogram!("parley_projector_batch_seconds").record(started.elapsed().as_secs_f64());
        Ok(())
    }
}

/// Commits events, again and again while MongoDB is away. What it refuses for good is isolated by halves, counted and
/// left out: `parley verify` finds it. False: the shutdown came first.
async fn commit(service: &Service, lane: Lane, events: &[&Event], shutdown: &Shutdown) -> bool {
    let mut waiting = vec![events];
    while let Some(part) = waiting.pop() {
        match commit_part(service, lane, part, shutdown).await {
            None => return false,
            Some(Ok(())) => {}
            Some(Err(code)) => match part {
                [event] => {
                    metrics::counter!("parley_projector_poison_total").increment(1);
                    let (conversation, seq) = (event.conversation_id().as_str(), event.seq());
                    tracing::error!(
                        stream = lane.stream(),
                        conversation,
                        seq,
                        code,
                        "MongoDB refuses an event"
                    );
                }
                part => {
                    let (left, right) = part.split_at(part.len() / 2);
                    waiting.extend([right, left]);
                }
            },
        }
    }
    true
}

/// `None`: the shutdown came first. `Err`: refused for good, with MongoDB's code.
async fn commit_part(service: &Service, lane: Lane, events: &[&Event], shutdown: &Shutdown) -> Option<Result<(), i32>> {
    let mut pause = PAUSE_FIRST;
    loop {
        let error = match service.store.commit(events).await {
            Ok(()) => return Some(Ok(())),
            Err(Failure::Refused { code }) => return Some(Err(code)),
            Err(Failure::Away(error)) => error,
        };
        metrics::counter!("parley_projector_failed_batches_total").increment(1);
        if pause == PAUSE_FIRST {
            tracing::warn!(stream = lane.stream(), error, "the projection waits for MongoDB");
        }
        tokio::select! {
            () = shutdown.triggered() => return None,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE_MOST);
    }
}
