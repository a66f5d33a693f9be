//! What the projection comes to, in any order and however often it is written, is what following the log comes to.

use std::cmp::Ordering;
use std::collections::HashMap;

use mongodb::bson::{Bson, Document, deserialize_from_document, doc};
use proptest::prelude::*;
use protocol::server_frame::Receipt;

use super::*;
use crate::conversation::State;
use crate::conversation::histories::histories;
use crate::store::conversation::{ConversationDocument, MemberDocument, Standing, state_of};

fn receipt(kind: ReceiptKind, user: &str, seq: u64) -> Event {
    let conversation_id = ConversationId::parse("g00000000000000000000000000000000").unwrap();
    let receipt = Receipt {
        conversation_id,
        user_id: UserId::parse(user).unwrap(),
        seq,
        timestamp: Timestamp::from_millis(1),
    };
    Event::Receipt(kind, receipt)
}

/// MongoDB, as far as these updates use it.
#[derive(Debug, Default)]
struct Database {
    conversations: HashMap<String, Document>,
    members: HashMap<String, Document>,
}

/// MongoDB's order of values, of the types that are written.
fn compare(one: &Bson, other: &Bson) -> Ordering {
    match (one, other) {
        (Bson::Int64(one), Bson::Int64(other)) => one.cmp(other),
        (Bson::String(one), Bson::String(other)) => one.cmp(other),
        (Bson::DateTime(one), Bson::DateTime(other)) => one.cmp(other),
        (Bson::Document(one), Bson::Document(other)) => {
            let fields = one.iter().zip(other).map(|((name, it), (other_name, other))| {
                // By type first; here all types of one field are the same.
                name.cmp(other_name).then_with(|| compare(it, other))
            });
            let first = fields.into_iter().find(|it| it.is_ne());
            first.unwrap_or_else(|| one.len().cmp(&other.len()))
        }
        _ => panic!("{one} and {other} are never compared"),
    }
}

fn update(collection: &mut HashMap<String, Document>, update: &RawDocumentBuf) {
    let update = Document::try_from(update).unwrap();
    let id = update.get_document("q").unwrap().get("_id").unwrap();
    let document = collection
        .entry(id.to_string())
        .or_insert_with(|| doc! { "_id": id.clone() });
    for (operator, fields) in update.get_document("u").unwrap() {
        for (name, value) in fields.as_document().unwrap() {
            let greater = match document.get(name) {
                Some(stored) => compare(value, stored).is_gt(),
                None => true,
            };
            match operator.as_str() {
                "$set" => {
                    document.insert(name, value.clone());
                }
                "$max" if greater => {
                    document.insert(name, value.clone());
                }
                "$max" => {}
                other => panic!("unknown operator {other}"),
            }
        }
    }
}

impl Database {
    fn commit(&mut self, events: &[Event]) {
        let writes = Writes::of(events, Timestamp::EPOCH);
        writes
            .conversations
            .iter()
            .for_each(|it| update(&mut self.conversations, it));
        writes.members.iter().for_each(|it| update(&mut self.members, it));
    }

    fn conversation(&self) -> ConversationDocument {
        let document = self.conversations.values().next().unwrap();
        deserialize_from_document(document.clone()).unwrap()
    }

    fn members(&self) -> Vec<MemberDocument> {
        let members = self.members.values().cloned();
        members.map(|it| deserialize_from_document(it).unwrap()).collect()
    }
}

/// A state as MongoDB can know it: nothing of the stream.
fn facts(state: &State) -> State {
    let settings = crate::conversation::state::Settings {
        conversation_type: state.conversation_type,
        name: state.name.clone(),
        history: state.history,
        created_at: state.created_at,
    };
    let head = crate::conversation::Head {
        position: 0,
        ..state.head
    };
    State::of(state.id.clone(), settings, (*state.members).clone(), head)
}

/// Events in any order, some of them twice, in batches.
fn shuffled(events: Vec<Event>) -> impl Strategy<Value = (Vec<Event>, usize)> {
    let doubled: Vec<Event> = events.iter().chain(&events).cloned().collect();
    (Just(doubled).prop_shuffle(), 1..9_usize)
}

