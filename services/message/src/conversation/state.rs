//! What a replica knows of a conversation: members, settings and head, always as of its last known log entry.
//!
//! Pure: following the log by one step is a function here; fetching the step is in [`super::load`].

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use protocol::http::Role;
use protocol::server_frame::{ConversationCreated, ConversationType};
use protocol::{ConversationId, Timestamp, UserId};

use crate::event::Seen;

/// `state_at` of a conversation whose last state entry is not in the stream: aged out, or lost with a stream that was
/// made anew. Readers take members and settings from MongoDB then.
pub(crate) const STATE_ELSEWHERE: u64 = u64::MAX;

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

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
    /// `seq` of the event that made him one.
    pub(crate) since: u64,
}

/// The members in the order in which they joined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    list: Vec<Member>,
    index: HashMap<UserId, usize>,
}

impl FromIterator<Member> for Members {
    fn from_iter<T: IntoIterator<Item = Member>>(members: T) -> Self {
        let list: Vec<Member> = members.into_iter().collect();
        let index = list
            .iter()
            .enumerate()
            .map(|(at, member)| (member.user_id.clone(), at))
            .collect();
        Self { list, index }
    }
}

impl Members {
    pub(crate) fn contains(&self, user: &UserId) -> bool {
        self.index.contains_key(user)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

/// A conversation as of `head`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) id: ConversationId,
    pub(crate) conversation_type: ConversationType,
    pub(crate) name: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) members: Arc<Members>,
    pub(crate) head: Head,
    /// Stream sequence of the last entry that changed members or settings, or [`STATE_ELSEWHERE`].
    pub(crate) state_at: u64,
    recent: VecDeque<u64>,
}

/// What a newly read end of the conversation's log means for what was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// The state now stands at that end, or stood there or past it already (a replica that is behind answered).
    Current,
    /// Members or settings may have changed, or the stream is another one: load anew.
    Reload,
    /// The stream holds nothing of the conversation any more: only MongoDB can tell where its `seq` goes on.
    Emptied,
}

/// Who has which role from the start: whoever created a group owns it.
pub(crate) fn first_role(created: &ConversationCreated, user: &UserId) -> Role {
    if created.conversation_type == ConversationType::Group && *user == created.by {
        Role::Owner
    } else {
        Role::Member
    }
}

impl State {
    /// The state that a creation makes, standing at its entry.
    pub(crate) fn created(created: &ConversationCreated, position: u64) -> Self {
        let member = |user_id: &UserId| Member {
            user_id: user_id.clone(),
            role: first_role(created, user_id),
            since: created.seq,
        };
        Self {
            id: created.conversation_id.clone(),
            conversation_type: created.conversation_type,
            name: created.name.clone(),
            created_at: created.timestamp,
            members: Arc::new(created.members.iter().map(member).collect()),
            head: Head {
                seq: created.seq,
                position,
                timestamp: created.timestamp,
            },
            state_at: position,
            recent: VecDeque::new(),
        }
    }

    /// The state as MongoDB tells it, standing nowhere in the stream.
    pub(crate) fn stored(
        id: ConversationId,
        conversation_type: ConversationType,
        name: Option<String>,
        created_at: Timestamp,
        members: Members,
        head: Head,
    ) -> Self {
        let (members, recent) = (Arc::new(members), VecDeque::new());
        Self {
            id,
            conversation_type,
            name,
            created_at,
            members,
            head,
            state_at: STATE_ELSEWHERE,
            recent,
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
        if !ahead || last.state_at != self.state_at {
            return Follow::Reload;
        }
        self.advance(
            Head {
                seq: last.seq,
                position: last.position,
                timestamp: last.timestamp,
            },
            last.is_message,
        );
        Follow::Current
    }

    /// Puts the head where the stream holds nothing: the next entry is the first of its subject there.
    pub(crate) fn emptied(&mut self, stored_seq: u64, stored_at: Timestamp) {
        self.head = Head {
            seq: self.head.seq.max(stored_seq),
            position: 0,
            timestamp: self.head.timestamp.max(stored_at),
        };
        self.state_at = STATE_ELSEWHERE;
    }

    /// Whether `seq` is known to be a message. False says nothing.
    pub(crate) fn is_recent_message(&self, seq: u64) -> bool {
        self.recent.contains(&seq)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn user(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    /// A direct conversation of ann and bob, created at position 10.
    pub(crate) fn ann_and_bob() -> State {
        let (ann, bob) = (user("ann"), user("bob"));
        let created = ConversationCreated {
            conversation_id: ConversationId::direct(&ann, &bob),
            seq: 1,
            conversation_type: ConversationType::Direct,
            name: None,
            members: vec![ann.clone(), bob],
            by: ann,
            timestamp: Timestamp::from_millis(1_000),
        };
        State::created(&created, 10)
    }

    fn seen(position: u64, seq: u64, state_at: u64) -> Seen {
        Seen {
            position,
            seq,
            timestamp: Timestamp::from_millis(2_000),
            state_at,
            is_message: true,
        }
    }

    #[test]
    fn entries_of_other_replicas_move_the_head_and_leave_the_members() {
        let mut state = ann_and_bob();
        assert_eq!(state.follow(Some(&seen(15, 4, 10))), Follow::Current);
        assert_eq!((state.head.seq, state.head.position), (4, 15));
        assert!(state.is_recent_message(4) && !state.is_recent_message(3));
    }

    #[test]
    fn an_answer_of_a_replica_that_is_behind_changes_nothing() {
        let mut state = ann_and_bob();
        state.follow(Some(&seen(15, 4, 10)));
        let before = state.clone();
        assert_eq!(state.follow(Some(&seen(12, 2, 10))), Follow::Current);
        assert_eq!(state, before);
    }

    #[test]
    fn a_change_of_members_or_another_stream_is_loaded_anew() {
        assert_eq!(ann_and_bob().follow(Some(&seen(15, 4, 14))), Follow::Reload);
        assert_eq!(
            ann_and_bob().follow(Some(&seen(15, 4, STATE_ELSEWHERE))),
            Follow::Reload
        );
        assert_eq!(ann_and_bob().follow(Some(&seen(3, 2, 10))), Follow::Reload);
        assert_eq!(ann_and_bob().follow(Some(&seen(15, 1, 10))), Follow::Reload);
    }

    #[test]
    fn in_an_emptied_stream_seq_goes_on_from_the_higher_of_both_heads() {
        let mut state = ann_and_bob();
        assert_eq!(state.follow(None), Follow::Emptied);
        state.emptied(7, Timestamp::from_millis(500));
        assert_eq!(
            state.head,
            Head {
                seq: 7,
                position: 0,
                timestamp: Timestamp::from_millis(1_000)
            }
        );
        assert_eq!(state.state_at, STATE_ELSEWHERE);
        assert_eq!(state.follow(None), Follow::Current);
    }

    #[test]
    fn the_ring_of_recent_messages_is_bounded() {
        let mut state = ann_and_bob();
        for seq in 2..200 {
            state.advance(
                Head {
                    seq,
                    position: seq + 9,
                    timestamp: state.head.timestamp,
                },
                true,
            );
        }
        assert!(state.is_recent_message(199) && state.is_recent_message(136) && !state.is_recent_message(135));
    }
}
