//! One WebSocket as an independent client sees it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::client_id;
use super::frames::{Frames, What, is_durable};
use super::wait::{PATIENCE, until};

/// An open socket. A background task reads it; dropping it cuts the connection without a close frame.
pub struct Client {
    /// The `ready` that was waited for; null before.
    pub ready: Value,
    pub frames: Arc<Frames>,
    sink: Mutex<SplitSink<WebSocketStream<TcpStream>, Message>>,
    reading: watch::Sender<bool>,
    reader: JoinHandle<()>,
}

impl Client {
    pub(super) fn new(stream: WebSocketStream<TcpStream>, owner: String) -> Self {
        let (sink, stream) = stream.split();
        let frames = Arc::new(Frames::new(owner));
        let (reading, gate) = watch::channel(true);
        let reader = tokio::spawn(read(stream, Arc::clone(&frames), gate));
        Self {
            ready: Value::Null,
            frames,
            sink: Mutex::new(sink),
            reading,
            reader,
        }
    }

    /// Sends one message as it is.
    pub async fn send_raw(&self, message: Message) {
        let sent = tokio::time::timeout(PATIENCE, async { self.sink.lock().await.send(message).await }).await;
        sent.expect("the server takes what is sent")
            .expect("the socket is open");
    }

    /// Sends one frame.
    pub async fn send(&self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends frames in as few writes as they fit into, so that nothing comes between them.
    pub async fn send_at_once(&self, frames: impl IntoIterator<Item = Value>) {
        let sent = tokio::time::timeout(PATIENCE, async {
            let mut sink = self.sink.lock().await;
            for frame in frames {
                sink.feed(Message::text(frame.to_string())).await?;
            }
            sink.flush().await
        });
        sent.await
            .expect("the server takes what is sent")
            .expect("the socket is open");
    }

    /// Sends any text.
    pub async fn send_text(&self, text: &str) {
        self.send_raw(Message::text(text)).await;
    }

    /// Sends any text to a server that may have closed meanwhile.
    pub async fn try_send_text(&self, text: &str) -> tokio_tungstenite::tungstenite::Result<()> {
        self.sink.lock().await.send(Message::text(text)).await
    }

    /// Sends a text message under a fresh client id, which is returned.
    pub async fn send_message(&self, conversation: &str, text: &str) -> String {
        let id = client_id();
        self.send(message(&id, conversation, text)).await;
        id
    }

    /// Sends a text message and waits for its ack.
    pub async fn say(&self, conversation: &str, text: &str) -> Value {
        let id = self.send_message(conversation, text).await;
        self.wait_ack(&id).await
    }

    /// Sends many messages, a few dozen of them under way at a time, and waits for all acks.
    pub async fn say_all(&self, conversation: &str, texts: impl IntoIterator<Item = String>) {
        let mut waiting = VecDeque::new();
        for text in texts {
            waiting.push_back(self.send_message(conversation, &text).await);
            if waiting.len() >= 40 {
                self.wait_ack(&waiting.pop_front().expect("not empty")).await;
            }
        }
        for id in waiting {
            self.wait_ack(&id).await;
        }
    }

    /// Waits for the ack of a client id.
    pub async fn wait_ack(&self, client_id: &str) -> Value {
        self.answer_to(client_id, "message:ack").await
    }

    /// Waits for the error of a client id.
    pub async fn wait_error(&self, client_id: &str, code: &str) -> Value {
        let error = self.answer_to(client_id, "error").await;
        assert_eq!(error["code"], code, "{error}");
        error
    }

    /// Sends a message that must be `not_found`.
    pub async fn expect_no_such_room(&self, conversation: &str) {
        let id = self.send_message(conversation, "into a room that is not there").await;
        self.wait_error(&id, "not_found").await;
    }

    /// Waits for the answer to a send, which must be of that type.
    async fn answer_to(&self, client_id: &str, kind: &str) -> Value {
        let answers =
            |it: &Value| it["client_id"] == client_id && matches!(it["type"].as_str(), Some("message:ack" | "error"));
        let answer = self.frames.frame(&format!("{kind} of {client_id}"), answers).await;
        assert_eq!(answer["type"], kind, "{answer}");
        answer
    }

    /// Waits for the next frame of a type.
    pub async fn expect(&self, kind: &str) -> Value {
        self.frames.frame(kind, |it| it["type"] == kind).await
    }

    /// Waits for the next `error`, which must have that code and the words that every error has.
    pub async fn expect_error(&self, code: &str) -> Value {
        let error = self.expect("error").await;
        assert_eq!(error["code"], code, "{error}");
        assert!(
            error["message"].as_str().is_some_and(|it| !it.is_empty()),
            "an error says what is wrong: {error}"
        );
        error
    }

    /// Waits for the next durable event.
    pub async fn next_event(&self) -> Value {
        self.frames.frame("a durable event", |it| self.is_news(it)).await
    }

    /// A durable event that this socket must have been sent. One from just before a fresh `ready` may come: the node's
    /// own position is a moment behind, and `seq` tells.
    fn is_news(&self, frame: &Value) -> bool {
        let fresh = self.ready["resumed"] == false;
        let before = fresh && frame["timestamp"].as_str() < self.ready["timestamp"].as_str();
        is_durable(frame) && !before
    }

    /// Waits for that many durable events.
    pub async fn next_events(&self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.next_event().await);
        }
        events
    }

    /// Waits for the next message, which must be that text.
    pub async fn expect_text(&self, text: &str) -> Value {
        let event = self.next_event().await;
        assert_eq!(
            (&event["type"], &event["text"]),
            (&json!("message:incoming"), &json!(text)),
            "{event}"
        );
        event
    }

    /// Everything that the server sent before it answers a `ping` is in the log afterwards.
    pub async fn barrier(&self) {
        let mark = client_id();
        self.send(json!({"type": "ping", "ref": mark})).await;
        self.frames
            .frame("pong", |it| it["type"] == "pong" && it["ref"] == mark.as_str())
            .await;
    }

    /// Asserts that the socket works and has no durable event or error that was not taken.
    pub async fn assert_quiet(&self) {
        self.barrier().await;
        let unexpected = self.frames.take(|what| match what {
            What::Frame(it) if self.is_news(it) || it["type"] == "error" => Some(it.to_string()),
            What::Strange(it) => Some(it.clone()),
            _ => None,
        });
        assert!(unexpected.is_none(), "nothing more should have come: {unexpected:?}");
    }

    /// Waits for a close frame with that code; when it came.
    pub async fn expect_close(&self, code: u16, patience: Duration) -> Instant {
        let end = |what: &What| match what {
            What::Close(code) => Some(format!("{code:?}")),
            What::End(error) => Some(error.clone()),
            _ => None,
        };
        let (end, at) = self.frames.wait(&format!("close {code}"), patience, end).await;
        assert_eq!(end, format!("{:?}", Some(code)), "how the socket ended");
        at
    }

    /// Whether the connection has ended.
    pub fn has_ended(&self) -> bool {
        self.reader.is_finished() || self.frames.closed()
    }

    /// The latest cursor that the server gave; `ready`'s at first.
    pub fn cursor(&self) -> String {
        let given = |it: &Value| matches!(it["type"].as_str(), Some("checkpoint" | "ready"));
        let last = self
            .frames
            .all()
            .into_iter()
            .rfind(given)
            .expect("no cursor without ready");
        last["cursor"].as_str().expect("a cursor is a string").into()
    }

    /// Waits for a checkpoint after everything that has come so far; its cursor.
    pub async fn settled_cursor(&self) -> String {
        let counts = |it: &Value| is_durable(it) || it["type"] == "message:ack" || it["type"] == "ready";
        until("a checkpoint after the last event", PATIENCE, async || {
            let all = self.frames.all();
            let event = all.iter().rposition(counts)?;
            let checkpoint = all.iter().rfind(|it| it["type"] == "checkpoint");
            let after = all[event..].iter().any(|it| it["type"] == "checkpoint");
            after.then(|| {
                checkpoint
                    .and_then(|it| it["cursor"].as_str())
                    .expect("a cursor is a string")
                    .to_owned()
            })
        })
        .await
    }

    /// When the first checkpoint after that moment came.
    pub async fn checkpoint_after(&self, at: Instant) -> Instant {
        let checkpoint = |what: &What| matches!(what, What::Frame(it) if it["type"] == "checkpoint");
        until("a checkpoint", PATIENCE, async || {
            self.frames
                .entries()
                .iter()
                .find(|it| it.at > at && checkpoint(&it.what))
                .map(|it| it.at)
        })
        .await
    }

    /// Sends a message again and again under one client id while the answer is `unavailable`; the ack.
    pub async fn say_patiently(&self, conversation: &str, text: &str) -> Value {
        self.send_patiently(message(&client_id(), conversation, text)).await
    }

    /// Sends a `message:send` again and again while the answer is `unavailable`; the ack.
    pub async fn send_patiently(&self, mut frame: Value) -> Value {
        until("the send to be acked", 2 * PATIENCE, async || {
            self.send(frame.clone()).await;
            let answer = self
                .frames
                .frame("an answer", |it| it["client_id"] == frame["client_id"])
                .await;
            frame["retry"] = json!(true);
            let acked = answer["type"] == "message:ack";
            assert!(acked || answer["code"] == "unavailable", "{answer}");
            acked.then_some(answer)
        })
        .await
    }

    /// Stops or goes on reading: the slow client.
    pub fn read(&self, on: bool) {
        self.reading.send_replace(on);
    }

    /// Cuts the connection without a close frame, as a tunnel does.
    pub async fn kill(mut self) {
        self.reader.abort();
        let _ = (&mut self.reader).await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(
    mut stream: SplitStream<WebSocketStream<TcpStream>>,
    frames: Arc<Frames>,
    mut gate: watch::Receiver<bool>,
) {
    loop {
        if gate.wait_for(|&open| open).await.is_err() {
            return;
        }
        let message = tokio::select! {
            biased;
            changed = gate.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            message = stream.next() => message,
        };
        match message {
            Some(Ok(message)) => frames.push(seen(message)),
            Some(Err(error)) => return frames.push(What::End(error.to_string())),
            None => return frames.push(What::End("the connection ended".into())),
        }
    }
}

fn seen(message: Message) -> What {
    match message {
        Message::Text(text) => match serde_json::from_str::<Value>(&text) {
            Ok(frame) if frame["type"].is_string() => What::Frame(frame),
            _ => What::Strange(text.to_string()),
        },
        Message::Ping(_) => What::Ping,
        Message::Close(frame) => What::Close(frame.map(|it| it.code.into())),
        other => What::Strange(format!("{other:?}")),
    }
}

/// A `message:send` of a text.
pub fn message(client_id: &str, conversation: &str, text: &str) -> Value {
    json!({"type": "message:send", "client_id": client_id, "conversation_id": conversation, "text": text})
}
