//! The planner: takes each message from the log, decides for every device of every member, and queues the pushes.
//!
//! One task per partition on every replica, all pulling from one durable consumer. A batch of messages is a task of its
//! own, since some devices are given time to confirm; the log is acked when all that follows from a message is stored. So
//! whatever is killed, the message comes again, and its jobs are known by their ids.

mod batch;
mod candidates;
mod in_hand;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use bus::pull::Pull;
use bus::{Lane, durable};
use futures_util::StreamExt;
use lifecycle::Shutdown;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::service::Service;

/// Name of the durable consumer in each lane.
pub(crate) const CONSUMER: &str = "push";
/// Most messages of a batch.
const BATCH: usize = 500;
/// How long a batch waits for more.
const LINGER: Duration = Duration::from_millis(3);
const LINGER_BUSY: Duration = Duration::from_millis(40);
/// A batch of at least so many messages says that the lane is busy.
const BUSY: usize = 12;
/// Batches of a lane that are decided on at once, most of them waiting for confirmations.
const BATCHES_MOST: usize = 1_024;
/// What a killed replica had in hand comes again after this.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(10);
/// Most messages in hand, of all replicas.
const ACK_PENDING_MOST: i64 = 50_000;
/// Messages from before the service was first started are pushed if they are not older than this.
const PAST: Duration = Duration::from_secs(5 * 60);
const PAUSE: Duration = Duration::from_millis(100);

/// Plans for one lane until the shutdown.
pub(crate) async fn run(service: Arc<Service>, lane: Lane, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut batches = JoinSet::new();
    while !shutdown.is_triggered() {
        let mut link = service.bus.link();
        let reason = tokio::select! {
            reason = consume(&service, lane, &mut batches, &shutdown) => reason,
            _ = link.changed() => "the link changed".to_owned(),
        };
        if shutdown.is_triggered() {
            break;
        }
        tracing::info!(stream = lane.stream(), reason, "planning again");
        metrics::counter!("parley_push_planner_restarts_total").increment(1);
        tokio::select! {
            () = shutdown.triggered() => {}
            () = sleep(PAUSE) => {}
        }
        if !service.bus.is_up() {
            tokio::select! {
                () = shutdown.triggered() => {}
                _ = link.wait_for(|it| it.up) => {}
            }
        }
    }
    // Each hands over what it has not finished.
    while batches.join_next().await.is_some() {}
    Ok(())
}

/// Takes messages until something is doubtful, and says what.
async fn consume(service: &Arc<Service>, lane: Lane, batches: &mut JoinSet<()>, shutdown: &Shutdown) -> String {
    let mut entries = match open(service, lane).await {
        Ok(entries) => entries,
        Err(reason) => return reason,
    };
    let room = Arc::new(Semaphore::new(BATCHES_MOST));
    let watched = Arc::downgrade(&room);
    telemetry::watch_queue("push_batches", move || {
        Some((BATCHES_MOST - watched.upgrade()?.available_permits(), BATCHES_MOST))
    });
    let mut busy = false;
    loop {
        while batches.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else {
            return "closed".to_owned();
        };
        let first = tokio::select! {
            biased;
            () = shutdown.triggered() => {
                hand_over(entries).await;
                return "shutting down".to_owned();
            }
            first = entries.next() => first,
        };
        let mut messages = Vec::new();
        let mut ended = take(&mut messages, first);
        let linger = sleep_until(Instant::now() + if busy { LINGER_BUSY } else { LINGER });
        tokio::pin!(linger);
        while ended.is_none() && messages.len() < BATCH {
            tokio::select! {
                biased;
                next = entries.next() => ended = take(&mut messages, next),
                () = &mut linger => break,
            }
        }
        busy = messages.len() >= BUSY;
        let (service, shutdown) = (service.clone(), shutdown.clone());
        batches.spawn(async move {
            batch::plan(&service, lane, messages, &shutdown).await;
            drop(permit);
        });
        if let Some(reason) = ended {
            return reason;
        }
    }
}

/// Gives back what comes for the last request of a replica that ends: a decision may take longer than it has. In a moment
/// it comes again: at once would be here.
pub(crate) async fn hand_over(mut entries: Pull) {
    entries.stop();
    while let Some(Ok(entry)) = entries.next().await {
        if let Err(error) = entry.ack_with(AckKind::Nak(Some(PAUSE))).await {
            tracing::debug!(%error, "a message is planned for later");
        }
    }
}

/// Puts what came into the batch; says why nothing more will come.
fn take(
    messages: &mut Vec<async_nats::jetstream::Message>,
    next: Option<Result<async_nats::jetstream::Message, String>>,
) -> Option<String> {
    match next {
        Some(Ok(message)) => {
            messages.push(message);
            None
        }
        Some(Err(error)) => Some(error),
        None => Some("stopped".into()),
    }
}

async fn open(service: &Service, lane: Lane) -> Result<Pull, String> {
    let consumer = consumer(service, lane, CONSUMER, String::new()).await?;
    Ok(Pull::new(consumer, BATCH))
}

/// A durable consumer of the log, made where it is not there. `filter`: of some subjects only.
pub(crate) async fn consumer(
    service: &Service,
    lane: Lane,
    name: &str,
    filter: String,
) -> Result<async_nats::jetstream::consumer::PullConsumer, String> {
    let start = std::time::SystemTime::now() - PAST.min(service.settings.ttl);
    let config = pull::Config {
        durable_name: Some(name.to_owned()),
        deliver_policy: DeliverPolicy::ByStartTime {
            start_time: start.into(),
        },
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: ACK_PENDING_MOST,
        filter_subject: filter,
        num_replicas: service.stream.replicas,
        ..Default::default()
    };
    durable::open(&service.bus, &lane.stream(), config).await
}
