//! The end of one lane, kept in memory: the first tier of replay. Bounded by bytes; the oldest goes first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use protocol::envelope::Told;
use protocol::{ConversationId, UserId};

use super::event::Event;
use super::gaps;
use super::holes::Holes;
use super::memberships::{Memberships, Steps};

/// All events of a lane after [`Window::start`], by position and by conversation.
#[derive(Debug)]
pub struct Window {
    start: u64,
    /// The last position.
    last: u64,
    /// The last position whose entry could not be read.
    unreadable: u64,
    holes: Holes,
    bytes: usize,
    bytes_most: usize,
    events: VecDeque<Arc<Event>>,
    by_conversation: HashMap<ConversationId, VecDeque<Arc<Event>>>,
    changes_by_user: HashMap<UserId, Vec<Arc<Event>>>,
}

/// Some events after a position.
#[derive(Debug)]
pub struct Found {
    /// In order of position.
    pub events: Vec<Arc<Event>>,
    /// Whether these are all.
    pub complete: bool,
}

impl Window {
    /// An empty window that begins after `start`.
    pub fn new(start: u64, bytes_most: usize) -> Self {
        Self {
            start,
            last: start,
            unreadable: 0,
            holes: Holes::default(),
            bytes: 0,
            bytes_most,
            events: VecDeque::new(),
            by_conversation: HashMap::new(),
            changes_by_user: HashMap::new(),
        }
    }

    /// The position after which everything is here.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Positions before its end whose entries never came.
    pub fn holes(&self) -> &Holes {
        &self.holes
    }

    /// Whether nobody here was told of the step of a watermark that an event names: its own entry never came.
    pub fn is_news(&self, told: &Told) -> bool {
        told.1 == 0 || self.holes.contain(told.1)
    }

    /// Forgets everything and begins after `start`.
    pub fn reset(&mut self, start: u64) {
        *self = Self::new(start, self.bytes_most);
    }

    /// An entry at this position was skipped: what follows it proves nothing.
    pub fn note_unreadable(&mut self, position: u64) {
        self.unreadable = position;
    }

    /// Adds the newest event and lets the oldest go where the bound asks for it. Returns which `seq` should have come, where
    /// it does not follow its conversation's last event here.
    pub fn push(&mut self, event: Arc<Event>) -> Option<u64> {
        self.holes.note(self.last, event.position);
        self.last = event.position;
        self.bytes += event.bytes();
        let queue = self.by_conversation.entry(event.conversation_id.clone()).or_default();
        let before = queue.back().filter(|it| it.position > self.unreadable).map(|it| it.seq);
        queue.push_back(event.clone());
        let instead = before.and_then(|before| gaps::expected_instead(&event, before));
        for user in event.changes() {
            self.changes_by_user
                .entry(user.clone())
                .or_default()
                .push(event.clone());
        }
        self.events.push_back(event);
        while self.bytes > self.bytes_most {
            self.evict();
        }
        instead
    }

    fn evict(&mut self) {
        let Some(event) = self.events.pop_front() else {
            self.bytes = 0;
            return;
        };
        self.bytes = self.bytes.saturating_sub(event.bytes());
        self.start = event.position;
        if let Some(queue) = self.by_conversation.get_mut(&event.conversation_id) {
            queue.pop_front();
            if queue.is_empty() {
                self.by_conversation.remove(&event.conversation_id);
            }
        }
        for user in event.changes() {
            if let Some(changes) = self.changes_by_user.get_mut(user) {
                changes.retain(|it| it.position != event.position);
                if changes.is_empty() {
                    self.changes_by_user.remove(user);
                }
            }
        }
    }

    /// The changes of a user's memberships within the window.
    pub fn changes_of(&self, user: &UserId) -> &[Arc<Event>] {
        self.changes_by_user.get(user).map_or(&[], Vec::as_slice)
    }

    /// Up to `limit` events after `from` that belong to somebody with these memberships, in order. `from` must not lie
    /// before [`Window::start`]; `told` is the position up to which he knows of all steps of watermarks.
    pub fn after(&self, from: u64, told: u64, memberships: &Memberships, limit: usize) -> Found {
        let steps = Steps {
            after: told,
            until: self.start,
            holes: Some(&self.holes),
        };
        let newer = self.events.len() - self.events.partition_point(|event| event.position <= from);
        // Whichever is shorter: what happened since, or the list of conversations.
        let mut events = if newer <= memberships.len() {
            self.scan(newer, steps, memberships, limit)
        } else {
            self.look_up(from, steps, memberships, limit)
        };
        let complete = events.len() <= limit;
        events.truncate(limit);
        Found { events, complete }
    }

