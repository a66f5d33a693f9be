//! What events do to the client: here the client of the tests, in the files what is tested with it.

mod groups;
mod live;
mod messages;
mod rooms;

use protocol::http::Conversation;
use serde_json::{Value, json};

use super::*;
use crate::chat::api::{Failure, Target};

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
        assert_eq!(
            test.client.take_requests(),
            [Request::History(id, None), Request::List(false)]
        );
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

    /// What this client sends half a second later, its subscriptions left out.
    fn sent(&mut self) -> Vec<Value> {
        let frames = self.all_sent().into_iter();
        frames.filter(|it| it["ref"] != "subscribe").collect()
    }

    fn all_sent(&mut self) -> Vec<Value> {
        self.now += LATER;
        self.client.frames(self.now)
    }

    fn ack(&mut self, client_id: &Value, seq: u64) {
        self.frame(
            json!({"type": "message:ack", "client_id": client_id, "server_id": format!("{ID}-{seq}"),
            "conversation_id": ID, "seq": seq, "timestamp": TIME, "duplicate": false}),
        );
    }

    /// The same of one type, subscriptions too.
    fn sent_of(&mut self, frame_type: &str) -> Vec<Value> {
        let frames = self.all_sent().into_iter();
        frames.filter(|it| it["type"] == frame_type).collect()
    }

    /// Notices, problems, pages and what happened, as lines.
    fn said(&mut self) -> Vec<String> {
        let outputs = self.client.take_outputs().into_iter();
        outputs
            .flat_map(|it| match it {
                Output::Message(..) | Output::Detail(_) => Vec::new(),
                Output::Happened(text) | Output::Notice(text) | Output::Problem(text) => vec![text],
                Output::Page(lines) => lines,
            })
            .collect()
    }

    fn line(&mut self, line: &str) -> bool {
        self.client.on_line(line, self.now)
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
