//! `parley verify`: compares the log of a running deployment with MongoDB and the directory, and repairs them from it.
//!
//! The log is right by definition. What lies before its start is MongoDB's alone and is not judged. Memory is bounded
//! by one batch of entries and a few words for each conversation of one partition.

mod changes;
mod conversations;
mod entries;
mod receipts;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use bus::direct::Reach;
use bus::streams::StreamState;
use bus::{Bus, Lane, Log, Record};
use config::Config;
use protocol::envelope::Unreadable;
use protocol::{ConversationId, Timestamp};
use tokio::time::Instant;

use crate::event::Event;
use crate::floor::Floor;
use crate::store::{Failure, Store};

/// Entries read and compared at once.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Tries of a repair while MongoDB refuses for the moment.
const REPAIR_TRIES: usize = 5;

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Log entries compared.
    pub entries: u64,
    /// Conversations compared.
    pub conversations: u64,
    /// Entries of newer versions, or that are none: skipped, as the projector does.
    pub unreadable: u64,
    /// What was missing or differed.
    pub problems: u64,
    /// How much of that was repaired.
    pub repaired: u64,
}

/// One run.
struct Run<'a> {
    log: Log,
    store: Store,
    repair: bool,
    report: &'a mut (dyn FnMut(String) + Send),
    outcome: Outcome,
}

/// What the log says of one conversation, in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Track {
    last_seq: u64,
    last_timestamp: Timestamp,
    last_position: u64,
    last_message: Option<u64>,
    last_message_position: u64,
}

type Tracks = HashMap<ConversationId, Track>;

/// Compares, after waiting up to `wait` until the projection has passed the log's end as of now. Each problem is a
/// line to `report`; none holds a message's text.
///
/// # Errors
/// NATS or MongoDB cannot be reached or read.
pub async fn verify(
    config: &Config,
    repair: bool,
    wait: Duration,
    mut report: impl FnMut(String) + Send,
) -> anyhow::Result<Outcome> {
    let bus = Bus::connect(&config.nats, "parley-verify").await?;
    let store = crate::app::open_store(&config.mongodb).await?;
    let log = Log::new(bus, config.stream.partitions);
    let mut run = Run {
        log,
        store,
        repair,
        report: &mut report,
        outcome: Outcome::default(),
    };
    let mut ends = Vec::new();
    for lane in run.log.lanes() {
        let Some(state) = run.log.state(lane).await? else {
            bail!(
                "there is no stream {}: is this the right NATS server and number of partitions?",
                lane.stream()
            );
        };
        ends.push((lane, state));
    }
    run.wait_for_projection(&ends, wait).await;
    for (lane, state) in ends {
        match lane {
            Lane::Chat(_) => {
                let tracks = run.compare_entries(lane, state).await?;
                run.compare_conversations(lane, &tracks).await?;
            }
            Lane::Receipts => run.compare_receipts(state).await?,
        }
    }
    Ok(run.outcome)
}

impl Run<'_> {
    fn problem(&mut self, line: String) {
        self.outcome.problems += 1;
        (self.report)(line);
    }

    async fn wait_for_projection(&mut self, ends: &[(Lane, StreamState)], wait: Duration) {
        let (floor, deadline) = (Floor::new(&self.log), Instant::now() + wait);
        for (lane, state) in ends {
            if floor.wait_past(*lane, state.last, deadline).await.is_err() {
                let (stream, last, waited) = (lane.stream(), state.last, wait.as_secs());
                self.problem(format!(
                    "{stream}: the projection has not passed position {last} within {waited} s"
                ));
            }
        }
    }

    /// The next entries of a lane up to its end, and where to go on; nothing at the end.
    async fn read(&self, lane: Lane, from: u64, end: u64) -> anyhow::Result<Option<(Vec<Record>, u64)>> {
        if from > end {
            return Ok(None);
        }
        let place = (from, Reach::Position(end));
        let batch = self.log.from(lane, &lane.wildcard(), place, BATCH, BATCH_BYTES).await;
        let mut records = batch.with_context(|| format!("reading {}", lane.stream()))?.records;
        let Some(next) = records.last().map(|it| it.position + 1) else {
            return Ok(None);
        };
        records.retain(|it| it.position <= end);
        Ok(Some((records, next)))
    }

    fn decode(&mut self, lane: Lane, record: &Record) -> Option<Event> {
        let (event, reason) = match Event::decode(&record.payload) {
            Ok(event @ Event::Newer(_)) => (Some(event), Unreadable::UnknownEvent),
            Ok(event) => return Some(event),
            Err(error) => (Event::decode_place(&record.payload).ok(), error),
        };
        self.outcome.unreadable += 1;
        let (stream, position) = (lane.stream(), record.position);
        (self.report)(format!("{stream} position {position}: skipped: {reason}"));
        event
    }

    /// Projects an event again, as the projector does.
    async fn repair(&mut self, event: &Event) -> anyhow::Result<()> {
        if !self.repair {
            return Ok(());
        }
        for _ in 0..REPAIR_TRIES {
            match self.store.commit(&[event]).await {
                Ok(()) => {
                    self.outcome.repaired += 1;
                    return Ok(());
                }
                Err(Failure::Refused { code }) => bail!("MongoDB refuses the repair: code {code}"),
                Err(Failure::Away(_)) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        bail!("MongoDB did not take a repair")
    }

    /// The event at a position, for a repair.
    async fn event_at(&self, lane: Lane, position: u64) -> anyhow::Result<Option<Event>> {
        let record = self.log.at(lane, position).await?;
        Ok(record.and_then(|it| Event::decode(&it.payload).ok()))
    }
}