    fn scan(&self, newer: usize, steps: Steps<'_>, memberships: &Memberships, limit: usize) -> Vec<Arc<Event>> {
        let mine = |event: &&Arc<Event>| memberships.cover(event, steps);
        self.events
            .range(self.events.len() - newer..)
            .filter(mine)
            .take(limit + 1)
            .cloned()
            .collect()
    }

    fn look_up(&self, from: u64, steps: Steps<'_>, memberships: &Memberships, limit: usize) -> Vec<Arc<Event>> {
        let mut events = Vec::new();
        for (id, _) in memberships.iter() {
            let Some(queue) = self.by_conversation.get(id) else {
                continue;
            };
            let begin = queue.partition_point(|event| event.position <= from);
            // One more than the limit from each: after sorting, the first `limit` are then right whatever the rest is.
            events.extend(
                queue
                    .range(begin..)
                    .filter(|event| memberships.cover(event, steps))
                    .take(limit + 1)
                    .cloned(),
            );
        }
        events.sort_unstable_by_key(|event| event.position);
        events.truncate(limit + 1);
        events
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::{ClientId, Timestamp};

    use super::super::event::Kind;
    use super::super::memberships::Span;
    use super::*;

    fn conversation(number: u8) -> ConversationId {
        ConversationId::parse(&format!("g{number:032x}")).unwrap()
    }

    fn event(position: u64, number: u8) -> Arc<Event> {
        Arc::new(Event {
            lane: 0,
            position,
            conversation_id: conversation(number),
            seq: position,
            timestamp: Timestamp::from_millis(0),
            kind: Kind::Message(UserId::parse("u").unwrap(), ClientId::generate()),
            frame: "x".into(),
            trace: None,
        })
    }

    proptest! {
        #[test]
        fn what_is_after_a_position_is_exactly_the_members_events(
            numbers in prop::collection::vec(0u8..6, 1..200),
            mine in prop::collection::btree_set(0u8..6, 0..6),
            from in 0u64..200,
            limit in 1usize..50,
        ) {
            let mut window = Window::new(0, 40 * event(1, 0).bytes());
            for (index, number) in numbers.iter().enumerate() {
                window.push(event(index as u64 + 1, *number));
            }
            let from = from.max(window.start());
            let mut memberships = Memberships::none(UserId::parse("me").unwrap());
            for number in &mine {
                memberships.set(&conversation(*number), Span { since: 1, until: None, past: None, lane: 0 });
            }
            let expected: Vec<u64> = numbers.iter().enumerate()
                .map(|(index, number)| (index as u64 + 1, number))
                .filter(|(position, number)| *position > from && mine.contains(number))
                .map(|(position, _)| position).collect();
            let found = window.after(from, from, &memberships, limit);
            let positions: Vec<u64> = found.events.iter().map(|it| it.position).collect();
            prop_assert_eq!(found.complete, expected.len() <= limit);
            prop_assert_eq!(positions, expected.into_iter().take(limit).collect::<Vec<_>>());
        }

        #[test]
        fn an_event_that_does_not_follow_its_conversations_last_one_is_told_of(skipped in 1u64..9, unreadable: bool) {
            let at = |position, seq| {
                let mut event = Arc::try_unwrap(event(position, 0)).unwrap();
                event.seq = seq;
                Arc::new(event)
            };
            let mut window = Window::new(0, 40 * event(1, 0).bytes());
            prop_assert_eq!(window.push(at(1, 5)), None);
            prop_assert_eq!(window.push(at(2, 6)), None);
            if unreadable {
                window.note_unreadable(3);
            }
            prop_assert_eq!(window.push(at(4, 7 + skipped)), (!unreadable).then_some(7));
            prop_assert_eq!(window.push(at(5, 8 + skipped)), None);
        }

        #[test]
        fn the_window_keeps_to_its_bytes_and_forgets_conversations_with_their_events(count in 1u64..200) {
            let mut window = Window::new(0, 10 * event(1, 0).bytes());
            for position in 1..=count {
                window.push(event(position, (position % 50) as u8));
            }
            prop_assert!(window.bytes <= window.bytes_most);
            let indexed: usize = window.by_conversation.values().map(VecDeque::len).sum();
            prop_assert_eq!(indexed, window.events.len());
            prop_assert_eq!(window.start, count - window.events.len() as u64);
        }
    }
}
