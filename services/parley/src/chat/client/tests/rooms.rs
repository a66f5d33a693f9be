//! The list of conversations as the client keeps it.

use super::*;

const OTHER: &str = "d00000000000000000000000000000009";

fn listed(test: &mut Test, ids: &[&str]) {
    let all: Vec<_> = ids.iter().map(|id| conversation(id)).collect();
    let list = serde_json::from_value(json!({"conversations": all})).unwrap();
    test.client.on_answer(Answer::Listed(false, Ok(list)), test.now);
    test.client.take_requests();
}

fn elsewhere(seq: u64) -> Value {
    let mut message = from_bob(seq);
    message["conversation_id"] = json!(OTHER);
    message
}

fn unread(test: &Test) -> Vec<(String, u32)> {
    let listed = test.client.rooms().listed().iter();
    listed.map(|it| (it.id.as_str().to_owned(), it.unread)).collect()
}

fn looked(test: &mut Test, seq: u64, unread: u32) {
    let mut conversation = conversation(OTHER);
    (conversation.seq, conversation.unread) = (seq, unread);
    let id = conversation.conversation_id.clone();
    test.client
        .on_answer(Answer::Looked(id, Ok(Box::new(conversation))), test.now);
}

#[test]
fn what_comes_elsewhere_is_unread_and_what_comes_here_is_not() {
    let mut test = Test::loaded(&[]);
    listed(&mut test, &[ID, OTHER]);
    test.frame(elsewhere(2));
    test.frame(elsewhere(3));
    assert_eq!(unread(&test), [(OTHER.to_owned(), 2), (ID.to_owned(), 0)]);
    test.frame(from_bob(2));
    assert_eq!(unread(&test), [(ID.to_owned(), 0), (OTHER.to_owned(), 2)]);
    test.client.set_visible(false, test.now);
    test.frame(from_bob(3));
    assert_eq!(unread(&test)[0].1, 1);
    test.client.set_visible(true, test.now);
    assert_eq!(unread(&test)[0].1, 0);
}

#[test]
fn what_was_read_on_another_device_is_read_here() {
    let mut test = Test::loaded(&[]);
    listed(&mut test, &[ID, OTHER]);
    test.frame(elsewhere(2));
    test.frame(elsewhere(3));
    let read = |seq: u64| json!({"type": "message:read", "conversation_id": OTHER, "user_id": "ann", "seq": seq, "timestamp": TIME});
    test.frame(read(2));
    let id = conversation(OTHER).conversation_id;
    assert_eq!(test.client.take_requests(), [Request::Look(id)]);
    looked(&mut test, 3, 1);
    assert_eq!(unread(&test)[0], (OTHER.to_owned(), 1));
    test.frame(read(3));
    assert_eq!(unread(&test)[0], (OTHER.to_owned(), 0));
}

#[test]
fn an_unlisted_conversation_is_looked_at_once_and_again_if_it_went_on() {
    let mut test = Test::loaded(&[]);
    listed(&mut test, &[ID]);
    for seq in [2, 3, 4] {
        test.frame(elsewhere(seq));
    }
    let look = Request::Look(conversation(OTHER).conversation_id);
    assert_eq!(test.client.take_requests(), std::slice::from_ref(&look));
    looked(&mut test, 3, 2);
    assert_eq!(test.client.take_requests(), [look]);
    looked(&mut test, 4, 3);
    assert_eq!(test.client.take_requests(), []);
    assert_eq!(unread(&test)[0], (OTHER.to_owned(), 3));
}

#[test]
fn a_number_opens_what_the_list_has_there_and_anything_else_is_a_user() {
    let mut test = Test::loaded(&[]);
    let list = serde_json::from_value(json!({"conversations": [conversation(OTHER)]})).unwrap();
    test.line("/list");
    assert_eq!(test.client.take_requests(), [Request::List(true)]);
    test.client.on_answer(Answer::Listed(true, Ok(list)), test.now);
    test.line("/open 1");
    test.line("/open 2");
    let user = Target::User(UserId::parse("2").unwrap());
    let listed = Target::parse(OTHER).unwrap();
    assert_eq!(
        test.client.take_requests(),
        [Request::Open(listed), Request::Open(user)]
    );
}
