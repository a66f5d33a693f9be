//! The chain of entries that changed a conversation's members or settings: each names the one before it, and some tell
//! everything, so that following it back from the newest ends soon.
//!
//! Pure: a walk says which entry to read next; reading it is in [`super::load`].

use bus::Record;
use protocol::envelope::Unreadable;

use super::{Head, State, snapshot, state};
use crate::event::{self, Event};

/// Most entries without a snapshot that are passed: what writers keep to, and a few that had no room for one. Beyond it
/// MongoDB is asked.
const LINKS_MOST: usize = state::BARE_MOST as usize + 4;

/// An entry that changed members or settings.
#[derive(Debug)]
struct Link {
    event: Event,
    position: u64,
    /// Position of the link before; 0 where there is none.
    prev: u64,
    /// The state that the entry tells by itself.
    whole: Option<State>,
}

impl Link {
    /// Reads an entry; `None` where it is no such link.
    ///
    /// # Errors
    /// A newer version's entry, of which this one cannot say what it changes.
    fn of(record: &Record) -> Result<Option<Self>, Unreadable> {
        let (envelope, _) = event::open(&record.payload)?;
        let event = Event::decode(&record.payload).or_else(|_| Event::decode_place(&record.payload))?;
        let head = Head {
            seq: event.seq(),
            position: record.position,
            timestamp: event.timestamp(),
        };
        let whole = match &event {
            Event::Message(_) | Event::Receipt(..) => return Ok(None),
            Event::Created(it) => Some(State::created(it, record.position)),
            Event::Updated(_) | Event::Added(..) | Event::Removed(..) | Event::Newer(_) => envelope
                .snapshot
                .and_then(|it| snapshot::decode(it.get(), event.conversation_id().clone(), head)),
        };
        if whole.is_none() && matches!(event, Event::Newer(_)) {
            return Err(Unreadable::UnknownEvent);
        }
        Ok(Some(Self {
            position: record.position,
            prev: envelope.prev,
            whole,
            event,
        }))
    }

    /// Whether it is the first change after a known state. What it names as the one before need not be in the stream any
    /// more. A state of another stream would have to stand at that very position, and before this in both orders.
    fn follows(&self, known: &State) -> bool {
        let (seq, head) = (self.event.seq(), known.head);
        let before = head.position < self.position && head.seq < seq && known.state_seq < seq;
        before && self.prev > 0 && self.prev == known.state_at
    }
}

/// A walk back along the chain.
#[derive(Debug)]
pub(super) struct Walk {
    subject: String,
    /// A state that was known before: the walk ends at the first change after it.
    known: Option<State>,
    /// Newest first.
    links: Vec<Link>,
}

/// What a walk wants.
#[derive(Debug)]
pub(super) enum Step {
    /// Read the entry at this position.
    Read(u64),
    /// This is the state as of the chain's newest entry.
    Done(Box<State>),
    /// The chain is broken: its entries have aged out, or go too far back. MongoDB has the state.
    Broken,
    /// A newer version changed something that this one cannot read, and that its projection has not stored: nobody here
    /// knows the state.
    Unreadable(Unreadable),
}

impl Walk {
    pub(super) fn new(subject: String, known: Option<State>) -> Self {
        Self {
            subject,
            known,
            links: Vec::new(),
        }
    }

    /// Takes in what was read at the position asked for.
    pub(super) fn step(&mut self, entry: Option<Record>) -> Step {
        // In a stream that was made anew a position may be another conversation's entry.
        let ours = entry.filter(|it| it.subject == self.subject);
        let mut link = match ours.as_ref().map(Link::of) {
            Some(Ok(Some(link))) => link,
            Some(Ok(None)) | None => return Step::Broken,
            Some(Err(error)) => return Step::Unreadable(error),
        };
        if let Some(whole) = link.whole.take() {
            return self.done(whole);
        }
        let prev = link.prev;
        let follows = self.known.take_if(|it| link.follows(it));
        self.links.push(link);
        if let Some(known) = follows {
            return self.done(known);
        }
        if prev == 0 || self.links.len() == LINKS_MOST {
            return Step::Broken;
        }
        Step::Read(prev)
    }

    /// Applies what was passed to the state before it.
    fn done(&mut self, mut state: State) -> Step {
        for link in self.links.drain(..).rev() {
            state.apply(&link.event);
            state.stand_at(link.position, false);
        }
        Step::Done(Box::new(state))
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
