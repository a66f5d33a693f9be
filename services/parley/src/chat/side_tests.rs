//! What stands beside the conversation.

use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::chat::api::Target;
use crate::chat::client::Answer;

const ID: &str = "g00000000000000000000000000000000";

fn conversation(id: &str, name: Option<&str>, unread: u32) -> Value {
    let member = |name: &str, role: &str| json!({"user_id": name, "role": role, "delivered_seq": 0, "read_seq": 0});
    let kind = if id.starts_with('d') { "direct" } else { "group" };
    let mut members = vec![member("ann", "member"), member("bob", "owner")];
    if kind == "group" {
        members.extend([member("carl", "member"), member("dora", "member")]);
    }
    json!({"conversation_id": id, "type": kind, "name": name, "seq": 1, "read_seq": 0, "unread": unread,
        "members": members, "created_at": "2026-11-22T01:02:03.456Z"})
}

/// Ann's client in a group of four with a direct conversation beside it; bob and she are in the room, bob is writing.
fn client() -> Client {
    let now = Instant::now();
    let mut client = Client::new(UserId::parse("ann").unwrap());
    let direct = "d00000000000000000000000000000001";
    let all = json!({"conversations": [conversation(direct, None, 3), conversation(ID, Some("Team\u{7}"), 0)]});
    client.on_answer(Answer::Listed(false, Ok(serde_json::from_value(all).unwrap())), now);
    let team = serde_json::from_value(conversation(ID, Some("Team\u{7}"), 0)).unwrap();
    client.on_answer(Answer::Opened(Target::parse(ID).unwrap(), Ok(Box::new(team))), now);
    let subscribed = json!({"type": "subscribed", "conversation_id": ID, "seq": 1, "present_count": 2, "typing": ["bob"],
        "present": [{"user_id": "ann", "status": "online"}, {"user_id": "bob", "status": "dnd"}]});
    client.on_frame(serde_json::from_value(subscribed).unwrap(), now);
    let dora = json!({"type": "presence", "user_id": "dora", "status": "online"});
    client.on_frame(serde_json::from_value(dora).unwrap(), now);
    client
}

fn texts(rows: &[Row]) -> Vec<String> {
    let text = |row: &Row| row.iter().map(|(text, _)| text.as_str()).collect::<String>();
    rows.iter().map(text).collect()
}

#[test]
fn conversations_with_unread_and_members_with_dots() {
    let rows = rows(&client(), None, WIDTH, 9);
    assert_eq!(
        texts(&rows),
        [
            "Conversations           │ ",
            "⊖ bob                 3 │ ",
            "# Team\\u{7}             │ ",
            "                        │ ",
            "Members · 2 of 4 here   │ ",
            "⊖ bob owner …           │ ",
            "● dora                  │ ",
            "  carl                  │ ",
            "                        │ ",
        ]
    );
    assert_eq!(rows[1][0].1, Tone::Dot(Status::Dnd));
}

#[test]
fn whatever_its_height_the_column_has_it_and_the_chosen_one_is_seen() {
    let client = client();
    let chosen = &client.rooms().listed()[1].id;
    for height in 1..12 {
        let rows = rows(&client, Some(chosen), WIDTH, height);
        assert_eq!(rows.len(), height);
        assert!(texts(&rows).iter().all(|it| wrap::width(it) == WIDTH));
        let is_seen = texts(&rows).iter().any(|it| it.starts_with("# Team"));
        assert!(is_seen || height < 3, "{height}");
    }
}

#[test]
fn a_narrow_terminal_has_no_column() {
    assert_eq!((width(79), width(80)), (0, WIDTH));
}
