//! What the open conversation does with acks, events, receipts and pages in any order.

use protocol::ClientId;
use serde_json::json;

use super::*;

const ID: &str = "d00000000000000000000000000000000";
const TIME: &str = "2026-11-22T01:02:03.456Z";

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn room() -> Room {
    let member = |name: &str| json!({"user_id": name, "role": "member", "delivered_seq": 0, "read_seq": 0});
    let value = json!({"conversation_id": ID, "type": "direct", "members": [member("ann"), member("bob")], "seq": 1,
        "created_at": TIME, "read_seq": 0, "unread": 0});
    Room::new(user("ann"), &serde_json::from_value(value).unwrap())
}

fn message(seq: u64, sender: &str) -> MessageIncoming {
    let client_id = ClientId::generate();
    let value = json!({"server_id": format!("{ID}-{seq}"), "client_id": client_id, "conversation_id": ID, "seq": seq,
        "sender_id": sender, "text": format!("{sender} {seq}"), "kind": "text", "timestamp": TIME});
    serde_json::from_value(value).unwrap()
}

fn ack(seq: u64) -> MessageAck {
    let value = json!({"client_id": ClientId::generate(), "server_id": format!("{ID}-{seq}"), "conversation_id": ID,
        "seq": seq, "timestamp": TIME, "duplicate": false});
    serde_json::from_value(value).unwrap()
}

fn texts(room: &Room) -> Vec<&str> {
    room.messages().map(|(_, message)| message.body.as_str()).collect()
}

#[test]
fn messages_stand_in_the_order_of_seq_whatever_order_they_come_in() {
    let mut room = room();
    assert!(room.insert(&message(4, "bob"), false));
    assert!(room.ack(&ack(3), "ann 3".into()));
    room.page(&History {
        messages: vec![message(4, "bob"), message(2, "bob")],
        more: false,
    });
    assert_eq!(texts(&room), ["bob 2", "ann 3", "bob 4"]);
}

#[test]
fn what_comes_twice_is_there_once() {
    let mut room = room();
    assert!(room.ack(&ack(2), "ann 2".into()));
    assert!(!room.insert(&message(2, "ann"), false));
    assert!(!room.ack(&ack(2), "ann 2".into()));
    assert!(room.insert(&message(3, "bob"), false));
    assert!(!room.insert(&message(3, "bob"), false));
    assert_eq!(texts(&room), ["ann 2", "bob 3"]);
}

#[test]
fn older_pages_go_on_from_the_first_message_until_there_are_none() {
    let mut room = room();
    assert_eq!((room.is_loaded(), room.older()), (false, None));
    room.page(&History {
        messages: vec![message(9, "bob"), message(8, "bob")],
        more: true,
    });
    assert_eq!((room.is_loaded(), room.older()), (true, Some(8)));
    room.page(&History {
        messages: vec![message(7, "bob")],
        more: false,
    });
    assert_eq!(room.older(), None);
}

#[test]
fn a_resync_forgets_and_the_history_is_loaded_again() {
    let mut room = room();
    room.page(&History {
        messages: vec![message(5, "bob")],
        more: true,
    });
    let note = Note {
        at: Timestamp::EPOCH,
        text: "carl has left".into(),
    };
    assert!(room.note(6, note.clone()) && !room.note(6, note));
    room.reset();
    assert_eq!((room.is_loaded(), room.older(), room.notes().count()), (false, None, 0));
    room.insert(&message(2, "bob"), false);
    room.page(&History {
        messages: vec![message(2, "bob")],
        more: false,
    });
    assert_eq!(texts(&room), ["bob 2"]);
}

#[test]
fn the_oldest_go_when_there_are_too_many_and_can_be_loaded_again() {
    let mut room = room();
    room.page(&History {
        messages: Vec::new(),
        more: false,
    });
    for seq in 1..=MOST as u64 + 1 {
        room.insert(&message(seq, "bob"), false);
    }
    assert_eq!(room.messages().next().map(|(seq, _)| seq), Some(2));
    assert!(room.has_older);
}

#[test]
fn what_is_read_is_the_newest_message_of_others() {
    let mut room = room();
    assert_eq!(room.newest_of_others(), None);
    room.insert(&message(2, "bob"), false);
    room.insert(&message(3, "ann"), false);
    assert_eq!(room.newest_of_others(), Some(2));
}

#[test]
fn attachments_are_told_below_the_text() {
    let mut with_file = message(2, "bob");
    with_file.text = String::new();
    let attachment = json!([{"url": "https://x/y", "name": "y.png", "bytes": 3, "type": "image/png"}]);
    with_file.attachments = serde_json::from_value(attachment).unwrap();
    assert_eq!(body(&with_file), "[y.png: https://x/y]");
    with_file.text = "see".into();
    assert_eq!(body(&with_file), "see\n[y.png: https://x/y]");
}
