//! What a mobile app does: it keeps what is not acked as pending, reconnects with backoff anywhere and resumes with its
//! cursor, sends pending messages again under the same client id, and drops what it has already.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rand::Rng;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::client_id;
use super::connect::Connect;
use super::invariants::{SocketView, View};
use super::people::User;
use super::wait::until;

/// An unanswered send is repeated after this.
const ACK_PATIENCE: Duration = Duration::from_secs(3);
/// A socket from which nothing comes for this long, in spite of pings, is given up.
const SILENCE_PATIENCE: Duration = Duration::from_secs(4);
const PING_EVERY: Duration = Duration::from_millis(500);

/// One installation of the app.
pub struct Reliable {
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    connect: Connect,
    nodes: usize,
    work: Notify,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    view: View,
    cursor: Option<String>,
    pending: Vec<Pending>,
    acked: usize,
    refused: Vec<Value>,
}

struct Pending {
    client_id: String,
    conversation: String,
    text: String,
    retry: bool,
    due: Instant,
}

type Stream = WebSocketStream<TcpStream>;

impl Reliable {
    /// Starts the app and waits until it has been connected once.
    pub async fn start(user: &User, first_node: usize) -> Self {
        let state = Arc::new(State {
            connect: user.socket().device(&client_id()),
            nodes: user.nodes().len(),
            work: Notify::new(),
            inner: Mutex::new(Inner {
                view: View {
                    user: user.id.clone(),
                    sockets: Vec::new(),
                },
                ..Inner::default()
            }),
        });
        let task = tokio::spawn(Arc::clone(&state).run(first_node));
        let app = Self { state, task };
        until("the app to connect", super::PATIENCE, async || {
            app.state.inner.lock().unwrap().cursor.clone()
        })
        .await;
        app
    }

    /// Sends a message now or as soon as possible.
    pub fn send(&self, conversation: &str, text: String) {
        let (client_id, conversation) = (client_id(), conversation.to_owned());
        let pending = Pending {
            client_id,
            conversation,
            text,
            retry: false,
            due: Instant::now(),
        };
        self.state.inner.lock().unwrap().pending.push(pending);
        self.state.work.notify_one();
    }

    /// How many messages wait for their ack.
    pub fn pending(&self) -> usize {
        self.state.inner.lock().unwrap().pending.len()
    }

    /// How many messages were acked.
    pub fn acked(&self) -> usize {
        self.state.inner.lock().unwrap().acked
    }

    /// Waits until everything is acked.
    ///
    /// # Panics
    /// If a send was refused for good.
    pub async fn all_acked(&self, patience: Duration) {
        let all = async || (self.pending() == 0).then_some(());
        until(
            &format!("{} to get all acks, {} pending", self.user(), self.pending()),
            patience,
            all,
        )
        .await;
        let refused = &self.state.inner.lock().unwrap().refused;
        assert!(refused.is_empty(), "refused: {refused:?}");
    }

    /// Waits until events or acks up to `seq` have come.
    pub async fn caught_up(&self, conversation: &str, seq: u64, patience: Duration) {
        let reached = async || {
            let inner = self.state.inner.lock().unwrap();
            let frames = inner.view.sockets.iter().rev().flat_map(|it| it.frames.iter().rev());
            let mut own = frames.filter(|it| it["conversation_id"] == conversation);
            own.any(|it| it["seq"].as_u64() >= Some(seq)).then_some(())
        };
        until(&format!("{} to see seq {seq}", self.user()), patience, reached).await;
    }

    /// Ends the app; what it saw.
    pub fn finish(self) -> View {
        self.task.abort();
        std::mem::take(&mut self.state.inner.lock().unwrap().view)
    }

    fn user(&self) -> String {
        self.state.inner.lock().unwrap().view.user.clone()
    }
}

impl Drop for Reliable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    async fn run(self: Arc<Self>, first_node: usize) {
        let mut backoff = Duration::from_millis(50);
        for attempt in first_node.. {
            let resume = self.inner.lock().unwrap().cursor.clone();
            let mut connect = self.connect.clone().node(attempt % self.nodes).first_frame();
            if let Some(cursor) = &resume {
                connect = connect.resume(cursor);
            }
            let opened = tokio::time::timeout(Duration::from_secs(2), connect.upgrade()).await;
            if let Ok(Ok(stream)) = opened {
                let sockets = self.inner.lock().unwrap().view.sockets.len();
                self.session(stream, connect.auth_frame(), resume).await;
                let got_on = self.inner.lock().unwrap().view.sockets.len() > sockets;
                backoff = if got_on { Duration::from_millis(50) } else { backoff };
            }
            let jitter = rand::rng().random_range(0..50);
            tokio::time::sleep(backoff + Duration::from_millis(jitter)).await;
            backoff = (backoff * 2).min(Duration::from_secs(1));
        }
    }

    /// One socket's life.
    async fn session(&self, mut stream: Stream, auth: Value, resume: Option<String>) {
        if stream.send(Message::text(auth.to_string())).await.is_err() {
            return;
        }
        let mut timer = tokio::time::interval(PING_EVERY);
        let mut heard = Instant::now();
        let mut ready = false;
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        heard = Instant::now();
                        let frame = serde_json::from_str(&text).expect("the server sends JSON");
                        ready |= self.on_frame(frame, &resume);
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => heard = Instant::now(),
                },
                () = self.work.notified() => {}
                _ = timer.tick() => {
                    let ping = Message::text(r#"{"type":"ping"}"#);
                    if heard.elapsed() > SILENCE_PATIENCE || (ready && stream.send(ping).await.is_err()) {
                        return;
                    }
                }
            }
            if ready && self.send_due(&mut stream).await.is_err() {
                return;
            }
        }
    }

    /// Records a frame; whether it was `ready`.
    fn on_frame(&self, frame: Value, resume: &Option<String>) -> bool {
        let mut inner = self.inner.lock().unwrap();
        let is_ready = frame["type"] == "ready";
        match frame["type"].as_str().expect("a frame has a type") {
            "ready" => {
                inner.view.sockets.push(SocketView {
                    resume: resume.clone(),
                    ..SocketView::default()
                });
                inner.take_cursor(&frame);
                for pending in &mut inner.pending {
                    pending.due = Instant::now();
                }
            }
            "checkpoint" => inner.take_cursor(&frame),
            "message:ack" => {
                let before = inner.pending.len();
                inner.pending.retain(|it| frame["client_id"] != it.client_id.as_str());
                inner.acked += before - inner.pending.len();
            }
            "error" => inner.on_error(&frame),
            "pong" => return false,
            _ => {}
        }
        if let Some(socket) = inner.view.sockets.last_mut() {
            socket.frames.push(frame);
        }
        is_ready
    }

    async fn send_due(&self, stream: &mut Stream) -> Result<(), ()> {
        let now = Instant::now();
        let due = self.inner.lock().unwrap().due(now);
        for frame in due {
            stream.feed(Message::text(frame.to_string())).await.map_err(drop)?;
        }
        stream.flush().await.map_err(drop)
    }
}

impl Inner {
    fn take_cursor(&mut self, frame: &Value) {
        self.cursor = Some(frame["cursor"].as_str().expect("a cursor is a string").to_owned());
    }

    /// The frames that are to be sent now, which are noted as sent on the present socket.
    fn due(&mut self, now: Instant) -> Vec<Value> {
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
