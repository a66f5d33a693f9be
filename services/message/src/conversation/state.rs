//! What a replica knows of a conversation: members, settings and head, always as of its last known log entry.
//!
//! Pure: following the log by one step is a function here; fetching the step is in [`super::load`].

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::http::HistoryAccess;
use protocol::server_frame::{ConversationCreated, ConversationType};
use protocol::{ConversationId, Timestamp, UserId};

use super::members::{Member, Members};
use crate::effect::{Effect, founding};
use crate::event::{Event, Seen};

/// `state_at` of a conversation whose last state entry is not in the stream: aged out, or lost with a stream that was
/// made anew. Readers take members and settings from MongoDB then.
pub(crate) const STATE_ELSEWHERE: u64 = u64::MAX;

/// Groups of up to so many members are written out in full with each change that is in no hurry.
const SNAPSHOT_ALWAYS: usize = 200;
/// Larger ones after so many changes without.
const SNAPSHOT_EVERY: u32 = 64;
/// Most changes in a row without, whatever the hurry: how far back a reader must go. Only a change with so many new members
/// that their snapshot does not fit beside them makes it one more.
pub(crate) const BARE_MOST: u32 = SNAPSHOT_EVERY + 6;

/// Message `seq`s remembered, so that a reply to something recent asks nobody.
const RECENT: usize = 64;

/// The last entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    /// Stream sequence; 0 where the stream holds no entry of the conversation.
    pub(crate) position: u64,
    pub(crate) timestamp: Timestamp,
}

/// A conversation as of `head`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) id: ConversationId,
    pub(crate) conversation_type: ConversationType,
    pub(crate) name: Option<String>,
    pub(crate) history: HistoryAccess,
    pub(crate) created_at: Timestamp,
    pub(crate) members: Arc<Members>,
    pub(crate) head: Head,
    /// Stream sequence of the last entry that changed members or settings, or [`STATE_ELSEWHERE`].
    pub(crate) state_at: u64,
    /// `seq` of that entry; 0 where it is not known.
    pub(crate) state_seq: u64,
    /// How many such entries in a row, up to that one, hold no snapshot; more than any bound where it is not known.
    bare: u32,
    recent: VecDeque<u64>,
}

/// What a newly read end of the conversation's log means for what was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// The state now stands at that end, or stood there or past it already (a replica that is behind answered).
    Current,
    /// Members or settings have changed since: load what did, on top of what is known.
    Changed,
    /// The stream is another one: load anew.
    Reload,
    /// The stream holds nothing of the conversation any more: only MongoDB can tell what became of it, and where its
    /// `seq` goes on.
    Emptied,
}

/// What a conversation is, whatever happened last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) conversation_type: ConversationType,
    pub(crate) name: Option<String>,
    pub(crate) history: HistoryAccess,
    pub(crate) created_at: Timestamp,
}

impl State {
    /// The state that a creation makes, standing at its entry.
    pub(crate) fn created(created: &ConversationCreated, position: u64) -> Self {
        let settings = Settings {
            conversation_type: created.conversation_type,
            name: created.name.clone(),
            history: created.history,
            created_at: created.timestamp,
        };
        let head = Head {
            seq: created.seq,
            position,
            timestamp: created.timestamp,
        };
        let mut state = Self::of(created.conversation_id.clone(), settings, Members::default(), head);
        state.affect(&founding(created), created.seq);
        state.stand_at(position, true);
        state
    }

    /// A state from its parts, standing at no entry that changed it.
    pub(crate) fn of(id: ConversationId, settings: Settings, members: Members, head: Head) -> Self {
        Self {
            id,
            conversation_type: settings.conversation_type,
            name: settings.name,
            history: settings.history,
            created_at: settings.created_at,
            members: Arc::new(members),
            head,
            state_at: STATE_ELSEWHERE,
            state_seq: 0,
            bare: u32::MAX,
            recent: VecDeque::new(),
        }
    }

