//! What an app keeps over all its sockets: the cursor, what is not acked yet, and what is to be marked as read.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client_id;
use super::frames::is_durable;
use super::invariants::{SocketView, View};

/// An unanswered send is repeated after this.
const ACK_PATIENCE: Duration = Duration::from_secs(3);
/// The `ref` of read marks.
const MARK: &str = "mark";

/// An app's memory.
#[derive(Default)]
pub struct Memory {
    pub view: View,
    pub cursor: Option<String>,
    pub pending: Vec<Pending>,
    pub acked: usize,
    /// When each acked message was written, and how long it waited for its ack.
    pub waits: Vec<(Instant, Duration)>,
    /// The longest time from the first try of a send to its ack, whatever sockets lay between.
    pub longest: Duration,
    /// How each socket ended: its close code, if one came.
    pub ends: Vec<Option<u16>>,
    /// Rooms whose signals are asked for on each socket.
    pub watched: Vec<String>,
    /// Errors that no repetition mends.
    pub refused: Vec<Value>,
    /// The highest `seq` of each conversation that came.
    seen: HashMap<String, u64>,
    /// The highest of each that was marked as read on the present socket.
    marked: HashMap<String, u64>,
}

/// A message without an ack.
pub struct Pending {
    client_id: String,
    conversation: String,
    text: String,
    retry: bool,
    written: Instant,
    due: Instant,
    since: Instant,
}

impl Memory {
    pub fn of(user: &str) -> Self {
        let view = View {
            user: user.into(),
            sockets: Vec::new(),
        };
        Self {
            view,
            ..Self::default()
        }
    }

    /// When the message was written that has waited longest for its ack.
    pub fn oldest(&self) -> Option<Instant> {
        self.pending.iter().map(|it| it.written).min()
    }

    /// A message to be sent as soon as possible.
    pub fn send(&mut self, conversation: &str, text: String) {
        self.pending.push(Pending {
            client_id: client_id(),
            conversation: conversation.into(),
            text,
            retry: false,
            written: Instant::now(),
            due: Instant::now(),
            since: Instant::now(),
        });
    }

    /// How long each send without an ack waits.
    pub fn waiting(&self) -> impl Iterator<Item = Duration> {
        self.pending.iter().map(|it| it.since.elapsed())
    }

    /// Records a frame; whether it was `ready`.
    pub fn on_frame(&mut self, frame: Value, resume: &Option<String>) -> bool {
        let is_ready = frame["type"] == "ready";
        match frame["type"].as_str().expect("a frame has a type") {
            "ready" => {
                self.view.sockets.push(SocketView {
                    resume: resume.clone(),
                    ..SocketView::default()
                });
                self.take_cursor(&frame);
                self.marked.clear();
                for pending in &mut self.pending {
                    pending.due = Instant::now();
                }
            }
            "checkpoint" => self.take_cursor(&frame),
            "message:ack" => {
                let acked = self
                    .pending
                    .extract_if(.., |it| frame["client_id"] == it.client_id.as_str());
                for it in acked {
                    self.acked += 1;
                    self.waits.push((it.written, it.written.elapsed()));
                    self.longest = self.longest.max(it.since.elapsed());
                }
            }
            "error" if frame["ref"] == MARK => self.marked.clear(),
            "error" => self.on_error(&frame),
            "pong" => return false,
            _ => {}
        }
        self.see(&frame);
        if let Some(socket) = self.view.sockets.last_mut() {
            socket.frames.push(frame);
        }
        is_ready
    }

    fn take_cursor(&mut self, frame: &Value) {
        self.cursor = Some(frame["cursor"].as_str().expect("a cursor is a string").to_owned());
    }

    fn see(&mut self, frame: &Value) {
        let (Some(room), Some(seq)) = (frame["conversation_id"].as_str(), frame["seq"].as_u64()) else {
            return;
        };
        if frame["type"] == "message:ack" || is_durable(frame) {
            let seen = self.seen.entry(room.to_owned()).or_default();
            *seen = seq.max(*seen);
        }
    }

    /// The read marks that are to be sent now, which are noted as sent on the present socket.
    pub fn marks(&mut self) -> Vec<Value> {
        let Self { seen, marked, .. } = self;
        let due = seen
            .iter()
            .filter(|(room, seq)| marked.get(*room).is_none_or(|it| it < seq));
        let due: Vec<(String, u64)> = due.map(|(room, seq)| (room.clone(), *seq)).collect();
        marked.extend(due.iter().cloned());
        due.into_iter()
            .map(|(room, seq)| json!({"type": "message:read", "conversation_id": room, "seq": seq, "ref": MARK}))
            .collect()
    }

    /// The frames that are to be sent now, which are noted as sent on the present socket.
    pub fn due(&mut self, now: Instant) -> Vec<Value> {
        let mut frames = Vec::new();
        for it in self.pending.iter_mut().filter(|it| it.due <= now) {
            let mut frame = super::message(&it.client_id, &it.conversation, &it.text);
            if it.retry {
                frame["retry"] = json!(true);
            }
            (it.retry, it.due) = (true, now + ACK_PATIENCE);
            frames.push(frame);
        }
        if let Some(socket) = self.view.sockets.last_mut() {
            socket.sent.extend(frames.iter().cloned());
        }
        frames
    }

    /// What may pass is tried again later; the rest is refused for good.
    fn on_error(&mut self, error: &Value) {
        let passing = matches!(error["code"].as_str(), Some("unavailable" | "rate_limited"));
        let wait = Duration::from_millis(error["retry_after_ms"].as_u64().unwrap_or(300));
        let found = self
            .pending
            .iter()
            .position(|it| error["client_id"] == it.client_id.as_str());
        match found {
            Some(at) if passing => self.pending[at].due = Instant::now() + wait,
            Some(at) => {
                self.pending.remove(at);
                self.refused.push(error.clone());
            }
            None if passing => {}
            None => self.refused.push(error.clone()),
        }
    }
}
