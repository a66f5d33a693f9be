//! Whoever knows nothing, or something old, comes to the same state as who has followed the log all along.

use protocol::ServerFrame;
use protocol::envelope::{Extras, encode_with};

use super::*;
use crate::conversation::histories::{histories, position};
use proptest::prelude::*;

const SUBJECT: &str = "chat.log.0.g";

/// The log of a history, with snapshots where `whole` says so.
fn log(history: &[(Event, State)], whole: &[bool]) -> Vec<Record> {
    let entry = |(n, (event, state)): (usize, &(Event, State))| {
        let text = whole[n].then(|| snapshot::encode(state));
        let extras = Extras {
            prev: if n == 0 { 0 } else { position(event.seq() - 1) },
            snapshot: text.as_deref(),
            ..Extras::default()
        };
        let frame = match event.clone() {
            Event::Created(it) => ServerFrame::ConversationCreated(it),
            Event::Updated(it) => ServerFrame::ConversationUpdated(it),
            Event::Added(it, _) => ServerFrame::MemberAdded(it),
            Event::Removed(it, _) => ServerFrame::MemberRemoved(it),
            Event::Message(it) => ServerFrame::MessageIncoming(it),
            Event::Receipt(_, it) => ServerFrame::MessageRead(it),
            Event::Newer(it) => panic!("{it:?} is of no frame that this version writes"),
        };
        Record {
            position: position(event.seq()),
            subject: SUBJECT.into(),
            payload: encode_with(&frame, 0, &extras).into(),
        }
    };
    history.iter().enumerate().map(entry).collect()
}

/// Walks from the log's last entry; the state, or nothing where the chain is broken, and how many were read.
fn walk(log: &[Record], known: Option<State>) -> (Option<State>, usize) {
    let mut walk = Walk::new(SUBJECT.into(), known);
    let (mut entry, mut read) = (log.last().cloned(), 1);
    loop {
        match walk.step(entry) {
            Step::Read(at) => {
                entry = log.iter().find(|it| it.position == at).cloned();
                read += 1;
            }
            Step::Done(state) => return (Some(*state), read),
            Step::Broken => return (None, read),
            Step::Unreadable(error) => panic!("{error}"),
        }
    }
}

/// What matters of a state: how long its chain is does not.
fn facts(state: &State) -> State {
    let mut state = state.clone();
    state.stand_at(state.head.position, true);
    state
}

proptest! {
    #[test]
    fn from_any_snapshot_and_from_any_known_state_the_walk_ends_in_the_same_state(
        history in histories(40),
        whole in proptest::collection::vec(proptest::bool::weighted(0.1), 41),
        known in any::<prop::sample::Index>(),
    ) {
        let log = log(&history, &whole);
        let expected = facts(&history.last().unwrap().1);
        let known = known.get(&history).1.clone();
        prop_assert_eq!(walk(&log, None).0.map(|it| facts(&it)), Some(expected.clone()));
        prop_assert_eq!(walk(&log, Some(known)).0.map(|it| facts(&it)), Some(expected));
    }

    #[test]
    fn what_is_applied_twice_comes_to_the_same(history in histories(30), from in any::<prop::sample::Index>()) {
        let expected = &history.last().unwrap().1;
        let mut again = expected.clone();
        for (event, _) in &history[from.index(history.len()).max(1)..] {
            again.apply(event);
            again.stand_at(position(event.seq()), true);
        }
        prop_assert_eq!(facts(&again), facts(expected));
    }
}

#[test]
fn a_known_state_saves_the_way_back_to_the_snapshot() {
    let history = long_history();
    let log = log(&history, &[false; 41]);
    assert_eq!(walk(&log, None).1, 41);
    let known = history[history.len() - 3].1.clone();
    assert_eq!(walk(&log, Some(known)).1, 2);
}

