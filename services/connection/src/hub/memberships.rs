//! A user's conversations, and which of their events are his: pure data, merged from the directory and the log.

use std::collections::HashMap;
use std::sync::Arc;

use bus::directory::{Entry, PAST_MOST};
use protocol::envelope::Told;
use protocol::{ConversationId, UserId};

use super::event::{Event, Kind};
use super::holes::Holes;

/// The time, in `seq`s of the conversation, during which somebody was a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The event that made him a member; the first that he gets.
    pub since: u64,
    /// The event that removed him; the last that he gets.
    pub until: Option<u64>,
    /// Earlier memberships: first and last `seq`. Few have any.
    pub past: Option<Arc<[(u64, u64)]>>,
    /// The conversation's lane.
    pub lane: usize,
}

impl Span {
    /// The span that the directory tells of.
    pub fn of(entry: Entry, lane: usize) -> Self {
        Self {
            since: entry.membership.since,
            until: entry.membership.until,
            past: (!entry.past.is_empty()).then(|| entry.past.into()),
            lane,
        }
    }

    /// Whether this one was made of a removal alone, and that ended the other one: a removal may be heard before the
    /// directory has told of the membership.
    fn is_end_of(&self, span: &Self) -> bool {
        let alone = self.until == Some(self.since);
        alone && span.since < self.since && span.until.is_none_or(|until| until == self.since)
    }

    fn known(&self) -> u64 {
        self.until.unwrap_or(self.since)
    }

    /// Whether somebody with this span gets the event, as far as it is for all members.
    fn covers(&self, event: &Event) -> bool {
        match event.kind {
            Kind::Receipt { .. } => self.until.is_none(),
            _ => {
                let now = event.seq >= self.since && self.until.is_none_or(|until| event.seq <= until);
                now || self.had(event.seq)
            }
        }
    }

    /// The past of a membership that begins at `since`, after this one.
    fn past_before(&self, since: u64) -> Option<Arc<[(u64, u64)]>> {
        let Some(until) = self.until.filter(|until| *until < since) else {
            return self.past.clone();
        };
        let past = self.past.as_deref().unwrap_or_default();
        let kept = &past[past.len().saturating_sub(PAST_MOST - 1)..];
        Some(kept.iter().copied().chain([(self.since, until)]).collect())
    }

    fn had(&self, seq: u64) -> bool {
        self.past
            .as_ref()
            .is_some_and(|past| past.iter().any(|(since, until)| (*since..=*until).contains(&seq)))
    }
}

/// All conversations that a user is or was in.
#[derive(Debug, Clone)]
pub struct Memberships {
    user: UserId,
    spans: HashMap<ConversationId, Span>,
}

/// Which steps of a watermark somebody still has to be told of, who reads the receipts from a position on. An entry
/// replaces the one before it, and names the steps of those before it too: see [`Told`].
#[derive(Debug, Clone, Copy)]
pub struct Steps<'a> {
    /// He knows of those up to here.
    pub after: u64,
    /// Those after here he reads as entries of their own.
    pub until: u64,
    /// Of these nobody on this node was told, whatever else he knows.
    pub holes: Option<&'a Holes>,
}

impl Steps<'_> {
    fn hold(self, told: &Told) -> bool {
        let is_hole = || self.holes.is_some_and(|it| it.contain(told.1));
        told.1 == 0 || (told.1 > self.after && told.1 <= self.until) || is_hole()
    }
}

impl Memberships {
    /// Of a user who is in no conversation.
    pub fn none(user: UserId) -> Self {
        Self {
            user,
            spans: HashMap::new(),
        }
    }

    /// Whether the user gets the event.
    pub fn cover(&self, event: &Event, steps: Steps<'_>) -> bool {
        let told = match &event.kind {
            Kind::Receipt { user, to: Some(to), .. } => {
                *user == self.user || to.iter().any(|it| it.0 == self.user && steps.hold(it))
            }
            _ => true,
        };
        told && self.get(&event.conversation_id).is_some_and(|span| span.covers(event))
    }

    /// Whether the user is a member now, as far as is known.
    pub fn is_member(&self, id: &ConversationId) -> bool {
        self.get(id).is_some_and(|span| span.until.is_none())
    }

    /// What the span of an event's conversation is after it; `None` if it changes nothing for this user.
    pub fn span_after(&self, event: &Event) -> Option<Span> {
        if event.changes().binary_search(&self.user).is_err() {
            return None;
        }
        let lane = event.lane;
        let known = self.get(&event.conversation_id);
        Some(match &event.kind {
            Kind::Removed(_) => Span {
                // Not known here yet: at least he gets his removal.
                since: known.map_or(event.seq, |span| span.since),
                until: Some(event.seq),
                past: known.and_then(|span| span.past.clone()),
                lane,
            },
            _ => Span {
                since: event.seq,
                until: None,
                past: known.and_then(|span| span.past_before(event.seq)),
                lane,
            },
        })
    }

