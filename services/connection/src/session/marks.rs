//! What a session's device has confirmed, for the push service: that does not push to a device what it has already.
//!
//! Receipts are of users; push decides for each device, so a node writes down what each has confirmed. While nobody looks
//! at the app that is done at once, since push waits for just that; while somebody does nothing is pushed to it, and one
//! entry for each conversation is enough, when that ends.

use std::collections::HashMap;

use protocol::ConversationId;
use protocol::client_frame::AppState;
use tokio::time::{Duration, Instant, timeout};

use super::Session;
use super::requests::Requests;
use super::socket::Socket;
use crate::app::App;

/// Conversations remembered; the one confirmed longest ago is forgotten first. What is forgotten unwritten is pushed once
/// too often.
const CONVERSATIONS_MOST: usize = 256;
/// Between two entries for one conversation; the first is written at once.
const PACE: Duration = Duration::from_millis(100);
/// How long the confirmations of a socket that has ended are waited for: a phone that was woken in the background
/// confirms and goes to sleep again.
const LAST_MOST: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct Marks {
    marks: HashMap<ConversationId, Mark>,
    /// When something is to be written that waits for its pace.
    next_at: Option<Instant>,
    count: u64,
}

#[derive(Debug, Default)]
struct Mark {
    seq: u64,
    written: u64,
    written_at: Option<Instant>,
    /// Which confirmation of the session was its last.
    number: u64,
}

/// What is to be written down: up to where a conversation was confirmed.
pub type Entry = (ConversationId, u64);

impl Marks {
    /// Takes a confirmation that was accepted, while nobody looks at the app or somebody does. What is to be written now.
    fn confirm(&mut self, id: ConversationId, seq: u64, looked_at: bool, now: Instant) -> Option<Entry> {
        if self.marks.len() >= CONVERSATIONS_MOST && !self.marks.contains_key(&id) {
            let oldest = self.marks.iter().min_by_key(|(_, mark)| mark.number);
            let oldest = oldest.map(|(id, _)| id.clone());
            oldest.and_then(|id| self.marks.remove(&id));
        }
        self.count += 1;
        let mark = self.marks.entry(id.clone()).or_default();
        mark.number = self.count;
        mark.seq = mark.seq.max(seq);
        if looked_at || mark.is_written() {
            return None;
        }
        let due = mark.written_at.map_or(now, |at| at + PACE);
        if due > now {
            self.next_at = Some(self.next_at.map_or(due, |at| at.min(due)));
            return None;
        }
        Some((id, mark.write(now)))
    }

    /// What has waited for its pace long enough.
    fn due(&mut self, now: Instant) -> Vec<Entry> {
        if self.next_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.next_at = None;
        let mut entries = Vec::new();
        for (id, mark) in self.marks.iter_mut().filter(|(_, mark)| !mark.is_written()) {
            match mark.written_at.map(|at| at + PACE).filter(|due| *due > now) {
                None => entries.push((id.clone(), mark.write(now))),
                Some(due) => self.next_at = Some(self.next_at.map_or(due, |at| at.min(due))),
            }
        }
        entries
    }

    /// All that is not written yet.
    fn all(&mut self, now: Instant) -> Vec<Entry> {
        self.next_at = None;
        let unwritten = self.marks.iter_mut().filter(|(_, mark)| !mark.is_written());
        unwritten.map(|(id, mark)| (id.clone(), mark.write(now))).collect()
    }

    /// When [`Marks::due`] gives something.
    pub fn next_at(&self) -> Option<Instant> {
        self.next_at
    }
}

impl Mark {
    fn is_written(&self) -> bool {
        self.seq <= self.written
    }

    fn write(&mut self, now: Instant) -> u64 {
        (self.written, self.written_at) = (self.seq, Some(now));
        self.seq
    }
}

/// Whether the app is on screen and was not left open.
fn is_looked_at(session: &Session) -> bool {
    matches!(session.activity(), (AppState::Foreground, false))
}

impl Socket {
    /// The user's device has confirmed all up to there.
    pub(super) fn on_confirmed(&mut self, id: ConversationId, seq: u64) {
        let looked_at = is_looked_at(&self.session);
        if let Some(entry) = self.marks.confirm(id, seq, looked_at, Instant::now()) {
            self.app.marks.write(&self.session, entry);
        }
    }

