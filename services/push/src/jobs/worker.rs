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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::attempt::{Attempt, again};
use super::backoff::pause_by_chance;
use super::breaker::Leave;
use super::check::check;
use super::job::Lane;
use super::state::LaneState;
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
/// What a killed replica had in hand comes again after this. While a provider is waited for NATS is told that it is in hand.
const ACK_WAIT: Duration = Duration::from_secs(25);
/// Most jobs in hand or put off, of all replicas.
const ACK_PENDING_MOST: i64 = 500_000;
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
        let mut link = self.service.bus.link();
        while !self.shutdown.is_triggered() {
            while under_way.try_join_next().is_some() {}
            let is_probe = match self.state.ask(Instant::now()) {
                Leave::All => false,
                Leave::Probe => true,
                Leave::Not(_) => {
                    self.pause(LOOK).await;
                    continue;
                }
            };
            // Only what there is room for is fetched: what waits here is in nobody's queue.
            let Some(room) = self.room(if is_probe { 1 } else { BATCH }).await else {
                return;
            };
            let fetched = tokio::select! {
                fetched = self.fetch(&mut consumer, is_probe, room, &mut under_way) => fetched,
                _ = link.changed() => Err("the link changed".to_owned()),
            };
            if is_probe && !matches!(fetched, Ok(true)) {
                self.state.unused(Instant::now());
            }
            if let Err(error) = fetched {
                tracing::debug!(error, lane = ?self.state.lane, "jobs could not be fetched");
                consumer = None;
                self.pause(PAUSE).await;
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Room for some pushes, one at least. `None`: closed.
    async fn room(&self, most: usize) -> Option<Vec<OwnedSemaphorePermit>> {
        let mut room = vec![self.room.clone().acquire_owned().await.ok()?];
        while room.len() < most {
            let Ok(more) = self.room.clone().try_acquire_owned() else {
                break;
            };
            room.push(more);
        }
        Some(room)
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = self.shutdown.triggered() => {}
            () = sleep(pause) => {}
        }
    }

    /// Fetches jobs and starts them, as many as there is room for. False: there was none to be tried.
    async fn fetch(
        &self,
        known: &mut Option<PullConsumer>,
        is_probe: bool,
        mut room: Vec<OwnedSemaphorePermit>,
        under_way: &mut JoinSet<()>,
    ) -> Result<bool, String> {
        let consumer = match known {
            Some(consumer) => consumer,
            None => known.insert(self.open().await?),
        };
        let expires = if is_probe { EXPIRES_PROBE } else { EXPIRES };
        let batch = consumer.batch().max_messages(room.len()).expires(expires);
        let mut batch = batch.messages().await.map_err(|error| error.to_string())?;
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
            let mut ended = None;
            while let Ok(Some(next)) = timeout(LINGER, batch.next()).await {
                match next {
                    Ok(next) => entries.push(next),
                    Err(error) => {
                        ended = Some(error.to_string());
                        break;
                    }
                }
            }
            any |= self.start(entries, is_probe, &mut room, under_way).await;
            if let Some(error) = ended {
                return Err(error);
            }
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
    async fn start(
        &self,
        entries: Vec<Entry>,
        is_probe: bool,
        room: &mut Vec<OwnedSemaphorePermit>,
        under_way: &mut JoinSet<()>,
    ) -> bool {
        if let Some(left) = self.state.shut(Instant::now()).filter(|_| !is_probe) {
            // The breaker opened while the fetch waited.
            for entry in &entries {
                again(entry, left + pause_by_chance(1, None)).await;
            }
            return false;
        }
        let attempts: Vec<Attempt> = check(&self.service, &self.state, entries).await;
        let any = !attempts.is_empty();
        for attempt in attempts {
            // Never more than were asked for.
            let permit = room.pop();
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
