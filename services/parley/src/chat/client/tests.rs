//! What events do to the client, in order and out of order.

use serde_json::json;

use super::*;

const ID: &str = "d00000000000000000000000000000000";
const TIME: &str = "2026-11-22T01:02:03.456Z";
const LATER: Duration = Duration::from_millis(500);

fn conversation(id: &str) -> Conversation {
    let member = |name: &str| json!({"user_id": name, "role": "member", "read_seq": 0, "delivered_seq": 0});
    let value = json!({"conversation_id": id, "type": "direct", "members": [member("ann"), member("bob")], "seq": 1,
        "created_at": TIME, "read_seq": 0, "unread": 0});
    serde_json::from_value(value).unwrap()
}

fn message(seq: u64, sender: &str, client_id: &str) -> Value {
    json!({"type": "message:incoming", "server_id": format!("{ID}-{seq}"), "client_id": client_id,
        "conversation_id": ID, "seq": seq, "sender_id": sender, "text": format!("{sender} {seq}"), "kind": "text",
        "timestamp": TIME})
}

fn from_bob(seq: u64) -> Value {
    message(seq, "bob", protocol::ClientId::generate().as_str())
}

fn history(messages: &[Value]) -> Answer {
    let history = serde_json::from_value(json!({"messages": messages, "more": false})).unwrap();
    Answer::Page(conversation(ID).conversation_id, None, Ok(history))
}

/// Ann's client and the time.
struct Test {
    client: Client,
    now: Instant,
}

impl Test {
    /// Connected, with the conversation with bob open and its history not there yet.
    fn new() -> Self {
        let mut test = Self {
            client: Client::new(UserId::parse("ann").unwrap()),
            now: Instant::now(),
        };
        let target = Target::User(UserId::parse("bob").unwrap());
        test.client
            .on_answer(Answer::Opened(target, Ok(Box::new(conversation(ID)))), test.now);
        assert_eq!(test.client.take_requests(), [], "the history is read after `ready`");
        test.online();
        let id = conversation(ID).conversation_id;
        assert_eq!(test.client.take_requests(), [Request::History(id, None)]);
        test
    }

    fn loaded(messages: &[Value]) -> Self {
        let mut test = Self::new();
        test.client.on_answer(history(messages), test.now);
        test.client.take_outputs();
        test
    }

    fn online(&mut self) {
        let ready = json!({"session_id": "s", "user_id": "ann", "device_id": "d", "resumed": true, "cursor": "c",
            "heartbeat_ms": 20_000, "timestamp": TIME,
            "limits": {"frame_bytes": 65_536, "text_chars": 4_000, "sends_per_second": 50}});
        self.client.on_online(&serde_json::from_value(ready).unwrap(), self.now);
    }

    fn frame(&mut self, frame: Value) {
        self.client.on_frame(serde_json::from_value(frame).unwrap(), self.now);
    }

    fn sent(&mut self) -> Vec<Value> {
        self.now += LATER;
        self.client.frames(self.now)
    }

    fn ack(&mut self, client_id: &Value, seq: u64) {
        self.frame(
            json!({"type": "message:ack", "client_id": client_id, "server_id": format!("{ID}-{seq}"),
            "conversation_id": ID, "seq": seq, "timestamp": TIME, "duplicate": false}),
        );
    }

    fn told(&mut self) -> Vec<String> {
        let outputs = self.client.take_outputs().into_iter();
        outputs
            .filter_map(|it| {
                if let Output::Message(_, text) = it {
                    Some(text)
                } else {
                    None
                }
            })
            .collect()
    }
}

#[test]
fn what_comes_while_the_history_is_read_is_told_once_and_in_order() {
    let mut test = Test::new();
    test.frame(from_bob(4));
    assert_eq!(test.told(), [""; 0]);
    test.client
        .on_answer(history(&[from_bob(4), from_bob(3), from_bob(2)]), test.now);
    assert_eq!(test.told(), ["bob 2", "bob 3", "bob 4"]);
    test.frame(from_bob(4));
    test.frame(from_bob(5));
    assert_eq!(test.told(), ["bob 5"]);
}

#[test]
fn what_was_sent_from_here_is_not_told_whether_ack_event_or_history_comes_first() {
    let mut test = Test::new();
    test.client.on_line("hi");
    let first = test.sent().remove(0)["client_id"].clone();
    test.ack(&first, 2);
    test.client.on_line("again");
    let second = test.sent().remove(0)["client_id"].clone();
    let own = |seq, id: &Value| message(seq, "ann", id.as_str().unwrap());
    test.client
        .on_answer(history(&[from_bob(4), own(3, &second), own(2, &first)]), test.now);
    assert_eq!(
        (test.told(), test.client.outbox().waiting()),
        (vec!["bob 4".to_owned()], 0)
    );
}

