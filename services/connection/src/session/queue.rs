//! The live queue of a session, bounded by count and bytes, and what happens past the bound.
//!
//! A lane of a session is live, or behind: everything up to a position has been queued and the rest is in the log. A
//! full queue never drops the session; its lane falls behind, and the session's own task serves it from the log.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use protocol::server_frame::ResyncReason;
use protocol::timeline::HandedState;
use protocol::{ConversationId, Timestamp};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::handed::Handed;
use crate::hub::event::Event;
use crate::room::live::Live;

/// Most events in a queue.
pub const EVENTS_MOST: usize = 512;
/// Most bytes of frames in a queue; a single larger frame still fits into an empty one.
pub const BYTES_MOST: usize = 512 * 1024;

/// Most live signals that wait for a session: a node that dies with 15,000 users is told of within a moment. Each costs the
/// session a pointer; the frames are shared.
pub const SIGNALS_MOST: usize = 65_536;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It will be sent.
    Queued,
    /// The queue was full: the lane fell behind just now.
    FellBehind,
    /// The lane was behind already: the event will be read from the log.
    LeftToLog,
}

/// See the module.
#[derive(Debug)]
pub struct Queue {
    /// Events of a stream that is gone: sent first, and of no position any more.
    orphans: Vec<Arc<Event>>,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// For each lane the position up to which everything is queued or sent; `None` while it is live.
    behind: Box<[Option<u64>]>,
    /// For each lane the position of the last event taken out: what was sent before a checkpoint never comes again,
    /// also where the dispatcher has not yet noted that it is done with that event.
    taken: Box<[u64]>,
    /// The position in the last lane, the receipts, up to which all steps of watermarks were told.
    told: u64,
    /// The position that the last lane must have been dispatched up to before it may be live: entries up to there may have
    /// replaced some that were looked for in the stream.
    live_from: u64,
    /// Live signals: of no position, never waited for.
    signals: VecDeque<Arc<Live>>,
    /// Taken since it was last looked for those that say nothing new.
    signals_taken: usize,
    resync: Option<ResyncReason>,
    /// What was taken out, and when it was written. Nothing for an idle session.
    handed: Option<Box<Handed>>,
}

impl Queue {
    /// A queue whose lanes are all behind, at these positions; all steps of watermarks up to `told` are known.
    pub fn starting_at(positions: &[u64], told: u64) -> Self {
        Self {
            orphans: Vec::new(),
            events: VecDeque::new(),
            bytes: 0,
            behind: positions.iter().copied().map(Some).collect(),
            taken: positions.into(),
            told,
            live_from: 0,
            signals: VecDeque::new(),
            signals_taken: 0,
            resync: None,
            handed: None,
        }
    }

    /// Takes a live signal. Where too many wait, those go first that a later one is about too, and then the oldest.
    pub fn signal(&mut self, live: Arc<Live>) {
        self.signals_taken += 1;
        if self.signals.len() == SIGNALS_MOST && self.signals_taken > SIGNALS_MOST / 2 {
            self.signals_taken = 0;
            self.keep_newest_signals();
        }
        if self.signals.len() == SIGNALS_MOST {
            metrics::counter!("parley_signals_dropped_total").increment(1);
            self.signals.pop_front();
        }
        self.signals.push_back(live);
    }

    fn keep_newest_signals(&mut self) {
        let mut told = HashSet::new();
        let newest = self.signals.iter().rev().filter(|live| told.insert(&live.about));
        let mut newest: VecDeque<Arc<Live>> = newest.cloned().collect();
        newest.make_contiguous().reverse();
        self.signals = newest;
    }

    /// Drops the signals of a room.
    pub fn forget_signals(&mut self, room: &ConversationId) {
        self.signals.retain(|live| !live.is_of(room));
    }

    /// The next live signal to send.
    pub fn pop_signal(&mut self) -> Option<Utf8Bytes> {
        let live = self.signals.pop_front()?;
        if self.signals.is_empty() {
            self.signals = VecDeque::new();
        }
        Some(live.text.clone())
    }

    /// Takes a live event, or lets its lane fall behind.
    pub fn offer(&mut self, event: &Arc<Event>) -> Offered {
        if self.behind[event.lane].is_some() {
            return Offered::LeftToLog;
        }
        let full = self.events.len() >= EVENTS_MOST || self.bytes + event.frame.len() > BYTES_MOST;
        if full && !self.events.is_empty() {
            self.behind[event.lane] = Some(event.position - 1);
            self.note_told(event.lane, event.position - 1);
            return Offered::FellBehind;
        }
        self.push(event.clone());
        Offered::Queued
    }

    fn note_told(&mut self, lane: usize, position: u64) {
        if lane + 1 == self.behind.len() {
            self.told = position;
        }
    }

