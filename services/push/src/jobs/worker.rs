//! Works on one queue: fetches jobs, looks once more at what they rest on, and hands them to the provider.
//!
//! Hundreds are under way at once. While the provider's breaker is open nothing is fetched: the jobs wait in the stream,
//! in their order, and cost no attempts.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::{AckKind, Message as Entry};
use bus::connect::Link;
use bus::durable;
use bus::pull::EXPIRES;
use bus::subjects::PUSH_JOBS_STREAM;
use futures_util::StreamExt;
use lifecycle::Shutdown;
use protocol::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::attempt::{Attempt, again};
use super::backoff::{MOST, pause_by_chance};
use super::breaker::Leave;
use super::chains::{Chains, Entered};
use super::check::{check, settle};
use super::job::Lane;
use super::state::LaneState;
use crate::service::Service;

/// Most jobs of one fetch.
const BATCH: usize = 128;
/// Pushes under way at once.
const UNDER_WAY: usize = 256;
/// How long jobs that come together are waited for.
const LINGER: Duration = Duration::from_millis(1);
/// A replica that ends has so long for the pushes under way; what is not done then is given back.
const END: Duration = Duration::from_secs(3);
/// What a killed replica had in hand comes again after this. While a provider is waited for NATS is told that it is in hand.
const ACK_WAIT: Duration = Duration::from_secs(25);
/// Most jobs in hand or put off, of all replicas.
const ACK_PENDING_MOST: i64 = 500_000;
/// NATS is told so often that a job is in hand.
pub(super) const PROGRESS: Duration = Duration::from_secs(8);
/// What a device that gets too much at once waits.
const PUT_OFF: Duration = Duration::from_secs(1);
/// Between looks at a breaker that is open.
const LOOK: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(200);

/// A push that may be made, and its place among those under way.
type Ready = (Attempt, Option<OwnedSemaphorePermit>);
/// User, device and what the push replaces.
type Key = (UserId, String, String);

/// Works on a queue until the shutdown; then does what is under way, or gives it back. One loop fetches, so that jobs are begun in the
/// order of the queue.
pub(super) async fn run(service: Arc<Service>, lane: Lane, shutdown: Shutdown) {
    let fetcher = Fetcher {
        service,
        state: Arc::new(LaneState::new(lane)),
        room: room(),
        chains: Arc::default(),
        shutdown,
        give_up: Shutdown::new(),
    };
    let chains = fetcher.chains.clone();
    tokio::select! {
        () = fetcher.run() => {}
        never = keep(&chains) => match never {},
    }
}

/// The places for pushes under way, shown as a queue: less a batch, for which a fetch holds places while it waits.
fn room() -> Arc<Semaphore> {
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let watched = Arc::downgrade(&room);
    telemetry::watch_queue("push_under_way", move || {
        let taken = UNDER_WAY - watched.upgrade()?.available_permits();
        Some((taken.saturating_sub(BATCH), UNDER_WAY - BATCH))
    });
    room
}

/// Tells NATS that what waits in chains is in hand, until dropped.
async fn keep(chains: &Chains<Key, Ready>) -> Infallible {
    loop {
        tokio::time::sleep(PROGRESS).await;
        for entry in chains.waiting(|it| it.0.entry.clone()) {
            settle(&entry, AckKind::Progress).await;
        }
    }
}

struct Fetcher {
    service: Arc<Service>,
    state: Arc<LaneState>,
    room: Arc<Semaphore>,
    chains: Arc<Chains<Key, Ready>>,
    shutdown: Shutdown,
    /// Fires when what is under way is to be given back.
    give_up: Shutdown,
}

/// Ends a chain whatever becomes of the one that does its pushes: what waits in it comes again.
struct ChainEnd {
    chains: Arc<Chains<Key, Ready>>,
    key: Option<Key>,
}

impl Drop for ChainEnd {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.chains.end(key);
        }
    }
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
            let room = tokio::select! {
                biased;
                () = self.shutdown.triggered() => break,
                room = self.room(if is_probe { 1 } else { BATCH }) => room,
            };
            let Some(room) = room else {
                return;
            };
            let fetched = self
                .fetch(&mut consumer, &mut link, is_probe, room, &mut under_way)
                .await;
            if is_probe && !matches!(fetched, Ok(true)) {
                self.state.unused(Instant::now());
            }
            if let Err(error) = fetched {
                tracing::debug!(error, lane = ?self.state.lane, "jobs could not be fetched");
                consumer = None;
                self.pause(PAUSE).await;
            }
        }
        let done = async { while under_way.join_next().await.is_some() {} };
        if timeout(END, done).await.is_err() {
            self.give_up.trigger();
            while under_way.join_next().await.is_some() {}
        }
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
        link: &mut watch::Receiver<Link>,
        is_probe: bool,
        mut room: Vec<OwnedSemaphorePermit>,
        under_way: &mut JoinSet<()>,
    ) -> Result<bool, String> {
        let consumer = match known {
            Some(consumer) => consumer,
            None => known.insert(self.open().await?),
        };
        // Short, and read to its end also when this replica ends: see the module `pull`.
        let batch = consumer.batch().max_messages(room.len()).expires(EXPIRES);
        let mut batch = batch.messages().await.map_err(|error| error.to_string())?;
        let mut any = false;
        loop {
            // Not while jobs are in hand: they would come again only when the time to ack is over.
            let first = tokio::select! {
                first = batch.next() => first,
                _ = link.changed() => return Err("the link changed".to_owned()),
            };
            let Some(first) = first else {
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
                again(entry, left + pause_by_chance(1, None, MOST)).await;
            }
            return false;
        }
        let attempts: Vec<Attempt> = check(&self.service, &self.state, entries).await;
        let any = !attempts.is_empty();
        for attempt in attempts {
            // Never more than were asked for.
            let permit = room.pop();
            let key = attempt.key();
            match self.chains.enter(key.clone(), (attempt, permit)) {
                Entered::Now(ready) => {
                    under_way.spawn(follow(
                        self.service.clone(),
                        self.state.clone(),
                        self.chains.clone(),
                        key,
                        ready,
                        self.give_up.clone(),
                    ));
                }
                Entered::Waits => {}
                Entered::Full((attempt, _)) => again(&attempt.entry, PUT_OFF).await,
            }
        }
        any
    }

    async fn open(&self) -> Result<PullConsumer, String> {
        let name = self.state.lane.consumer();
        let config = pull::Config {
            durable_name: Some(name),
            filter_subject: self.state.lane.subject(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: ACK_PENDING_MOST,
            num_replicas: self.service.stream.replicas,
            ..Default::default()
        };
        durable::open(&self.service.bus, PUSH_JOBS_STREAM, config).await
    }
}

/// Makes the pushes of a chain, one after the other.
async fn follow(
    service: Arc<Service>,
    state: Arc<LaneState>,
    chains: Arc<Chains<Key, Ready>>,
    key: Key,
    first: Ready,
    give_up: Shutdown,
) {
    let mut end = ChainEnd {
        chains: chains.clone(),
        key: Some(key.clone()),
    };
    let mut next = Some(first);
    while let Some((attempt, permit)) = next {
        attempt.make(&service, &state, &give_up).await;
        drop(permit);
        next = chains.next(&key);
    }
    end.key = None;
}