    /// Takes in an event that changes members or settings. Where it stands is told by [`State::stand_at`].
    pub(crate) fn apply(&mut self, event: &Event) {
        if let Event::Updated(it) = event {
            self.name = it.name.clone().or_else(|| self.name.take());
            self.history = it.history.unwrap_or(self.history);
        }
        self.affect(&event.effects(), event.seq());
        self.head.seq = event.seq();
        self.head.timestamp = event.timestamp();
    }

    fn affect(&mut self, effects: &[Effect<'_>], seq: u64) {
        if effects.is_empty() {
            return;
        }
        let members = Arc::make_mut(&mut self.members);
        for effect in effects {
            match *effect {
                Effect::Joined { user, role, .. } => members.join(Member {
                    user_id: user.clone(),
                    role,
                    since: seq,
                }),
                Effect::Left { user } => members.leave(user),
                Effect::Role { user, role } => members.set_role(user, role),
            }
        }
    }

    /// Moves to the entry of the event that was applied last. `whole`: it tells all members, not only what changed.
    pub(crate) fn stand_at(&mut self, position: u64, whole: bool) {
        self.head.position = position;
        self.state_at = position;
        self.state_seq = self.head.seq;
        self.bare = if whole { 0 } else { self.bare.saturating_add(1) };
    }

    /// Whether the entry of the event that was applied last, and that has not been written yet, is to tell all members.
    /// In a `hurry` only where the way back would become too long.
    pub(crate) fn wants_snapshot(&self, hurry: bool) -> bool {
        if hurry {
            return self.bare >= BARE_MOST;
        }
        self.members.len() <= SNAPSHOT_ALWAYS || self.bare >= SNAPSHOT_EVERY
    }

    /// Stream sequence of the last entry that changed members or settings, for the next such entry: 0 where there is
    /// none in the stream.
    pub(crate) fn last_change(&self) -> u64 {
        if self.state_at == STATE_ELSEWHERE {
            0
        } else {
            self.state_at
        }
    }

    /// The first `seq` that a member sees in the history.
    pub(crate) fn visible_from(&self, user: &UserId) -> u64 {
        match (self.history, self.members.get(user)) {
            (HistoryAccess::Joined, Some(member)) => member.since,
            _ => 0,
        }
    }

    /// Moves to an entry that this replica appended, or read as the newest one, and that changed no members.
    pub(crate) fn advance(&mut self, head: Head, is_message: bool) {
        self.head = head;
        if is_message {
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(head.seq);
        }
    }

    /// Takes in what was read as the conversation's last entry.
    pub(crate) fn follow(&mut self, last: Option<&Seen>) -> Follow {
        let Some(last) = last else {
            return if self.head.position == 0 {
                Follow::Current
            } else {
                Follow::Emptied
            };
        };
        if last.position == self.head.position && last.seq == self.head.seq {
            return Follow::Current;
        }
        let behind = last.position < self.head.position && last.seq < self.head.seq;
        if behind {
            return Follow::Current;
        }
        let ahead = last.position > self.head.position && last.seq > self.head.seq;
        if !ahead {
            return Follow::Reload;
        }
        if last.state_at != self.state_at {
            return Follow::Changed;
        }
        self.advance(last.head(), last.is_message);
        Follow::Current
    }

    /// Ends a state of MongoDB's at what was read as the conversation's last entry. MongoDB may be past it by now; but the
    /// next append is compared with the log, and with nothing else.
    pub(crate) fn end_at(&mut self, last: &Seen) {
        self.advance(last.head(), last.is_message);
        self.state_at = last.state_at;
    }

    /// The state where the stream holds nothing, so that the next entry is the first of its subject there: what MongoDB
    /// has `stored`, unless more is known here than it was told before the stream was lost.
    pub(crate) fn emptied(self, stored: Option<Self>) -> Self {
        let mut state = stored.filter(|it| it.head.seq >= self.head.seq).unwrap_or(self);
        state.head.position = 0;
        state.state_at = STATE_ELSEWHERE;
        state.state_seq = 0;
        state.bare = u32::MAX;
        state
    }

    /// Whether `seq` is known to be a message. False says nothing.
    pub(crate) fn is_recent_message(&self, seq: u64) -> bool {
        self.recent.contains(&seq)
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
pub(crate) mod tests;
