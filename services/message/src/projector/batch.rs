//! One batch of log entries on its way into MongoDB, and what becomes of it when MongoDB is away or refuses.

use std::convert::Infallible;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use bus::Lane;
use lifecycle::Shutdown;
use protocol::envelope::Unreadable;

use telemetry::trace::{self, Origin};
use tracing::Span;

use crate::event::Event;
use crate::memberships;
use crate::service::Service;
use crate::store::{Failure, MESSAGES};

/// Pauses between tries while MongoDB is away: short enough to be back within a second of it.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MOST: Duration = Duration::from_millis(500);
/// While a large change is written NATS is told so often that its entries are in hand, so that they do not come again,
/// and at most so many times: another replica may have more luck then.
const PROGRESS: Duration = Duration::from_millis(super::ACK_WAIT.as_millis() as u64 / 2);
const PROGRESS_TIMES: usize = 8;

/// Entries in hand: those that can be read, and all that are to be acked.
#[derive(Debug)]
pub(crate) struct Batch {
    lane: Lane,
    events: Vec<Event>,
    messages: Vec<Message>,
    /// Of the entries that are traced.
    spans: Vec<Span>,
}

impl Batch {
    pub(super) fn new(lane: Lane) -> Self {
        Self {
            lane,
            events: Vec::new(),
            messages: Vec::new(),
            spans: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Takes an entry in. One that cannot be read is counted and acked with the others: a newer version's entry must
    /// not stop the lane. It is still the conversation's last, where it can be seen which that is.
    pub(super) fn push(&mut self, message: Message) {
        let (event, error) = match Event::decode(&message.payload) {
            Ok(event @ Event::Newer(_)) => (Some(event), Some(Unreadable::UnknownEvent)),
            Ok(event) => (Some(event), None),
            Err(error) => (Event::decode_place(&message.payload).ok(), Some(error)),
        };
        if let Some(error) = &error {
            metrics::counter!("parley_unreadable_total", "what" => "entry").increment(1);
            tracing::warn!(stream = self.lane.stream(), subject = %message.subject, %error, "skipped an entry");
        }
        // The `seq` of a receipt is no place in the conversation.
        let is_event = error.is_none() || self.lane != Lane::Receipts;
        self.events.extend(event.filter(|_| is_event));
        let origin = Origin::inside(bus::spans::traceparent(&message));
        if origin.is_some() {
            self.spans.push(telemetry::span!(
                origin,
                "consumer",
                format!("project {}", self.lane.stream()),
                messaging.system = "nats",
                messaging.operation.name = "process",
                messaging.operation.r#type = "process",
                messaging.destination.name = message.subject.as_str(),
                messaging.consumer.group.name = super::CONSUMER
            ));
        }
        self.messages.push(message);
    }

    /// Projects the batch and acks it.
    ///
    /// # Errors
    /// Why the lane must start again; the entries come again, at once where this replica ends.
    pub(super) async fn project(self, service: &Service, shutdown: &Shutdown) -> Result<(), String> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let started = tokio::time::Instant::now();
        // Not entered: nearly every batch of a busy lane holds a traced message, and then all commands would have spans.
        let span = self.span();
        let done = self.write(service, shutdown).await;
        if done.is_err() {
            self.spans.iter().chain([&span]).for_each(|it| trace::fail(it, "again"));
        }
        done?;
        let lane = self.lane.stream();
        metrics::counter!("parley_projected_total", "stream" => lane.clone()).increment(self.messages.len() as u64);
        metrics::counter!("parley_projector_batches_total", "stream" => lane).increment(1);
        metrics::histogram!("parley_projector_batch_seconds").record(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// The batch's own span: many have caused it, so it is a trace of its own, linked with theirs.
    fn span(&self) -> Span {
        let span = telemetry::span!(
            Origin::of_batch(!self.spans.is_empty()),
            "consumer",
            format!("project {} batch", self.lane.stream()),
            messaging.system = "nats",
            messaging.operation.name = "process",
            messaging.operation.r#type = "process",
            messaging.destination.name = self.lane.stream(),
            messaging.consumer.group.name = super::CONSUMER,
            messaging.batch.message_count = self.messages.len() as i64
        );
        trace::link(&span, self.spans.iter().filter_map(trace::context_of));
        for of_entry in &self.spans {
            trace::link(of_entry, trace::context_of(&span));
        }
        span
    }

    async fn write(&self, service: &Service, shutdown: &Shutdown) -> Result<(), String> {
        // Ahead of MongoDB, so that the directory is whole also while MongoDB is away.
        let memberships = memberships::store_events(&service.log, &self.events);
        self.in_hand(memberships).await.map_err(|error| error.to_string())?;
        let events: Vec<&Event> = self.events.iter().collect();
        let writing: Vec<Span> = self.spans.iter().map(|it| commit_span(service, it)).collect();
        if !self.commit(service, &events, shutdown).await {
            for message in &self.messages {
                super::give_back(message).await;
            }
            return Err("shutting down".into());
        }
        drop(writing);
        for message in &self.messages {
            message.ack().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Does what may take longer than NATS waits for an ack.
    async fn in_hand<T>(&self, work: impl Future<Output = T>) -> T {
        let progress = async {
            for _ in 0..PROGRESS_TIMES {
                tokio::time::sleep(PROGRESS).await;
                for message in &self.messages {
                    if let Err(error) = message.ack_with(AckKind::Progress).await {
                        tracing::debug!(%error, "the entries in hand may come again");
                    }
                }
            }
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            done = work => done,
            never = progress => match never {},
        }
    }

    /// Commits events, again and again while MongoDB is away. What it refuses for good is isolated by halves, counted and
    /// left out: `parley verify` finds it. False: the shutdown came first.
    async fn commit(&self, service: &Service, events: &[&Event], shutdown: &Shutdown) -> bool {
        let mut waiting = vec![events];
        while let Some(part) = waiting.pop() {
            match self.commit_part(service, part, shutdown).await {
                None => return false,
                Some(Ok(())) => {}
                Some(Err(code)) => match part {
                    [event] => {
                        metrics::counter!("parley_projector_poison_total").increment(1);
                        let (conversation, seq) = (event.conversation_id().as_str(), event.seq());
                        tracing::error!(
                            stream = self.lane.stream(),
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
    async fn commit_part(&self, service: &Service, events: &[&Event], shutdown: &Shutdown) -> Option<Result<(), i32>> {
        let mut pause = PAUSE_FIRST;
        // While MongoDB is away here, the entries are to come again where it may not be.
        let mut done = self.in_hand(service.store.commit(events)).await;
        loop {
            let error = match done {
                Ok(()) => return Some(Ok(())),
                Err(Failure::Refused { code }) => return Some(Err(code)),
                Err(Failure::Away(error)) => error,
            };
            metrics::counter!("parley_projector_failed_batches_total").increment(1);
            if pause == PAUSE_FIRST {
                tracing::warn!(stream = self.lane.stream(), error, "the projection waits for MongoDB");
            }
            tokio::select! {
                () = shutdown.triggered() => return None,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE_MOST);
            done = service.store.commit(events).await;
        }
    }
}

/// The batch's commit as one entry's trace shows it. The entry's span is not entered: it would end when it is left.
fn commit_span(service: &Service, entry: &Span) -> Span {
    service.store.span_of(Origin::of(entry), "insert", MESSAGES)
}
