//! The log entry of a change: the frame, and what lets a reader make the whole state of it.

use protocol::envelope::{self, Extras};
use protocol::http::Conversation;
use protocol::{Code, Refusal, ServerFrame};

use crate::conversation::{State, snapshot};
use crate::event::Event;

/// An entry to append.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) payload: Vec<u8>,
    /// Whether it tells all members and settings.
    pub(crate) whole: bool,
}

/// The entry of `event`, which makes `after` of a state whose last change stands at `prev` (0: nowhere). `welcome` is for
/// those whom the event adds. In a `hurry` there is no snapshot while readers can do without.
///
/// What is too large together with the event is left out, the snapshot first: a later change tells it.
///
/// # Errors
/// `too_large` where the bare event would not fit one message, or where the snapshot would not with all whom the event
/// adds.
pub(crate) fn entry(
    event: Event,
    prev: u64,
    after: &State,
    welcome: Option<&Conversation>,
    bytes_most: usize,
    hurry: bool,
) -> Result<Entry, Refusal> {
    let size = match &event {
        Event::Added(_, size) | Event::Removed(_, size) => Some(*size),
        _ => None,
    };
    if matches!(event, Event::Added(..)) && !snapshot::fits(after, bytes_most) {
        return Err(too_large());
    }
    let frame = match event {
        Event::Updated(it) => ServerFrame::ConversationUpdated(it),
        Event::Added(it, _) => ServerFrame::MemberAdded(it),
        Event::Removed(it, _) => ServerFrame::MemberRemoved(it),
        Event::Created(it) => ServerFrame::ConversationCreated(it),
        Event::Message(_) | Event::Receipt(..) | Event::Newer(_) => {
            return Err(Refusal::new(Code::Internal, "not a change"));
        }
    };
    let snapshot = after.wants_snapshot(hurry).then(|| snapshot::encode(after));
    let welcome = welcome.and_then(|it| serde_json::to_string(it).ok());
    let tries = [
        (snapshot.as_deref(), welcome.as_deref()),
        (None, welcome.as_deref()),
        (None, None),
    ];
    for (snapshot, conversation) in tries {
        let extras = Extras {
            prev,
            snapshot,
            size,
            conversation,
            ..Extras::default()
        };
        let payload = envelope::encode_with(&frame, 0, &extras);
        if payload.len() <= bytes_most {
            let whole = snapshot.is_some();
            return Ok(Entry { payload, whole });
        }
    }
    Err(too_large())
}

/// The refusal of more members than fit one entry.
pub(crate) fn too_large() -> Refusal {
    Refusal::new(
        Code::TooLarge,
        "the members' ids are too many bytes for one conversation: nothing was changed",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::http::Role;
    use protocol::server_frame::{ConversationUpdated, MemberAdded};
    use protocol::{Timestamp, UserId};

    use super::*;
    use crate::conversation::members::Member;
    use crate::conversation::shown::shown;
    use crate::conversation::state::BARE_MOST;
    use crate::conversation::state::tests::{ann_and_bob, user};

    fn crowd(count: u64) -> State {
        let mut state = ann_and_bob();
        let member = |n: u64| Member {
            user_id: user(&format!("user-{n}")),
            role: Role::Member,
            since: 1,
        };
        state.members = Arc::new((0..count).map(member).collect());
        state
    }

    fn added(state: &State, user_ids: Vec<UserId>) -> Event {
        let it = MemberAdded {
            conversation_id: state.id.clone(),
            seq: 2,
            user_ids,
            by: user("ann"),
            timestamp: Timestamp::from_millis(1),
            conversation: None,
        };
        Event::Added(it, state.members.len() as u64)
    }

    fn renamed(state: &State) -> Event {
        Event::Updated(ConversationUpdated {
            conversation_id: state.id.clone(),
            seq: 2,
            by: user("ann"),
            name: Some("n".into()),
            history: None,
            roles: Vec::new(),
            timestamp: Timestamp::from_millis(1),
        })
    }

    #[test]
    fn a_small_group_is_told_whole_and_a_large_one_once_in_a_while() {
        let small = crowd(200);
        assert!(
            entry(renamed(&small), 10, &small, None, usize::MAX, false)
                .unwrap()
                .whole
        );
        let mut large = crowd(201);
        let mut bare = 0;
        for position in 11.. {
            if entry(renamed(&large), 10, &large, None, usize::MAX, false)
                .unwrap()
                .whole
            {
                break;
            }
            large.stand_at(position, false);
            bare += 1;
        }
        assert_eq!(bare, 64);
    }

    #[test]
    fn an_entry_names_the_change_before_it_and_its_size_and_welcomes_the_added() {
        let state = crowd(3);
        let made = entry(
            added(&state, vec![user("eve")]),
            10,
            &state,
            Some(&shown(&state)),
            usize::MAX,
            false,
        );
        let payload = made.unwrap().payload;
        let (envelope, _) = envelope::decode(&payload).unwrap();
        assert_eq!((envelope.state_at, envelope.prev, envelope.size), (0, 10, Some(3)));
        let welcome: Conversation = serde_json::from_str(envelope.conversation.unwrap().get()).unwrap();
        assert_eq!(welcome, shown(&state));
        assert_eq!(Event::decode(&payload).unwrap(), added(&state, vec![user("eve")]));
    }

    #[test]
    fn in_a_hurry_a_small_group_is_not_told_whole_while_the_way_back_is_short() {
        let mut small = crowd(3);
        let mut bare = 0;
        for position in 11.. {
            if entry(renamed(&small), 10, &small, None, usize::MAX, true)
                .unwrap()
                .whole
            {
                break;
            }
            small.stand_at(position, false);
            bare += 1;
        }
        assert_eq!(bare, BARE_MOST);
    }

    #[test]
    fn what_does_not_fit_with_many_new_members_is_left_out() {
        let state = crowd(150);
        let new = |count| (0..count).map(|n| user(&format!("user-{n}"))).collect();
        let parts = |added_count, most| {
            let event = added(&state, new(added_count));
            let made = entry(event, 10, &state, Some(&shown(&state)), most, false).unwrap();
            let (envelope, _) = envelope::decode(&made.payload).unwrap();
            (envelope.snapshot.is_some(), envelope.conversation.is_some())
        };
        assert_eq!(parts(1, usize::MAX), (true, true));
        assert_eq!(parts(1, 9_000), (false, true));
        assert_eq!(parts(150, 8_000), (false, false));
    }

    #[test]
    fn members_whose_snapshot_would_not_fit_any_entry_are_refused() {
        let state = crowd(150);
        let bytes = snapshot::encode(&state).len();
        let refused = entry(added(&state, vec![user("eve")]), 10, &state, None, bytes + 500, false).unwrap_err();
        assert_eq!(refused.code, Code::TooLarge);
        // Who goes, or is renamed, makes it no larger.
        assert!(entry(renamed(&state), 10, &state, None, bytes + 500, false).is_ok());
    }
}