proptest! {
    #[test]
    fn in_any_order_and_twice_the_projection_is_the_state_of_the_log(
        (history, (written, batch)) in histories(25).prop_flat_map(|history| {
            let events = history.iter().map(|it| it.0.clone()).collect();
            (Just(history), shuffled(events))
        }),
    ) {
        let mut database = Database::default();
        written.chunks(batch).for_each(|it| database.commit(it));
        let expected = &history.last().unwrap().1;
        let document = database.conversation();
        let found = state_of(&document, database.members());
        prop_assert_eq!(found, Some(facts(expected)));
        prop_assert_eq!(document.size(), expected.members.len());
    }

    #[test]
    fn who_was_removed_is_known_as_such_and_between_which_events_he_was_a_member(history in histories(25)) {
        let mut database = Database::default();
        let events: Vec<Event> = history.iter().map(|it| it.0.clone()).collect();
        database.commit(&events);
        for member in database.members() {
            let user = &member.key.user_id;
            let present = history.last().unwrap().1.members.get(user);
            match member.standing() {
                Standing::Present { since, role, .. } => {
                    prop_assert_eq!(present.map(|it| (it.since, it.role)), Some((since, role)));
                }
                Standing::Gone { since, until } => {
                    let (event, before) = (&history[until as usize - 1].0, &history[until as usize - 2].1);
                    prop_assert!(matches!(event, Event::Removed(it, _) if it.user_ids.contains(user)));
                    prop_assert_eq!(before.members.get(user).map(|it| it.since), Some(since));
                    prop_assert_eq!(present, None);
                }
                Standing::Unknown => prop_assert!(false, "{user:?} was never a member"),
            }
        }
    }

    #[test]
    fn watermarks_only_grow_and_whatever_their_order_come_to_the_greatest(
        seqs in proptest::collection::vec((any::<bool>(), 1..50_u64), 1..20).prop_shuffle(),
        batch in 1..5_usize,
    ) {
        let event = |(read, seq): &(bool, u64)| {
            receipt(if *read { ReceiptKind::Read } else { ReceiptKind::Delivered }, "ann", *seq)
        };
        let (mut database, mut before) = (Database::default(), (0, 0));
        for batch in seqs.chunks(batch) {
            database.commit(&batch.iter().map(event).collect::<Vec<_>>());
            let member = &database.members()[0];
            prop_assert!(member.read >= before.0 && member.delivered >= before.1);
            before = (member.read, member.delivered);
        }
        let most = |only_read: bool| seqs.iter().filter(|it| it.0 || !only_read).map(|it| it.1).max().unwrap_or(0);
        prop_assert_eq!(before, (most(true).cast_signed(), most(false).cast_signed()));
    }
}

#[test]
fn many_receipts_of_one_user_are_one_update_to_the_highest() {
    let writes = Writes::of(
        &[3, 9, 5].map(|seq| receipt(ReceiptKind::Read, "ann", seq)),
        Timestamp::EPOCH,
    );
    assert_eq!(writes.members.len(), 1);
    let update = Document::try_from(&writes.members[0]).unwrap();
    assert_eq!(
        update.get_document("u").unwrap(),
        &doc! { "$max": { "read": 9_i64, "delivered": 9_i64 } },
    );
    assert!(writes.events.is_empty() && writes.conversations.is_empty());
}

#[test]
fn watermarks_survive_leaving_and_coming_back() {
    use protocol::server_frame::{MemberAdded, MemberRemoved};
    let Event::Receipt(_, it) = receipt(ReceiptKind::Read, "ann", 4) else {
        panic!("not a receipt");
    };
    let removed = MemberRemoved {
        conversation_id: it.conversation_id.clone(),
        seq: 5,
        user_ids: vec![it.user_id.clone()],
        by: it.user_id.clone(),
        owner: None,
        timestamp: it.timestamp,
    };
    let added = MemberAdded {
        conversation_id: it.conversation_id,
        seq: 6,
        user_ids: removed.user_ids.clone(),
        by: removed.by.clone(),
        timestamp: it.timestamp,
        conversation: None,
    };
    let mut database = Database::default();
    database.commit(&[Event::Added(added, 3), receipt(ReceiptKind::Read, "ann", 4)]);
    database.commit(&[Event::Removed(removed, 2)]);
    let member = &database.members()[0];
    assert_eq!((member.read, member.joined_at()), (4, (6, 0)));
}

#[test]
fn an_event_of_a_newer_version_moves_the_head_and_has_no_document() {
    let place = crate::event::Place {
        conversation_id: ConversationId::parse("g00000000000000000000000000000000").unwrap(),
        seq: 7,
        timestamp: Timestamp::from_millis(1_000),
    };
    let newer = Event::Newer(place);
    assert!(Writes::of([&newer], Timestamp::EPOCH).events.is_empty());
    let mut database = Database::default();
    database.commit(&[newer]);
    let stored = database.conversations.into_values().next().unwrap();
    let stored: ConversationDocument = deserialize_from_document(stored).unwrap();
    assert_eq!(stored.head().map(|it| it.seq), Some(7));
}
