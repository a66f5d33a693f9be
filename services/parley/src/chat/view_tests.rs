//! What the screen looks like.

use serde_json::{Value, json};

use super::*;
use crate::chat::api::Target;
use crate::chat::client::Answer;

const ID: &str = "d00000000000000000000000000000000";

/// Ann's client in the conversation with bob, who has read up to 2 and received up to 3.
fn client(messages: &[(u64, &str, &str)]) -> Client {
    let now = Instant::now();
    let mut client = Client::new(UserId::parse("ann").unwrap());
    let member = |name: &str, delivered: u64, read: u64| json!({"user_id": name, "role": "member", "delivered_seq": delivered, "read_seq": read});
    let conversation = json!({"conversation_id": ID, "type": "direct", "seq": 1, "read_seq": 0, "unread": 0,
        "members": [member("ann", 0, 0), member("bob", 3, 2)], "created_at": "2026-11-22T01:02:03.456Z"});
    let conversation = serde_json::from_value(conversation).unwrap();
    client.on_answer(
        Answer::Opened(Target::parse(ID).unwrap(), Ok(Box::new(conversation))),
        now,
    );
    let messages: Vec<Value> = messages
        .iter()
        .map(|(seq, sender, text)| {
            json!({"server_id": format!("{ID}-{seq}"), "client_id": protocol::ClientId::generate(),
                "conversation_id": ID, "seq": seq, "sender_id": sender, "text": text, "kind": "text",
                "timestamp": "2026-11-22T01:02:03.456Z"})
        })
        .collect();
    let page = serde_json::from_value(json!({"messages": messages, "more": false})).unwrap();
    let id = protocol::ConversationId::parse(ID).unwrap();
    client.on_answer(Answer::Page(id, None, Ok(page)), now);
    client
}

fn drawn(client: &Client, input: &Editor, scroll: usize, width: usize, height: usize) -> Picture {
    let zone = TimeZone::UTC;
    let scene = Scene {
        input,
        page: &[],
        notice: None,
        chosen: None,
        scroll,
        zone: &zone,
        now: Instant::now(),
        clock: Timestamp::EPOCH,
    };
    picture(client, &scene, width, height)
}

fn texts(picture: &Picture) -> Vec<String> {
    let text = |row: &Row| row.iter().map(|(text, _)| text.as_str()).collect::<String>();
    picture.rows.iter().map(|row| text(row).trim_end().to_owned()).collect()
}

#[test]
fn a_conversation_with_its_marks() {
    let mut client = client(&[
        (2, "ann", "hello"),
        (3, "ann", "are you there?"),
        (4, "bob", "yes"),
        (5, "ann", "good"),
    ]);
    client.on_line("one more", Instant::now());
    let mut editor = Editor::default();
    editor.insert("typing");
    let picture = drawn(&client, &editor, 0, 40, 11);
    let expected = [
        " bob                   ann · connecting",
        "",
        "  the beginning of the conversation",
        "── Sunday, 22 November 2026 ──",
        "01:02 ann  hello ✓✓",
        "01:02 ann  are you there? ✓✓",
        "01:02 bob  yes",
        "01:02 ann  good ✓",
        "      ann  one more …",
        "────────────────────────────────────────",
        "> typing",
    ];
    assert_eq!(
        (texts(&picture), picture.cursor),
        (expected.map(str::to_owned).to_vec(), 8)
    );
    let tone = |row: usize| picture.rows[row].last().map(|(_, tone)| *tone);
    assert_eq!((tone(4), tone(5)), (Some(Tone::Read), Some(Tone::Dim)));
}

#[test]
fn a_long_text_is_wrapped_beside_its_name_and_nothing_is_wider_than_the_screen() {
    let client = client(&[
        (2, "bob", "one two three four five\nsix"),
        (3, "ann", "世界世界世界世界世界世界"),
    ]);
    let picture = drawn(&client, &Editor::default(), 0, 24, 12);
    let texts = texts(&picture);
    assert!(texts.contains(&"01:02 bob  one two three".to_owned()), "{texts:?}");
    assert!(texts.contains(&"           four five".to_owned()) && texts.contains(&"           six".to_owned()));
    assert!(texts.iter().skip(4).all(|it| wrap::width(it) <= 24), "{texts:?}");
}

