//! A user's conversations, and which of their events are his: pure data, merged from the directory and the log.

use std::collections::HashMap;

use bus::directory::Membership;
use protocol::ConversationId;

use super::event::{Event, Kind};

/// The time, in `seq`s of the conversation, during which somebody was a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The event that made him a member; the first that he gets.
    pub since: u64,
    /// The event that removed him; the last that he gets.
    pub until: Option<u64>,
    /// The conversation's lane.
    pub lane: usize,
}

impl Span {
    fn known(&self) -> u64 {
        self.until.unwrap_or(self.since)
    }

    /// Whether somebody with this span gets the event.
    pub fn covers(&self, event: &Event) -> bool {
        match event.kind {
            Kind::Receipt(..) => self.until.is_none(),
            Kind::Message(..) | Kind::Created(_) => {
                event.seq >= self.since && self.until.is_none_or(|until| event.seq <= until)
            }
        }
    }
}

/// All conversations that a user is or was in.
#[derive(Debug, Clone, Default)]
pub struct Memberships(HashMap<ConversationId, Span>);

impl Memberships {
    /// Takes in what the directory says, unless something newer is known.
    pub fn merge(&mut self, membership: &Membership, lane: usize) -> bool {
        let span = Span {
            since: membership.since,
            until: membership.until,
            lane,
        };
        self.set(&membership.conversation_id, span)
    }

    /// Takes in a change, unless something as new is known. Returns whether anything changed.
    pub fn set(&mut self, id: &ConversationId, span: Span) -> bool {
        match self.0.get_mut(id) {
            Some(known) if known.known() >= span.known() => false,
            Some(known) => {
                *known = span;
                true
            }
            None => {
                self.0.insert(id.clone(), span);
                true
            }
        }
    }

    /// The span of one conversation.
    pub fn get(&self, id: &ConversationId) -> Option<&Span> {
        self.0.get(id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&ConversationId, &Span)> {
        self.0.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ConversationId {
        ConversationId::parse("g00000000000000000000000000000000").unwrap()
    }

    #[test]
    fn a_late_answer_of_the_directory_does_not_undo_what_the_log_said() {
        let mut all = Memberships::default();
        assert!(all.set(
            &id(),
            Span {
                since: 1,
                until: Some(9),
                lane: 0
            }
        ));
        let stale = Membership {
            conversation_id: id(),
            since: 1,
            until: None,
        };
        assert!(!all.merge(&stale, 0));
        assert_eq!(all.get(&id()).unwrap().until, Some(9));
    }
}