#[test]
fn a_state_from_mongodb_is_followed_where_the_log_no_longer_has_its_last_change() {
    let history = long_history();
    let log = log(&history, &[false; 41]);
    let mut stored = history[37].1.clone();
    stored.state_seq = 0;
    let (state, read) = walk(&log[38..], Some(stored));
    assert_eq!(state.map(|it| facts(&it)), Some(facts(&history[40].1)));
    assert_eq!(read, 3);
}

#[test]
fn a_known_state_of_another_stream_is_not_taken_for_one_of_this() {
    let history = long_history();
    let mut other = history[39].1.clone();
    other.state_seq += 7;
    other.name = Some("other".into());
    let (state, _) = walk(&log(&history, &[false; 41]), Some(other));
    assert_eq!(state.map(|it| facts(&it)), Some(facts(&history[40].1)));
}

#[test]
fn a_chain_whose_entries_have_aged_out_is_broken() {
    let history = long_history();
    let log = log(&history, &[false; 41]);
    assert_eq!(walk(&log[5..], None).0, None);
    let mut foreign = log.clone();
    foreign[20].subject = "chat.log.0.other".into();
    assert_eq!(walk(&foreign, None).0, None);
}

/// The log with one entry more, of a type that this version does not know.
fn with_newer(mut log: Vec<Record>, snapshot: Option<&str>) -> Vec<Record> {
    let mut last = log.last().unwrap().clone();
    let id = crate::conversation::state::tests::ann_and_bob().id;
    let (prev, snapshot) = (last.position, snapshot.unwrap_or("null"));
    let frame = format!(
        r#"{{"type":"conversation:locked","seq":42,"conversation_id":"{}","timestamp":"2026-11-22T10:15:30.123Z"}}"#,
        id.as_str()
    );
    let text = format!(r#"{{"v":1,"state_at":0,"prev":{prev},"snapshot":{snapshot},"frame":{frame}}}"#);
    (last.position, last.payload) = (position(42), text.into());
    log.push(last);
    log
}

#[test]
fn a_change_of_a_newer_version_is_known_by_its_snapshot() {
    let history = long_history();
    let mut state = history[40].1.clone();
    state.name = Some("locked".into());
    let log = with_newer(log(&history, &[false; 41]), Some(&snapshot::encode(&state)));
    let (found, read) = walk(&log, Some(history[40].1.clone()));
    assert_eq!(found.map(|it| (it.name, it.head.seq)), Some((state.name, 42)));
    assert_eq!(read, 1);
}

#[test]
fn behind_a_change_of_a_newer_version_without_a_snapshot_nobody_guesses() {
    let history = long_history();
    let log = with_newer(log(&history, &[true; 41]), None);
    let mut walk = Walk::new(SUBJECT.into(), Some(history[40].1.clone()));
    let step = walk.step(log.last().cloned());
    assert!(matches!(step, Step::Unreadable(_)), "{step:?}");
}

/// A creation and forty changes of the name.
fn long_history() -> Vec<(Event, State)> {
    use protocol::server_frame::ConversationUpdated;
    let mut state = crate::conversation::state::tests::ann_and_bob();
    let created = protocol::server_frame::ConversationCreated {
        conversation_id: state.id.clone(),
        seq: 1,
        conversation_type: state.conversation_type,
        name: None,
        history: state.history,
        members: state.members.iter().map(|it| it.user_id.clone()).collect(),
        by: crate::conversation::state::tests::user("ann"),
        timestamp: state.created_at,
    };
    state.stand_at(position(1), true);
    let mut history = vec![(Event::Created(created), state.clone())];
    for seq in 2..=41 {
        let event = Event::Updated(ConversationUpdated {
            conversation_id: state.id.clone(),
            seq,
            by: crate::conversation::state::tests::user("ann"),
            name: Some(format!("name {seq}")),
            history: None,
            roles: Vec::new(),
            timestamp: state.created_at,
        });
        state.apply(&event);
        state.stand_at(position(seq), false);
        history.push((event, state.clone()));
    }
    history
}