#[test]
fn what_was_received_and_shown_is_confirmed_once() {
    let mut test = Test::loaded(&[from_bob(2)]);
    test.frame(from_bob(3));
    let marks: Vec<_> = test
        .sent()
        .iter()
        .map(|it| (it["type"].clone(), it["seq"].clone()))
        .collect();
    assert_eq!(
        marks,
        [
            (json!("message:delivered"), json!(3)),
            (json!("message:read"), json!(3))
        ]
    );
    assert_eq!(test.sent(), [Value::Null; 0]);
}

#[test]
fn what_is_not_before_the_eyes_is_delivered_and_read_later() {
    let mut test = Test::loaded(&[]);
    test.client.set_visible(false, test.now);
    test.frame(from_bob(3));
    assert_eq!(test.sent().len(), 1);
    test.client.set_visible(true, test.now);
    assert_eq!(test.sent()[0]["type"], "message:read");
}

#[test]
fn a_message_without_an_ack_goes_again_until_it_is_acked() {
    let mut test = Test::loaded(&[]);
    assert!(test.client.on_line("hi"));
    let first = test.sent().remove(0);
    test.client.on_offline("gone".into(), test.now);
    assert_eq!(test.sent(), [Value::Null; 0]);
    test.online();
    let again = test.sent().remove(0);
    assert_eq!(
        (&again["client_id"], &again["retry"]),
        (&first["client_id"], &json!(true))
    );
    test.ack(&first["client_id"], 2);
    test.ack(&first["client_id"], 2);
    let shown: Vec<_> = test
        .client
        .room()
        .unwrap()
        .messages()
        .map(|(seq, it)| (seq, it.body.clone()))
        .collect();
    assert_eq!((shown, test.client.outbox().waiting()), (vec![(2, "hi".to_owned())], 0));
}

#[test]
fn an_own_message_that_comes_back_on_resume_is_settled_by_it() {
    let mut test = Test::loaded(&[]);
    test.client.on_line("hi");
    let frame = test.sent().remove(0);
    test.frame(message(2, "ann", frame["client_id"].as_str().unwrap()));
    assert_eq!((test.client.outbox().waiting(), test.told()), (0, vec![]));
}

#[test]
fn a_resync_reads_everything_again_and_tells_only_what_is_new() {
    let mut test = Test::loaded(&[from_bob(2)]);
    test.frame(json!({"type": "resync", "reason": "expired"}));
    let id = conversation(ID).conversation_id;
    let open = Request::Open(Target::Conversation(id.clone()));
    assert_eq!(test.client.take_requests(), [open]);
    test.client.on_answer(
        Answer::Opened(Target::Conversation(id.clone()), Ok(Box::new(conversation(ID)))),
        test.now,
    );
    assert_eq!(test.client.take_requests(), [Request::History(id, None)]);
    test.client.on_answer(history(&[from_bob(3), from_bob(2)]), test.now);
    assert_eq!(test.told(), ["bob 3"]);
}

#[test]
fn a_read_that_fails_for_now_is_tried_again() {
    let mut test = Test::new();
    let id = conversation(ID).conversation_id;
    let failure = Failure {
        words: "away".into(),
        is_passing: true,
        is_unreachable: false,
    };
    test.client
        .on_answer(Answer::Page(id.clone(), None, Err(failure)), test.now);
    assert_eq!(test.client.due(test.now), Some(test.now + READ_AGAIN));
    test.client.tick(test.now + READ_AGAIN);
    assert_eq!(test.client.take_requests(), [Request::History(id, None)]);
    assert!(!test.client.has_failed());
}

#[test]
fn a_line_that_cannot_be_sent_is_kept_and_remembered() {
    let mut test = Test::loaded(&[]);
    assert!(!test.client.on_line(&"x".repeat(4_001)));
    assert!(test.client.has_failed());
    assert!(matches!(test.client.take_outputs().as_slice(), [Output::Problem(_)]));
}

#[test]
fn a_number_opens_what_the_list_has_there_and_anything_else_is_a_user() {
    let mut test = Test::loaded(&[]);
    let other = "g00000000000000000000000000000001";
    let list = serde_json::from_value(json!({"conversations": [conversation(other)]})).unwrap();
    test.client.on_answer(Answer::Listed(Ok(list)), test.now);
    test.client.on_line("/open 1");
    test.client.on_line("/open 2");
    let user = Target::User(UserId::parse("2").unwrap());
    let listed = Target::parse(other).unwrap();
    assert_eq!(
        test.client.take_requests(),
        [Request::Open(listed), Request::Open(user)]
    );
}

#[test]
fn a_message_for_another_room_is_news_and_confirmed_as_delivered_only() {
    let mut test = Test::loaded(&[]);
    let mut elsewhere = from_bob(7);
    elsewhere["conversation_id"] = json!("d00000000000000000000000000000009");
    test.frame(elsewhere);
    assert!(matches!(test.client.take_outputs().as_slice(), [Output::Notice(text)] if text.contains("bob writes")));
    let types: Vec<_> = test.sent().iter().map(|it| it["type"].clone()).collect();
    assert_eq!(types, ["message:delivered"]);
}
