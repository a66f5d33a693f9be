//! Replay: the events after a position that belong to a user, from the node's memory, else from the stream.
//!
//! From the stream nothing is read through a consumer: one request tells which conversations have anything new, and
//! one batched direct get for each of those brings it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bus::direct::{self, Reach};
use bus::{LogError, Record};
use futures_util::{StreamExt, stream};

use super::Hub;
use super::event::Event;
use super::memberships::{Memberships, Steps};
use crate::session::Session;

/// Most events of one page.
pub const PAGE_EVENTS: usize = 256;
const PAGE_BYTES: usize = 1024 * 1024;
/// Direct gets of one page under way at once.
const READS_AT_ONCE: usize = 8;
/// Conversations whose receipts are asked for at once: each has up to two subjects a member.
const RECEIPTS_AT_ONCE: usize = 100;

/// Events of one lane after a position.
#[derive(Debug)]
pub struct Page {
    /// In order of position.
    pub events: Vec<Arc<Event>>,
    /// Everything up to here is in this page or was before it.
    pub reached: u64,
    /// Whether there was nothing more when the page was read.
    pub complete: bool,
    /// Where the stream ended before the page was read from it; 0 of a page from memory.
    pub end: u64,
}

/// What a session that is behind in a lane should do next.
#[derive(Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// Nothing: its queue was filled, and the lane is live or one step further.
    Stepped,
    /// Wait: the session has seen more than this node has, yet.
    Ahead,
    /// Read a page of the stream after the first position; the second is where memory begins.
    ReadStream(u64, u64),
}

impl Hub {
    /// Brings a session's lane forward from memory; when that was all, the lane is live, in the same instant.
    pub fn catch_up(&self, session: &Session, index: usize) -> CatchUp {
        let Some(user) = session.user() else {
            return CatchUp::Ahead;
        };
        let lane = &self.lanes[index];
        let window = lane.window.lock();
        let (from, told, live_from) = {
            let queue = session.queue();
            let Some(from) = queue.behind(index) else {
                return CatchUp::Stepped;
            };
            (from, queue.told(), queue.live_from(index))
        };
        if from > lane.dispatched() {
            return CatchUp::Ahead;
        }
        if from < window.start() {
            return CatchUp::ReadStream(from, window.start());
        }
        if live_from > lane.dispatched() {
            return CatchUp::Ahead;
        }
        let found = user.memberships(|mine| window.after(from, told, mine, PAGE_EVENTS));
        let behind = if found.complete {
            None
        } else {
            found.events.last().map(|event| event.position)
        };
        metrics::counter!("parley_replayed_events_total", "tier" => "memory").increment(found.events.len() as u64);
        session.queue().extend(index, found.events, behind);
        CatchUp::Stepped
    }

    /// A page of one lane for somebody with these memberships, from memory or the stream. `told`: see [`Window::after`].
    ///
    /// # Errors
    /// The stream cannot be read.
    ///
    /// [`Window::after`]: super::window::Window::after
    pub async fn page(
        &self,
        index: usize,
        mine: &Memberships,
        from: u64,
        told: u64,
        limit: usize,
    ) -> Result<Page, LogError> {
        let lane = &self.lanes[index];
        let memory_from = {
            let window = lane.window.lock();
            if from >= window.start() {
                let found = window.after(from, told, mine, limit);
                let last = found.events.last().map_or(from, |event| event.position);
                let reached = if found.complete {
                    lane.dispatched().max(from)
                } else {
                    last
                };
                return Ok(Page {
                    events: found.events,
                    reached,
                    complete: found.complete,
                    end: 0,
                });
            }
            window.start()
        };
        self.stream_page(index, mine, (from, memory_from), told, limit).await
    }

    /// A page of one lane from the stream: of the events after `from` and up to `until`. `told`: see [`Hub::page`].
    ///
    /// # Errors
    /// The stream cannot be read, or does not go back that far ([`LogError::Expired`]).
    pub async fn stream_page(
        &self,
        index: usize,
        mine: &Memberships,
        (from, until): (u64, u64),
        told: u64,
        limit: usize,
    ) -> Result<Page, LogError> {
        let resets = self.resets.load(Ordering::Acquire);
        let end = self.check_reach(index, from).await?;
        let changed = self.changed_subjects(index, mine, (from, until)).await?;
        let each = (limit / changed.len().max(1)).max(8);
        let bytes = (PAGE_BYTES / changed.len().max(1)).max(64 * 1024);
        let lane = self.lanes[index].lane;
        let mut reads = stream::iter(changed)
            .map(|changed| async move {
                let place = (from + 1, changed.reach);
                let batch = self.log.from(lane, &changed.subject, place, each, bytes).await;
                (batch, changed.last_seq)
            })
            .buffer_unordered(READS_AT_ONCE);
        let (mut records, mut reached) = (Vec::new(), until);
        while let Some((batch, last_seq)) = reads.next().await {
            let batch = batch?;
            if let (Some(last), 1..) = (batch.records.last(), batch.pending)
                && !is_past(last, last_seq)
            {
                // This conversation has more: what lies after its last entry here is for the next page.
                reached = reached.min(last.position);
            }
            records.extend(batch.records);
        }
        if self.resets() != resets {
            return Err(LogError::Away("the stream was made anew while it was read".into()));
        }
        let mut page = {
            let window = self.lanes[index].window.lock();
            // All that an entry of the stream has replaced is gone from it.
            let steps = Steps {
                after: told,
                until: u64::MAX,
                holes: Some(window.holes()),
            };
            page(index, records, limit, reached.min(until), |event| {
                mine.cover(event, steps)
            })
        };
        page.end = end;
        // Never complete: from `until` on the lane is in memory, and that page says whether there is more.
        page.reached = page.reached.min(until);
        Ok(page)
    }