    /// The position in the receipts up to which the session knows of all steps of watermarks.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// The stream of a lane was read while it ended at `end`.
    pub fn note_end(&mut self, lane: usize, end: u64) {
        if lane + 1 == self.behind.len() {
            self.live_from = end;
        }
    }

    /// What a lane must have been dispatched up to before it may be live.
    pub fn live_from(&self, lane: usize) -> u64 {
        if lane + 1 == self.behind.len() {
            self.live_from
        } else {
            0
        }
    }

    fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.frame.len();
        self.events.push_back(event);
    }

    /// Takes what was read from the log for a lane that is behind, and where that leaves it: live, or behind at a
    /// later position.
    pub fn extend(&mut self, lane: usize, events: Vec<Arc<Event>>, behind: Option<u64>) {
        for event in events {
            self.push(event);
        }
        self.behind[lane] = behind;
    }

    /// The next event to send.
    pub fn pop(&mut self) -> Option<Arc<Event>> {
        if !self.orphans.is_empty() {
            return Some(self.orphans.remove(0));
        }
        let event = self.events.pop_front()?;
        self.bytes -= event.frame.len();
        self.taken[event.lane] = event.position;
        if event.lane + 1 < self.behind.len() {
            self.handed.get_or_insert_default().take(event.lane, event.position);
        }
        if self.events.is_empty() {
            // An idle session holds no buffer.
            self.events = VecDeque::new();
        }
        Some(event)
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.orphans.is_empty()
    }

    /// Where a lane is behind; `None` while it is live.
    pub fn behind(&self, lane: usize) -> Option<u64> {
        self.behind[lane]
    }

    /// For each lane the position up to which everything has been taken out, given how far live lanes were dispatched
    /// when this was called: read that before locking the queue.
    pub fn positions(&self, dispatched: &[u64]) -> Vec<u64> {
        let live = dispatched
            .iter()
            .zip(&self.taken)
            .map(|(dispatched, taken)| *dispatched.max(taken));
        let mut positions: Vec<u64> = self
            .behind
            .iter()
            .zip(live)
            .map(|(behind, live)| behind.unwrap_or(live))
            .collect();
        for event in &self.events {
            let position = &mut positions[event.lane];
            *position = (*position).min(event.position - 1);
        }
        positions
    }

    /// All that was taken out has been written.
    pub fn note_written(&mut self) {
        if let Some(handed) = self.handed.as_mut().filter(|it| it.is_unflushed()) {
            handed.flush(Timestamp::now());
        }
    }

    /// What became of the event at a position; `dispatched` as for [`Queue::positions`].
    pub fn handed(&self, lane: usize, position: u64, dispatched: &[u64]) -> HandedState {
        let found = self.handed.as_ref().and_then(|handed| handed.find(lane, position));
        let passed = || self.positions(dispatched)[lane] >= position;
        found.unwrap_or_else(|| {
            if passed() {
                HandedState::Passed
            } else {
                HandedState::Waiting
            }
        })
    }

    /// A lane's stream was made anew: what is read from now on begins after `position` of the new one.
    pub fn reset_lane(&mut self, lane: usize, position: u64, reason: ResyncReason) {
        if self.behind[lane].is_some() {
            self.behind[lane] = Some(position);
        }
        self.taken[lane] = position;
        if let Some(handed) = &mut self.handed {
            handed.forget(lane);
        }
        self.note_told(lane, position);
        self.note_end(lane, 0);
        let (old, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.events)
            .into_iter()
            .partition(|event| event.lane == lane);
        self.orphans.extend(old);
        self.events = kept.into();
        self.bytes = self.events.iter().map(|event| event.frame.len()).sum();
        self.resync = Some(reason);
    }

    /// Whether the client must be told to read everything anew; once.
    pub fn take_resync(&mut self) -> Option<ResyncReason> {
        self.resync.take()
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ClientId, UserId};

    use super::*;
    use crate::hub::event::Kind;
    use crate::room::live::About;

    fn event(lane: usize, position: u64) -> Arc<Event> {
        Arc::new(Event {
            lane,
            position,
            conversation_id: ConversationId::parse("g00000000000000000000000000000000").unwrap(),
            seq: position,
            timestamp: Timestamp::from_millis(0),
            kind: Kind::Message(UserId::parse("u").unwrap(), ClientId::generate()),
            frame: "x".into(),
            trace: None,
        })
    }

    fn live(lanes: usize) -> Queue {
        let mut queue = Queue::starting_at(&vec![0; lanes], 0);
        for lane in 0..lanes {
            queue.extend(lane, Vec::new(), None);
        }
        queue
    }

    #[test]
    fn what_was_written_is_known_and_a_session_that_got_nothing_remembers_nothing() {
        let mut queue = live(2);
        // A receipt: nobody asks for its delivery.
        queue.offer(&event(1, 3));
        queue.pop();
        queue.note_written();
        assert!(queue.handed.is_none());
        queue.offer(&event(0, 5));
        let dispatched = [5, 3];
        assert_eq!(queue.handed(0, 5, &dispatched), HandedState::Waiting, "in the queue");
        queue.pop();
        assert_eq!(queue.handed(0, 5, &dispatched), HandedState::Waiting, "not flushed");
        queue.note_written();
        assert!(matches!(queue.handed(0, 5, &dispatched), HandedState::At(_)));
        assert_eq!(
            queue.handed(0, 4, &dispatched),
            HandedState::Passed,
            "before the session"
        );
        assert_eq!(queue.handed(0, 9, &dispatched), HandedState::Waiting, "not dispatched");
    }

    #[test]
    fn a_full_queue_falls_behind_at_the_event_before_and_takes_no_more_of_that_lane() {
        let mut queue = live(2);
        for position in 1..=EVENTS_MOST as u64 {
            assert_eq!(queue.offer(&event(0, position)), Offered::Queued);
        }
        let next = EVENTS_MOST as u64 + 1;
        assert_eq!(queue.offer(&event(0, next)), Offered::FellBehind);
        assert_eq!(queue.offer(&event(0, next + 1)), Offered::LeftToLog);
        queue.pop();
        assert_eq!(
            queue.offer(&event(0, next + 2)),
            Offered::LeftToLog,
            "or the order would break"
        );
        assert_eq!(
            queue.offer(&event(1, 7)),
            Offered::Queued,
            "other lanes go on while there is room"
        );
        assert_eq!((queue.behind(0), queue.behind(1)), (Some(next - 1), None));
    }

    #[test]
    fn a_checkpoint_never_passes_an_event_that_still_waits() {
        let mut queue = live(2);
        queue.offer(&event(0, 5));
        queue.offer(&event(0, 9));
        assert_eq!(queue.positions(&[20, 30]), [4, 30]);
        queue.pop();
        assert_eq!(queue.positions(&[20, 30]), [8, 30]);
        queue.pop();
        assert_eq!(queue.positions(&[20, 30]), [20, 30]);
    }

    #[test]
    fn what_a_vanished_stream_had_queued_still_goes_out_and_holds_no_checkpoint_back() {
        let mut queue = live(1);
        queue.offer(&event(0, 900));
        queue.reset_lane(0, 0, ResyncReason::OtherLog);
        queue.offer(&event(0, 1));
        assert_eq!(queue.take_resync(), Some(ResyncReason::OtherLog));
        assert_eq!(queue.pop().unwrap().position, 900);
        assert_eq!(queue.positions(&[1]), [0]);
        assert_eq!(queue.pop().unwrap().position, 1);
    }

    #[test]
    fn what_was_taken_is_behind_the_checkpoint_though_its_dispatch_is_not_noted_yet() {
        let mut queue = live(1);
        queue.offer(&event(0, 5));
        queue.pop();
        assert_eq!(queue.positions(&[4]), [5]);
    }

    #[test]
    fn a_lane_that_is_behind_checkpoints_where_it_is_behind() {
        let queue = Queue::starting_at(&[3, 4], 4);
        assert_eq!(queue.positions(&[20, 30]), [3, 4]);
    }

    fn live_signal(user: usize, text: &str) -> Arc<Live> {
        let about = About::Status(UserId::parse(&user.to_string()).unwrap());
        let text = text.to_owned().into();
        Arc::new(Live { text, about })
    }

    #[test]
    fn of_too_many_signals_about_the_same_the_last_one_is_kept() {
        let mut queue = live(1);
        for number in 0..SIGNALS_MOST {
            queue.signal(live_signal(number / 2, ["came", "left"][number % 2]));
        }
        queue.signal(live_signal(SIGNALS_MOST, "last"));
        let texts: Vec<_> = std::iter::from_fn(|| queue.pop_signal()).collect();
        assert_eq!(texts.len(), SIGNALS_MOST / 2 + 1);
        assert!(texts[..SIGNALS_MOST / 2].iter().all(|it| it.as_str() == "left"));
    }

    #[test]
    fn of_too_many_signals_about_different_things_the_oldest_are_dropped() {
        let mut queue = live(1);
        for number in 0..=SIGNALS_MOST {
            queue.signal(live_signal(number, &number.to_string()));
        }
        assert_eq!(queue.pop_signal().unwrap().as_str(), "1");
    }

    #[test]
    fn a_frame_larger_than_the_bound_fits_into_an_empty_queue() {
        let mut queue = live(1);
        let mut big = Arc::try_unwrap(event(0, 1)).unwrap();
        big.frame = "x".repeat(BYTES_MOST + 1).into();
        assert_eq!(queue.offer(&Arc::new(big)), Offered::Queued);
        assert_eq!(queue.offer(&event(0, 2)), Offered::FellBehind);
    }
}
