//! The projector: carries the log into MongoDB, one task for each lane, on every replica.
//!
//! Several replicas pull from one durable consumer, so no order is assumed: every write is idempotent and monotone.
//! The stream is acked after MongoDB has committed. While MongoDB is away a lane holds at most one batch and what was
//! asked for ahead; what NATS takes back after [`ACK_WAIT`] comes again and is written again, to no effect.

mod batch;

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use bus::pull::Pull;
use bus::{Lane, streams};
use futures_util::StreamExt;
use lifecycle::Shutdown;
use tokio::time::Instant;

pub(crate) use batch::Batch;

use crate::service::Service;

/// Name of the durable consumer in each lane.
pub(crate) const CONSUMER: &str = "projector";

/// Most entries of one batch.
const BATCH: usize = 500;
/// How long a batch waits for more after its first entry: shortly while little comes, so that a read just after a write
/// does not wait; longer under load, where each command to MongoDB costs more than what it carries.
const LINGER: Duration = Duration::from_millis(2);
const LINGER_BUSY: Duration = Duration::from_millis(50);
/// A batch of at least so many entries says that the lane is busy.
const BUSY: usize = 12;
/// What a replica that was killed had in hand comes again after this; reads of it wait so long. A commit takes
/// milliseconds.
const ACK_WAIT: Duration = Duration::from_secs(2);
/// Most entries in hand, of all replicas.
const ACK_PENDING_MOST: i64 = 20_000;
const PAUSE: Duration = Duration::from_millis(100);

/// Projects one lane until the shutdown.
pub(crate) async fn run(service: Service, lane: Lane, shutdown: Shutdown) -> anyhow::Result<()> {
    while !shutdown.is_triggered() {
        let mut link = service.log.bus().link();
        let reason = tokio::select! {
            reason = consume(&service, lane, &shutdown) => reason,
            _ = link.changed() => "the link changed".to_owned(),
        };
        if shutdown.is_triggered() {
            break;
        }
        tracing::info!(stream = lane.stream(), reason, "projecting again");
        metrics::counter!("parley_projector_restarts_total").increment(1);
        tokio::select! {
            () = shutdown.triggered() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
        if !service.log.bus().is_up() {
            tokio::select! {
                () = shutdown.triggered() => {}
                _ = link.wait_for(|it| it.up) => {}
            }
        }
    }
    Ok(())
}

/// Projects until something is doubtful, and says what.
async fn consume(service: &Service, lane: Lane, shutdown: &Shutdown) -> String {
    let mut entries = match open(service, lane).await {
        Ok(entries) => entries,
        Err(reason) => return reason,
    };
    // Whoever waits for `stored` acks waits for the batch.
    let may_linger = service.stream.ack == config::Ack::Logged;
    let mut busy = false;
    loop {
        let first = tokio::select! {
            first = entries.next() => first,
            () = shutdown.triggered(), if !entries.is_stopped() => {
                entries.stop();
                continue;
            }
        };
        let mut batch = Batch::new(lane);
        let mut ended = take(&mut batch, first);
        let linger = if busy { LINGER_BUSY } else { LINGER };
        let linger = tokio::time::sleep_until(Instant::now() + linger);
        tokio::pin!(linger);
        while ended.is_none() && batch.len() < BATCH {
            tokio::select! {
                biased;
                next = entries.next() => ended = take(&mut batch, next),
                () = &mut linger => break,
            }
        }
        busy = may_linger && batch.len() >= BUSY;
        if let Err(reason) = batch.project(service, shutdown).await {
            if shutdown.is_triggered() {
                hand_over(entries).await;
            }
            return reason;
        }
        if let Some(reason) = ended {
            return reason;
        }
    }
}

/// Gives back what comes for the last request of a replica that ends and cannot write: others may have more luck.
async fn hand_over(mut entries: Pull) {
    entries.stop();
    while let Some(Ok(entry)) = entries.next().await {
        give_back(&entry).await;
    }
}

/// It comes again in a moment: at once would be here.
async fn give_back(entry: &async_nats::jetstream::Message) {
    if let Err(error) = entry.ack_with(AckKind::Nak(Some(PAUSE))).await {
        tracing::debug!(%error, "an entry in hand comes again later");
    }
}

/// Puts what came into the batch; says why nothing more will come.
fn take(batch: &mut Batch, next: Option<Result<async_nats::jetstream::Message, String>>) -> Option<String> {
    match next {
        Some(Ok(message)) => {
            batch.push(message);
            None
        }
        Some(Err(error)) => Some(error),
        None => Some("stopped".into()),
    }
}

async fn open(service: &Service, lane: Lane) -> Result<Pull, String> {
    let config = pull::Config {
        durable_name: Some(CONSUMER.into()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: ACK_PENDING_MOST,
        num_replicas: service.stream.replicas,
        ..Default::default()
    };
    let bus = service.log.bus();
    let consumer = match bus.jetstream.create_consumer_on_stream(config, lane.stream()).await {
        Ok(consumer) => consumer,
        Err(error) => {
            // The stream may have been deleted under us: it is made anew, and clients are told by the tail.
            let made = streams::ensure(bus, &service.stream).await;
            return Err(made.err().map_or_else(|| error.to_string(), |made| made.to_string()));
        }
    };
    Ok(Pull::new(consumer, BATCH))
}