    /// The stream's end, if it still holds everything after `from`.
    async fn check_reach(&self, index: usize, from: u64) -> Result<u64, LogError> {
        let lane = &self.lanes[index];
        let state = self.log.state(lane.lane).await?;
        let Some(state) = state.filter(|state| state.identity == lane.identity()) else {
            return Err(LogError::Away("the stream was made anew".into()));
        };
        // Receipts keep one entry a subject: that older ones are gone loses nothing.
        if from + 1 < state.first && lane.lane != bus::Lane::Receipts {
            return Err(LogError::Expired);
        }
        Ok(state.last)
    }

    /// The subjects of this lane that hold anything after `from`, of the conversations in `mine`, as of `until` or later.
    async fn changed_subjects(
        &self,
        index: usize,
        mine: &Memberships,
        (from, until): (u64, u64),
    ) -> Result<Vec<Changed>, LogError> {
        let lane = self.lanes[index].lane;
        let receipts = lane == bus::Lane::Receipts;
        let subjects: HashMap<String, Option<u64>> = mine
            .iter()
            .filter(|(_, span)| {
                if receipts {
                    span.until.is_none()
                } else {
                    span.lane == index
                }
            })
            .map(|(id, span)| (lane.conversation(id), span.until))
            .collect();
        let chunk = if receipts {
            RECEIPTS_AT_ONCE
        } else {
            direct::SUBJECTS_MOST
        };
        let mut changed = Vec::new();
        let all: Vec<String> = subjects.keys().cloned().collect();
        let of = |subject: String, reach| Changed {
            last_seq: subjects.get(&subject).copied().flatten(),
            subject,
            reach,
        };
        for chunk in all.chunks(chunk) {
            match self.log.lasts(lane, chunk, until).await {
                Ok(lasts) => {
                    let news = lasts.into_iter().filter(|it| it.position > from);
                    changed.extend(news.map(|it| of(it.subject, Reach::Entry(it.position))));
                }
                Err(LogError::TooManySubjects) => {
                    changed.extend(chunk.iter().map(|it| of(it.clone(), Reach::Position(until))));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(changed)
    }
}

/// A subject that holds something new.
struct Changed {
    subject: String,
    /// What a read of it must hold to be whole.
    reach: Reach,
    /// The last `seq` that the user gets of it, where he has left.
    last_seq: Option<u64>,
}

/// Whether nothing after this entry is for somebody who gets nothing past `last_seq`: what was said since he left would
/// otherwise be read to the end, to be thrown away.
fn is_past(record: &Record, last_seq: Option<u64>) -> bool {
    let Some(last_seq) = last_seq else { return false };
    let head = protocol::envelope::decode(&record.payload);
    head.is_ok_and(|(_, head)| head.seq >= last_seq)
}

/// The records up to `reached` that `mine` takes, in order, at most `limit`.
fn page(index: usize, mut records: Vec<Record>, limit: usize, reached: u64, mine: impl Fn(&Event) -> bool) -> Page {
    records.sort_unstable_by_key(|record| record.position);
    let mut page = Page {
        events: Vec::new(),
        reached,
        complete: false,
        end: 0,
    };
    for record in records.into_iter().take_while(|record| record.position <= reached) {
        if page.events.len() == limit {
            page.reached = record.position - 1;
            break;
        }
        match Event::parse(index, record.position, &record.payload) {
            Ok(event) if mine(&event) => page.events.push(Arc::new(event)),
            Ok(_) => {}
            Err(error) => {
                metrics::counter!("parley_unreadable_total", "what" => "event").increment(1);
                tracing::warn!(%error, position = record.position, "skipped a log entry");
            }
        }
    }
    metrics::counter!("parley_replayed_events_total", "tier" => "stream").increment(page.events.len() as u64);
    page
}
