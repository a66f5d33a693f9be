//! What came in over a socket: an ordered log with times, and waiting for what is still to come.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use super::wait::PATIENCE;

/// Frames that take a `seq` of their conversation.
pub const DURABLE: [&str; 9] = [
    "message:incoming",
    "message:edited",
    "message:deleted",
    "reaction:added",
    "reaction:removed",
    "conversation:created",
    "conversation:updated",
    "member:added",
    "member:removed",
];

/// Whether a frame is a durable event.
pub fn is_durable(frame: &Value) -> bool {
    frame["type"].as_str().is_some_and(|it| DURABLE.contains(&it))
}

/// One thing that came.
#[derive(Debug, Clone)]
pub enum What {
    Frame(Value),
    /// A WebSocket ping of the server's.
    Ping,
    /// Text that is no JSON, or a binary frame: the server never sends either.
    Strange(String),
    /// A close frame with its code.
    Close(Option<u16>),
    /// The connection is gone.
    End(String),
}

/// Something that came, and when.
#[derive(Debug, Clone)]
pub struct Entry {
    pub at: Instant,
    pub what: What,
    taken: bool,
}

/// The log of one socket.
#[derive(Debug)]
pub struct Frames {
    owner: String,
    entries: Mutex<Vec<Entry>>,
    length: watch::Sender<usize>,
}

impl Frames {
    pub fn new(owner: String) -> Self {
        Self {
            owner,
            entries: Mutex::default(),
            length: watch::Sender::new(0),
        }
    }

    pub fn push(&self, what: What) {
        let mut entries = self.entries.lock().unwrap();
        entries.push(Entry {
            at: Instant::now(),
            what,
            taken: false,
        });
        self.length.send_replace(entries.len());
    }

    /// All that has come so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    /// All frames that have come so far, taken or not.
    pub fn all(&self) -> Vec<Value> {
        let frame = |entry: Entry| {
            if let What::Frame(it) = entry.what {
                Some(it)
            } else {
                None
            }
        };
        self.entries().into_iter().filter_map(frame).collect()
    }

    /// Whether a close frame has come, or the end.
    pub fn closed(&self) -> bool {
        self.entries
            .lock()
            .unwrap()
            .iter()
            .any(|it| matches!(it.what, What::Close(_) | What::End(_)))
    }

    /// How many frames of a type have come so far.
    pub fn count(&self, kind: &str) -> usize {
        let of_kind = |it: &&Entry| matches!(&it.what, What::Frame(frame) if frame["type"] == kind);
        self.entries.lock().unwrap().iter().filter(of_kind).count()
    }

    /// Takes the first entry, not taken yet, for which `choose` has a value.
    pub fn take<T>(&self, mut choose: impl FnMut(&What) -> Option<T>) -> Option<(T, Instant)> {
        let mut entries = self.entries.lock().unwrap();
        entries.iter_mut().filter(|it| !it.taken).find_map(|entry| {
            let value = choose(&entry.what)?;
            entry.taken = true;
            Some((value, entry.at))
        })
    }

    /// Waits for such an entry and takes it.
    pub async fn wait<T>(
        &self,
        wanted: &str,
        patience: Duration,
        mut choose: impl FnMut(&What) -> Option<T>,
    ) -> (T, Instant) {
        let mut length = self.length.subscribe();
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            length.borrow_and_update();
            if let Some(found) = self.take(&mut choose) {
                return found;
            }
            if tokio::time::timeout_at(deadline, length.changed()).await.is_err() {
                panic!(
                    "{} waited {patience:?} in vain for {wanted}; it got:\n{}",
                    self.owner,
                    self.tail()
                );
            }
        }
    }

    /// Waits for the next frame, not taken yet, that passes.
    pub async fn frame(&self, wanted: &str, passes: impl FnMut(&Value) -> bool) -> Value {
        self.frame_within(wanted, PATIENCE, passes).await.0
    }

    /// The same with another patience; also when it came.
    pub async fn frame_within(
        &self,
        wanted: &str,
        patience: Duration,
        mut passes: impl FnMut(&Value) -> bool,
    ) -> (Value, Instant) {
        let choose = |what: &What| match what {
            What::Frame(frame) if passes(frame) => Some(frame.clone()),
            _ => None,
        };
        self.wait(wanted, patience, choose).await
    }

    fn tail(&self) -> String {
        let entries = self.entries.lock().unwrap();
        let Some(first) = entries.first().map(|it| it.at) else {
            return "nothing".into();
        };
        let line = |entry: &Entry| {
            let mut text = format!("{:?}", entry.what);
            if let What::Frame(frame) = &entry.what {
                text = frame.to_string();
            }
            let short: String = text.chars().take(300).collect();
            format!(
                "  {:>6} ms {} {short}",
                (entry.at - first).as_millis(),
                if entry.taken { ' ' } else { '*' }
            )
        };
        let lines: Vec<String> = entries
            .iter()
            .skip(entries.len().saturating_sub(40))
            .map(line)
            .collect();
        lines.join("\n")
    }
}
