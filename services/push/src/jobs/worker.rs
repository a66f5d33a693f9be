//! Works on one queue: fetches jobs, looks once more at what they rest on, and hands them to the provider.
//!
//! Hundreds are under way at once. While the provider's breaker is open nothing is fetched: the jobs wait in the stream,
//! in their order, and cost no attempts.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message as Entry;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use bus::subjects::PUSH_JOBS_STREAM;
use futures_util::StreamExt;
use lifecycle::Shutdown;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::attempt::{Attempt, LaneState, again};
use super::backoff::pause_by_chance;
use super::breaker::Leave;
use super::check::check;
use super::job::Lane;
use crate::service::Service;

/// Loops that fetch: while one looks at what its jobs rest on, others fetch.
const FETCHERS: usize = 3;
/// Most jobs of one fetch.
const BATCH: usize = 64;
/// Pushes under way at once.
const UNDER_WAY: usize = 256;
/// How long jobs that come together are waited for.
const LINGER: Duration = Duration::from_millis(1);
/// A fetch waits so long for the first job.
const EXPIRES: Duration = Duration::from_secs(10);
/// A probe's.
const EXPIRES_PROBE: Duration = Duration::from_secs(1);
/// What a killed replica had in hand comes again after this: longer than a provider is waited for, and for a place.
const ACK_WAIT: Duration = Duration::from_secs(25);
/// Most jobs in hand or put off, of all replicas.
const ACK_PENDING_MOST: i64 = 100_000;
/// Between looks at a breaker that is open.
const LOOK: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(200);

/// Works on a queue until the shutdown; then waits for what is under way.
pub(super) async fn run(service: Arc<Service>, lane: Lane, shutdown: Shutdown) {
    let state = Arc::new(LaneState::new(lane));
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut fetchers = JoinSet::new();
    for _ in 0..FETCHERS {
        let fetcher = Fetcher {
            service: service.clone(),
            state: state.clone(),
            room: room.clone(),
            shutdown: shutdown.clone(),
        };
        fetchers.spawn(fetcher.run());
    }
    while fetchers.join_next().await.is_some() {}
}

struct Fetcher {
    service: Arc<Service>,
    state: Arc<LaneState>,
    room: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl Fetcher {
    async fn run(self) {
        let mut under_way = JoinSet::new();
        let mut consumer = None;
        while !self.shutdown.is_triggered() {
            while under_way.try_join_next().is_some() {}
            let most = match self.state.ask_lane(Instant::now()) {
                Leave::All => BATCH,
                Leave::Probe => 1,
                Leave::Not(_) => {
                    self.pause(LOOK).await;
                    continue;
                }
            };
            let fetched = self.fetch(&mut consumer, most, &mut under_way).await;
            if most == 1 && !matches!(fetched, Ok(true)) {
                self.state.unused_lane(Instant::now());
            }
            if let Err(error) = fetched {
                tracing::debug!(error, lane = ?self.state.lane, "jobs could not be fetched");
                consumer = None;
                self.pause(PAUSE).await;
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = self.shutdown.triggered() => {}
            () = sleep(pause) => {}
        }
    }

    /// Fetches jobs and starts them. False: there was none to be tried.
    async fn fetch(
        &self,
        known: &mut Option<PullConsumer>,
        most: usize,
        under_way: &mut JoinSet<()>,
    ) -> Result<bool, String> {
        let consumer = match known {
            Some(consumer) => consumer,
            None => known.insert(self.open().await?),
        };
        let expires = if most == 1 { EXPIRES_PROBE } else { EXPIRES };
        let batch = consumer.batch().max_messages(most).expires(expires).messages().await;
        let mut batch = batch.map_err(|error| error.to_string())?;
        let mut any = false;
        loop {
            let first = tokio::select! {
                first = batch.next() => first,
                () = self.shutdown.triggered() => None,
            };
            let Some(first) = first else {
                self.hand_over(&mut batch).await;
                return Ok(any);
            };
            let mut entries = vec![first.map_err(|error| error.to_string())?];
            while let Ok(Some(next)) = timeout(LINGER, batch.next()).await {
                entries.push(next.map_err(|error| error.to_string())?);
            }
            any |= self.start(entries, most == 1, under_way).await;
        }
    }

    /// Gives back what has come and is not begun, when this replica ends: others need not wait for the time to ack.
    async fn hand_over(&self, batch: &mut pull::Batch) {
        while self.shutdown.is_triggered()
            && let Ok(Some(Ok(entry))) = timeout(LINGER, batch.next()).await
        {
            again(&entry, PAUSE).await;
        }
    }

    /// Starts the attempts at jobs. False: nothing was left to be tried.
    async fn start(&self, entries: Vec<Entry>, is_probe: bool, under_way: &mut JoinSet<()>) -> bool {
        if let Some(left) = self.state.lane_shut(Instant::now()).filter(|_| !is_probe) {
            // The breaker opened while the fetch waited.
            for entry in &entries {
                again(entry, left + pause_by_chance(1, None)).await;
            }
            return false;
        }
        let attempts: Vec<Attempt> = check(&self.service, entries).await;
        let any = !attempts.is_empty();
        for attempt in attempts {
            let Ok(permit) = self.room.clone().acquire_owned().await else {
                return any;
            };
            let (service, state) = (self.service.clone(), self.state.clone());
            under_way.spawn(async move {
                attempt.make(&service, &state).await;
                drop(permit);
            });
        }
        any
    }

    async fn open(&self) -> Result<PullConsumer, String> {
        let stream = self.service.bus.jetstream.get_stream_no_info(PUSH_JOBS_STREAM).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let name = self.state.lane.consumer();
        let config = pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: self.state.lane.subject(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: ACK_PENDING_MOST,
            num_replicas: self.service.stream.replicas,
            ..Default::default()
        };
        let made = stream.get_or_create_consumer(&name, config).await;
        made.map_err(|error| error.to_string())
    }
}