#[test]
fn nothing_of_others_reaches_the_terminal_unescaped() {
    let client = client(&[(2, "b\u{1b}[31mob\n", "\u{1b}]0;owned\u{7}\u{9b}2J")]);
    for (width, height) in [(80, 24), (20, 8), (10, 4)] {
        for row in drawn(&client, &Editor::default(), 0, width, height).rows {
            assert!(
                row.iter().all(|(text, _)| !text.chars().any(char::is_control)),
                "{row:?}"
            );
        }
    }
}

#[test]
fn the_screen_always_has_its_rows_and_scrolling_ends_at_the_beginning() {
    let messages: Vec<_> = (2..60).map(|seq| (seq, "bob", "hello")).collect();
    let client = client(&messages);
    for height in 4..30 {
        for scroll in [0, 5, 1_000] {
            let picture = drawn(&client, &Editor::default(), scroll, 40, height);
            assert_eq!(picture.rows.len(), height);
        }
    }
    let top = texts(&drawn(&client, &Editor::default(), 1_000, 40, 10));
    assert_eq!(top[1], "  the beginning of the conversation");
    assert!(top[8].contains("older messages"));
}

#[test]
fn a_long_input_is_seen_around_its_cursor() {
    let mut editor = Editor::default();
    editor.insert("0123456789abcdefghij");
    let (row, cursor) = input(&editor, 13);
    assert_eq!((row[1].0.as_str(), cursor), ("abcdefghij", 12));
    editor.home();
    let (row, cursor) = input(&editor, 13);
    assert_eq!((row[1].0.as_str(), cursor), ("012345678…", 2));
}

#[test]
fn the_other_and_how_he_appears_stand_on_top_and_who_writes_at_the_bottom() {
    let mut client = client(&[(2, "bob", "hello")]);
    let now = Instant::now();
    let mut frame = |value: Value| client.on_frame(serde_json::from_value(value).unwrap(), now);
    frame(json!({"type": "presence", "user_id": "bob", "status": "offline", "last_seen": "1969-12-31T23:00:00Z"}));
    frame(json!({"type": "typing:started", "conversation_id": ID, "user_id": "bob"}));
    let rows = texts(&drawn(&client, &Editor::default(), 0, 60, 8));
    assert!(rows[0].starts_with(" ○ bob · last seen 1 h ago"), "{}", rows[0]);
    assert!(rows[6].ends_with("── bob is writing… ─"), "{}", rows[6]);
    assert_eq!(wrap::width(&rows[6]), 60);
}

#[test]
fn what_happened_is_a_grey_line_between_the_messages() {
    let mut client = client(&[(2, "bob", "hello"), (4, "bob", "bye")]);
    let added = json!({"type": "member:added", "conversation_id": ID, "seq": 3, "user_ids": ["carl"], "by": "bob",
        "timestamp": "2026-11-22T01:03:00.000Z"});
    client.on_frame(serde_json::from_value(added).unwrap(), Instant::now());
    let picture = drawn(&client, &Editor::default(), 0, 60, 8);
    assert_eq!(
        texts(&picture)[3..6],
        ["01:02 bob  hello", "01:03 bob has added carl", "01:02 bob  bye"]
    );
    assert_eq!(picture.rows[4][0].1, Tone::Dim);
}

#[test]
fn a_wide_terminal_shows_the_conversations_beside_and_a_narrow_one_when_choosing() {
    let client = client(&[(2, "bob", "hello")]);
    let wide = texts(&drawn(&client, &Editor::default(), 0, 90, 8));
    assert!(wide[1].starts_with("Conversations           │"), "{wide:?}");
    assert!(wide[5].ends_with("│ 01:02 bob  hello"), "{wide:?}");
    let id = protocol::ConversationId::parse(ID).unwrap();
    let (zone, editor) = (TimeZone::UTC, Editor::default());
    let scene = Scene {
        input: &editor,
        page: &[],
        notice: None,
        chosen: Some(&id),
        scroll: 0,
        zone: &zone,
        now: Instant::now(),
        clock: Timestamp::EPOCH,
    };
    let rows = picture(&client, &scene, 40, 8).rows;
    assert_eq!(rows[5][0], (format!("  {:<38}", "bob"), Tone::Bar));
}
