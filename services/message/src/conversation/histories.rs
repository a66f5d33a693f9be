//! Histories of a group as the rules allow them, for property tests of everything that follows them.

use proptest::prelude::*;
use protocol::http::{HistoryAccess, Role, UpdateConversation};
use protocol::rpc::Change;
use protocol::server_frame::{ConversationCreated, ConversationType};
use protocol::{ConversationId, Timestamp, UserId};

use super::State;
use crate::change::{Decision, decide};
use crate::event::Event;

/// Few enough that they often meet.
const USERS: usize = 6;

fn someone(n: usize) -> UserId {
    UserId::parse(&format!("user-{n}")).unwrap()
}

fn changes() -> impl Strategy<Value = (usize, Change)> {
    let user = || (0..USERS).prop_map(someone);
    let history = prop_oneof![Just(HistoryAccess::All), Just(HistoryAccess::Joined)];
    let update = (proptest::option::of("[a-c]"), proptest::option::of(history));
    let change = prop_oneof![
        update.prop_map(|(name, history)| Change::Update(UpdateConversation { name, history })),
        proptest::collection::vec(user(), 1..4).prop_map(|mut users| {
            users.sort();
            users.dedup();
            Change::Add(users)
        }),
        user().prop_map(Change::Remove),
        (user(), prop_oneof![Just(Role::Admin), Just(Role::Member)])
            .prop_map(|(user, role)| Change::SetRole(user, role)),
    ];
    (0..USERS, change)
}

/// A group's events, from its creation on, each with the state after it. What the rules refuse is left out; the entry of
/// the event `seq` stands at [`position`].
pub(crate) fn histories(length: usize) -> impl Strategy<Value = Vec<(Event, State)>> {
    let tries = proptest::collection::vec((changes(), any::<bool>()), 0..length);
    (2..USERS, tries).prop_map(|(founders, tries)| {
        let created = ConversationCreated {
            conversation_id: ConversationId::parse("g00000000000000000000000000000000").unwrap(),
            seq: 1,
            conversation_type: ConversationType::Group,
            name: None,
            history: HistoryAccess::All,
            members: (0..founders).map(someone).collect(),
            by: someone(0),
            timestamp: Timestamp::from_millis(1_000),
        };
        let mut state = State::created(&created, position(1));
        let mut events = vec![(Event::Created(created), state.clone())];
        for ((caller, change), leave) in tries {
            let change = if leave { Change::Remove(someone(caller)) } else { change };
            let now = Timestamp::from_millis(2_000 + state.head.seq.cast_signed());
            if let Decision::Append(event) = decide(&state, &someone(caller), &change, now) {
                state.apply(&event);
                state.stand_at(position(event.seq()), false);
                events.push((event, state.clone()));
            }
        }
        events
    })
}

/// Where an event's entry stands in the stream.
pub(crate) fn position(seq: u64) -> u64 {
    seq * 10
}