    /// Whether somebody looks at the app may have changed.
    pub(super) fn on_looked(&mut self) {
        for entry in self.marks.all(Instant::now()) {
            self.app.marks.write(&self.session, entry);
        }
    }

    /// Writes what has waited for its pace.
    pub(super) fn write_due_marks(&mut self, now: Instant) {
        for entry in self.marks.due(now) {
            self.app.marks.write(&self.session, entry);
        }
    }
}

/// Writes all that a session that has ended confirmed, also what is being asked for at this moment.
pub(super) async fn write_last(app: &App, session: &Session, marks: &mut Marks, requests: &mut Requests) {
    // Before anything is waited for: the process may be about to end.
    for entry in marks.all(Instant::now()) {
        app.marks.write(session, entry);
    }
    let last = async {
        while let Some((id, seq)) = requests.next_confirmed().await {
            marks.confirm(id, seq, true, Instant::now());
        }
    };
    let _ = timeout(LAST_MOST, last).await;
    requests.give_up();
    for entry in marks.all(Instant::now()) {
        app.marks.write(session, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ConversationId {
        ConversationId::parse(&format!("g{number:032x}")).unwrap()
    }

    fn seqs(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|(_, seq)| *seq).collect()
    }

    #[test]
    fn in_the_background_the_first_is_written_at_once_and_of_those_that_follow_the_highest() {
        let (mut marks, begin) = (Marks::default(), Instant::now());
        let mut written = Vec::new();
        for (ms, seq) in [(0, 1), (10, 2), (20, 9), (30, 5), (250, 9)] {
            let now = begin + Duration::from_millis(ms);
            written.extend(marks.due(now).iter().map(|(_, seq)| (ms, *seq)));
            let entry = marks.confirm(id(1), seq, false, now);
            written.extend(entry.iter().map(|(_, seq)| (ms, *seq)));
            if ms == 30 {
                assert_eq!(marks.next_at(), Some(begin + PACE));
            }
        }
        assert_eq!(written, [(0, 1), (250, 9)]);
        assert_eq!(marks.next_at(), None);
    }

    #[test]
    fn while_somebody_looks_nothing_is_written_until_that_ends() {
        let (mut marks, now) = (Marks::default(), Instant::now());
        for seq in [3, 8, 4] {
            assert_eq!(marks.confirm(id(1), seq, true, now), None);
        }
        assert_eq!((marks.next_at(), seqs(&marks.due(now + PACE))), (None, Vec::new()));
        assert_eq!(seqs(&marks.all(now)), [8]);
        assert_eq!(seqs(&marks.all(now)), [0; 0]);
    }

    #[test]
    fn what_was_written_is_not_written_again_nor_anything_before_it() {
        let (mut marks, now) = (Marks::default(), Instant::now());
        assert!(marks.confirm(id(1), 8, false, now).is_some());
        for (seq, later) in [(8, PACE), (7, PACE * 2)] {
            assert_eq!(marks.confirm(id(1), seq, false, now + later), None);
        }
        assert_eq!(marks.next_at(), None);
    }

    #[test]
    fn one_conversation_does_not_wait_for_the_pace_of_another() {
        let (mut marks, now) = (Marks::default(), Instant::now());
        assert!(marks.confirm(id(1), 1, false, now).is_some());
        assert!(marks.confirm(id(2), 1, false, now).is_some());
    }

    #[test]
    fn of_more_conversations_than_are_remembered_the_last_are() {
        let (mut marks, now) = (Marks::default(), Instant::now());
        for number in 0..CONVERSATIONS_MOST {
            marks.confirm(id(number), 1, true, now);
        }
        marks.confirm(id(0), 2, true, now);
        marks.confirm(id(CONVERSATIONS_MOST), 1, true, now);
        let all = marks.all(now);
        assert_eq!(all.len(), CONVERSATIONS_MOST);
        assert!(all.contains(&(id(0), 2)) && !all.contains(&(id(1), 1)));
    }
}