    /// Takes in a change, unless something as new is known. Returns whether anything changed.
    pub fn set(&mut self, id: &ConversationId, span: Span) -> bool {
        match self.spans.get_mut(id) {
            Some(known) if known.is_end_of(&span) => {
                known.since = span.since;
                known.past = span.past;
                true
            }
            Some(known) if known.known() >= span.known() => false,
            Some(known) => {
                *known = span;
                true
            }
            None => {
                self.spans.insert(id.clone(), span);
                true
            }
        }
    }

    /// The span of one conversation.
    pub fn get(&self, id: &ConversationId) -> Option<&Span> {
        self.spans.get(id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&ConversationId, &Span)> {
        self.spans.iter()
    }

    /// All of them, taken apart.
    pub fn into_spans(self) -> impl Iterator<Item = (ConversationId, Span)> {
        self.spans.into_iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.spans.len()
    }
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;

    use super::*;

    fn id() -> ConversationId {
        ConversationId::parse("g00000000000000000000000000000000").unwrap()
    }

    fn ann() -> UserId {
        UserId::parse("ann").unwrap()
    }

    fn span(since: u64, until: Option<u64>) -> Span {
        Span {
            since,
            until,
            past: None,
            lane: 0,
        }
    }

    fn event(seq: u64, kind: Kind) -> Event {
        Event {
            lane: 0,
            position: seq,
            conversation_id: id(),
            seq,
            timestamp: Timestamp::from_millis(0),
            kind,
            frame: "x".into(),
            trace: None,
        }
    }

    #[test]
    fn a_late_answer_of_the_directory_does_not_undo_what_the_log_said() {
        let mut all = Memberships::none(ann());
        assert!(all.set(&id(), span(1, Some(9))));
        assert!(!all.set(&id(), span(1, None)));
        assert_eq!(all.get(&id()).unwrap().until, Some(9));
    }

    #[test]
    fn a_removal_heard_before_the_membership_ends_it_and_hides_nothing_of_it() {
        let removal = event(9, Kind::Removed(vec![ann()]));
        let steps = Steps {
            after: 0,
            until: 0,
            holes: None,
        };
        for told in [span(3, None), span(3, Some(9))] {
            let mut all = Memberships::none(ann());
            all.set(&id(), all.span_after(&removal).unwrap());
            assert!(all.set(&id(), told));
            let covered = (1..12).filter(|seq| all.cover(&event(*seq, Kind::Updated), steps));
            assert_eq!(covered.collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8, 9]);
            assert!(!all.is_member(&id()));
        }
        let mut all = Memberships::none(ann());
        all.set(&id(), all.span_after(&removal).unwrap());
        assert!(!all.set(&id(), span(3, Some(5))), "that was an earlier one");
    }

    #[test]
    fn who_was_removed_and_added_again_gets_both_times_and_not_what_was_between() {
        let mut all = Memberships::none(ann());
        all.set(&id(), span(1, None));
        for change in [
            event(3, Kind::Removed(vec![ann()])),
            event(6, Kind::Added(vec![ann()], "x".into())),
        ] {
            let span = all.span_after(&change).unwrap();
            assert!(all.set(&id(), span));
        }
        let steps = Steps {
            after: 0,
            until: 0,
            holes: None,
        };
        let covered = (1..=8).filter(|seq| all.cover(&event(*seq, Kind::Updated), steps));
        assert_eq!(covered.collect::<Vec<_>>(), [1, 2, 3, 6, 7, 8]);
        assert!(all.is_member(&id()));
    }

    #[test]
    fn a_step_is_told_by_its_own_entry_or_by_the_one_that_replaced_it() {
        let told = |step| Told(ann(), step);
        let mut holes = Holes::default();
        holes.note(1, 3);
        holes.note(11, 13);
        let steps = Steps {
            after: 4,
            until: 9,
            holes: Some(&holes),
        };
        let held: Vec<u64> = [0, 1, 2, 4, 5, 9, 10, 11, 12, 13]
            .into_iter()
            .filter(|it| steps.hold(&told(*it)))
            .collect();
        assert_eq!(
            held,
            [0, 2, 5, 9, 12],
            "2 and 12 are in no entry of their own that came here"
        );
    }
}
