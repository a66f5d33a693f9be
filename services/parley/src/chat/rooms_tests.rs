//! The list of conversations, and what events do to it.

use serde_json::{Value, json};

use super::*;

const TIME: &str = "2026-11-22T01:02:03.456Z";

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn id(number: u32) -> ConversationId {
    ConversationId::parse(&format!("d{number:032}")).unwrap()
}

fn message(number: u32, seq: u64, sender: &str, text: &str) -> Value {
    json!({"server_id": format!("d{number:032}-{seq}"), "client_id": "0190b6f0-7e2c-7c3a-8a50-0a0b0c0d0e0f",
        "conversation_id": id(number), "seq": seq, "sender_id": sender, "text": text, "kind": "text",
        "timestamp": TIME})
}

fn incoming(number: u32, seq: u64, sender: &str) -> MessageIncoming {
    serde_json::from_value(message(number, seq, sender, "news")).unwrap()
}

/// Of ann and the other, whose last message has `seq` 2.
fn conversation(number: u32, other: &str, unread: u32, text: &str) -> Conversation {
    let member = |name: &str| json!({"user_id": name, "role": "member", "read_seq": 0, "delivered_seq": 0});
    serde_json::from_value(json!({"conversation_id": id(number), "type": "direct", "seq": 2,
        "members": [member("ann"), member(other)], "created_at": TIME,
        "last_message": message(number, 2, other, text), "read_seq": 0, "unread": unread}))
    .unwrap()
}

fn rooms(conversations: &[Conversation]) -> Rooms {
    let mut rooms = Rooms::new(user("ann"));
    rooms.replace(conversations);
    rooms
}

fn order(rooms: &Rooms) -> Vec<(&str, u32)> {
    rooms.listed().iter().map(|it| (it.title.as_str(), it.unread)).collect()
}

#[test]
fn a_line_names_the_other_the_unread_and_the_last_words() {
    let mut people = People::default();
    let mut list = rooms(&[conversation(1, "b\u{1b}ob", 3, "hi\nthere\u{1b}[2J")]);
    assert_eq!(
        list.lines(&people)[1],
        "  1  b\\u{1b}ob (3 unread) — b\\u{1b}ob: hi\\nthere\\u{1b}[2J"
    );
    let presence = serde_json::from_value(json!({"user_id": "bob", "status": "away"})).unwrap();
    people.learn(&presence);
    let mut list = rooms(&[conversation(1, "bob", 100, &"x".repeat(60))]);
    let lines = list.lines(&people);
    assert!(
        lines[1].starts_with("  1  ◐ bob (100+ unread)") && lines[1].ends_with("xx…"),
        "{}",
        lines[1]
    );
}

#[test]
fn a_group_without_a_name_is_its_members() {
    assert_eq!(title(None, &["b", "c"], 2), "b, c");
    assert_eq!(title(None, &["b", "c", "d", "e", "f", "g"], 6), "b, c, d, e and 2 more");
    assert_eq!(title(None, &["b"], 300), "b and 299 more");
    assert_eq!(title(None, &[], 0), "only you");
    assert_eq!(title(Some("Team"), &["b"], 1), "Team");
}

#[test]
fn a_message_moves_its_conversation_to_the_top_and_counts_until_it_is_read() {
    let mut list = rooms(&[conversation(1, "bob", 0, "hi"), conversation(2, "carl", 0, "hi")]);
    assert!(list.message(&incoming(2, 3, "carl"), false));
    assert!(list.message(&incoming(2, 4, "carl"), false));
    assert_eq!(order(&list), [("carl", 2), ("bob", 0)]);
    assert!(list.message(&incoming(1, 3, "bob"), true), "before the eyes");
    assert!(list.message(&incoming(1, 4, "ann"), false), "sent from another device");
    assert_eq!(order(&list), [("bob", 0), ("carl", 2)]);
    assert!(
        !list.read(&id(2), 3),
        "one of the two: how many are left is the server's to say"
    );
    assert!(list.read(&id(2), 4));
    assert_eq!(order(&list), [("bob", 0), ("carl", 0)]);
    assert!(!list.message(&incoming(3, 2, "dora"), false));
    assert!(list.sent(&id(2), 5, "mine\n") && list.sent(&id(1), 2, "an old ack"));
    assert_eq!(order(&list), [("carl", 0), ("bob", 0)]);
    assert!(list.lines(&People::default())[1].ends_with("carl — you: mine\\n"));
    assert!(!list.sent(&id(3), 2, "mine"));
}

#[test]
fn a_message_that_came_with_the_list_is_not_counted_again() {
    let mut list = rooms(&[conversation(1, "bob", 1, "hi")]);
    assert!(list.message(&incoming(1, 2, "bob"), false));
    assert_eq!(order(&list), [("bob", 1)]);
}

#[test]
fn a_number_means_what_it_stood_before_however_the_list_moves() {
    let mut list = rooms(&[conversation(1, "bob", 0, "hi"), conversation(2, "carl", 0, "hi")]);
    list.lines(&People::default());
    list.message(&incoming(2, 3, "carl"), false);
    assert_eq!(list.numbered(2), Some(&id(2)));
    assert_eq!((list.numbered(0), list.numbered(3)), (None, None));
}

#[test]
fn conversations_come_change_and_go() {
    let mut list = rooms(&[conversation(1, "bob", 0, "hi")]);
    list.learn(&conversation(2, "carl", 1, "hi"));
    list.learn(&conversation(1, "bob", 2, "hi"));
    assert_eq!(order(&list), [("carl", 1), ("bob", 2)]);
    list.rename(&id(2), "T\u{7}eam");
    list.remove(&id(1));
    assert_eq!(order(&list), [("T\\u{7}eam", 1)]);
}
