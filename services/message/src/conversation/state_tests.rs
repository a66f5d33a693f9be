//! Following the log by its last entries.

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
        history: HistoryAccess::All,
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
    assert_eq!(ann_and_bob().follow(Some(&seen(15, 4, 14))), Follow::Changed);
    assert_eq!(
        ann_and_bob().follow(Some(&seen(15, 4, STATE_ELSEWHERE))),
        Follow::Changed
    );
    assert_eq!(ann_and_bob().follow(Some(&seen(3, 2, 10))), Follow::Reload);
    assert_eq!(ann_and_bob().follow(Some(&seen(15, 1, 10))), Follow::Reload);
}

/// The state as MongoDB tells it: with eve, after the event `seq`.
fn stored(seq: u64) -> State {
    let mut state = ann_and_bob();
    let eve = Member {
        user_id: user("eve"),
        role: protocol::http::Role::Member,
        since: seq,
    };
    Arc::make_mut(&mut state.members).join(eve);
    state.head.seq = seq;
    state
}

#[test]
fn in_an_emptied_stream_seq_goes_on_from_the_higher_of_both_heads() {
    let mut state = ann_and_bob();
    state.follow(Some(&seen(15, 4, 10)));
    assert_eq!(state.clone().follow(None), Follow::Emptied);
    for (stored_seq, seq) in [(7, 7), (4, 4), (3, 4)] {
        let mut emptied = state.clone().emptied(Some(stored(stored_seq)));
        assert_eq!((emptied.head.seq, emptied.head.position), (seq, 0));
        assert_eq!(emptied.state_at, STATE_ELSEWHERE);
        assert_eq!(emptied.follow(None), Follow::Current);
    }
    assert_eq!(state.clone().emptied(None).head.seq, 4);
}

#[test]
fn a_state_of_mongodb_that_is_past_the_end_that_was_read_is_followed_from_that_end() {
    let mut state = stored(7);
    state.end_at(&seen(15, 4, 10));
    assert_eq!((state.head.seq, state.head.position), (4, 15));
    for (position, seq) in [(15, 4), (16, 5), (20, 7)] {
        assert_eq!(state.follow(Some(&seen(position, seq, 10))), Follow::Current);
    }
    assert_eq!(state.head.seq, 7);
}

#[test]
fn in_an_emptied_stream_the_members_are_those_of_whoever_knows_more() {
    let mut state = ann_and_bob();
    state.follow(Some(&seen(15, 4, 10)));
    let has_eve = |stored_seq| {
        state
            .clone()
            .emptied(Some(stored(stored_seq)))
            .members
            .contains(&user("eve"))
    };
    assert_eq!([3, 4, 7].map(has_eve), [false, true, true]);
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
