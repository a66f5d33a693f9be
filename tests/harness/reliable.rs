//! What a mobile app does: it keeps what is not acked as pending, reconnects with backoff anywhere and resumes with its
//! cursor, sends pending messages again under the same client id, drops what it has already, and says what was read.

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
use super::invariants::View;
use super::outbox::Memory;
use super::people::User;
use super::wait::until;

/// The close code of a node that goes away, also noted where the app leaves first, as it was asked to.
pub const DRAINING: u16 = 1001;
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
    subscribe: Notify,
    memory: Mutex<Memory>,
}

type Stream = WebSocketStream<TcpStream>;

impl Reliable {
    /// Starts the app and waits until it has been connected once.
    pub async fn start(user: &User, first_node: usize) -> Self {
        let state = Arc::new(State {
            connect: user.socket().device(&client_id()),
            nodes: user.nodes().len(),
            work: Notify::new(),
            subscribe: Notify::new(),
            memory: Mutex::new(Memory::of(&user.id)),
        });
        let task = tokio::spawn(Arc::clone(&state).run(first_node));
        let app = Self { state, task };
        until("the app to connect", super::PATIENCE, async || {
            app.state.memory.lock().unwrap().cursor.clone()
        })
        .await;
        app
    }

    /// Sends a message now or as soon as possible.
    pub fn send(&self, conversation: &str, text: String) {
        self.state.memory.lock().unwrap().send(conversation, text);
        self.state.work.notify_one();
    }

    /// How many messages wait for their ack.
    pub fn pending(&self) -> usize {
        self.state.memory.lock().unwrap().pending.len()
    }

    /// How many messages were acked.
    pub fn acked(&self) -> usize {
        self.state.memory.lock().unwrap().acked
    }

    /// Whether all messages are acked that were written before.
    pub fn is_acked_before(&self, time: Instant) -> bool {
        self.state.memory.lock().unwrap().oldest().is_none_or(|it| it >= time)
    }

    /// How long those messages waited for their acks that were written since then.
    pub fn waits_since(&self, since: Instant) -> Vec<Duration> {
        let memory = self.state.memory.lock().unwrap();
        let waits = memory.waits.iter().filter(|it| it.0 >= since);
        waits.map(|it| it.1).collect()
    }

    /// The longest time that a send waited for its ack so far, one that still waits included.
    pub fn longest_unanswered(&self) -> Duration {
        let memory = self.state.memory.lock().unwrap();
        memory.waiting().fold(memory.longest, Duration::max)
    }

    /// The close codes of its sockets so far, in order; none where the connection broke or the app left by itself.
    pub fn ends(&self) -> Vec<Option<u16>> {
        self.state.memory.lock().unwrap().ends.clone()
    }

    /// Asks for the signals of a room, on this socket and all later ones.
    pub fn watch(&self, room: &str) {
        self.state.memory.lock().unwrap().watched.push(room.to_owned());
        self.state.subscribe.notify_one();
    }

    /// The frames of a type so far, of all sockets.
    pub fn frames(&self, kind: &str) -> Vec<Value> {
        let memory = self.state.memory.lock().unwrap();
        let frames = memory.view.sockets.iter().flat_map(|it| &it.frames);
        frames.filter(|it| it["type"] == kind).cloned().collect()
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
        let refused = &self.state.memory.lock().unwrap().refused;
        assert!(refused.is_empty(), "refused: {refused:?}");
    }

    /// Waits until events or acks up to `seq` have come.
    pub async fn caught_up(&self, conversation: &str, seq: u64, patience: Duration) {
        let reached = async || {
            let memory = self.state.memory.lock().unwrap();
            let frames = memory.view.sockets.iter().rev().flat_map(|it| it.frames.iter().rev());
            let mut own = frames.filter(|it| it["conversation_id"] == conversation);
            own.any(|it| it["seq"].as_u64() >= Some(seq)).then_some(())
        };
        until(&format!("{} to see seq {seq}", self.user()), patience, reached).await;
    }

    /// Waits until it was told that another user has read everything up to `seq`.
    pub async fn told_read(&self, conversation: &str, user: &str, seq: u64, patience: Duration) {
        let told = async || {
            let memory = self.state.memory.lock().unwrap();
            let frames = memory.view.sockets.iter().rev().flat_map(|it| it.frames.iter().rev());
            let mut marks = frames.filter(|it| {
                it["type"] == "message:read" && it["conversation_id"] == conversation && it["user_id"] == user
            });
            marks.any(|it| it["seq"].as_u64() >= Some(seq)).then_some(())
        };
        let what = format!(
            "{} to be told that {user} has read {conversation} up to {seq}",
            self.user()
        );
        until(&what, patience, told).await;
    }

    /// Ends the app; what it saw.
    pub fn finish(self) -> View {
        self.task.abort();
        std::mem::take(&mut self.state.memory.lock().unwrap().view)
    }

    fn user(&self) -> String {
        self.state.memory.lock().unwrap().view.user.clone()
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
            let resume = self.memory.lock().unwrap().cursor.clone();
            let mut connect = self.connect.clone().node(attempt % self.nodes).first_frame();
            if let Some(cursor) = &resume {
                connect = connect.resume(cursor);
            }
            let opened = tokio::time::timeout(Duration::from_secs(2), connect.upgrade()).await;
            if let Ok(Ok(stream)) = opened {
                let sockets = self.memory.lock().unwrap().view.sockets.len();
                let mut back_at = None;
                let end = self.session(stream, connect.auth_frame(), resume, &mut back_at).await;
                let got_on = {
                    let mut memory = self.memory.lock().unwrap();
                    memory.ends.push(end);
                    memory.view.sockets.len() > sockets
                };
                if let Some(at) = back_at {
                    // Asked to come back then: the node knows how many others do.
                    tokio::time::sleep_until(at).await;
                    backoff = Duration::from_millis(50);
                    continue;
                }
                backoff = if got_on { Duration::from_millis(50) } else { backoff };
            }
            let jitter = rand::rng().random_range(0..50);
            tokio::time::sleep(backoff + Duration::from_millis(jitter)).await;
            backoff = (backoff * 2).min(Duration::from_secs(1));
        }
    }

    /// One socket's life, and its close code. `back_at`: when the server asked the app to come back.
    async fn session(
        &self,
        mut stream: Stream,
        auth: Value,
        resume: Option<String>,
        back_at: &mut Option<tokio::time::Instant>,
    ) -> Option<u16> {
        stream.send(Message::text(auth.to_string())).await.ok()?;
        let mut timer = tokio::time::interval(PING_EVERY);
        let mut heard = Instant::now();
        let mut ready = false;
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        heard = Instant::now();
                        let frame: Value = serde_json::from_str(&text).expect("the server sends JSON");
                        if frame["type"] == "draining" {
                            let pause = Duration::from_millis(frame["reconnect_after_ms"].as_u64()?);
                            *back_at = Some(tokio::time::Instant::now() + pause);
                        }
                        if self.memory.lock().unwrap().on_frame(frame, &resume) {
                            ready = true;
                            self.subscribe.notify_one();
                        }
                    }
                    Some(Ok(Message::Close(close))) => return close.map(|it| it.code.into()),
                    Some(Err(_)) | None => return None,
                    Some(Ok(_)) => heard = Instant::now(),
                },
                () = self.work.notified() => {}
                () = tokio::time::sleep_until(back_at.unwrap_or_else(tokio::time::Instant::now)), if back_at.is_some() => {
                    return Some(DRAINING);
                }
                () = self.subscribe.notified(), if ready => self.ask_for_signals(&mut stream).await.ok()?,
                _ = timer.tick() => {
                    if heard.elapsed() > SILENCE_PATIENCE || (ready && self.on_tick(&mut stream).await.is_err()) {
                        return None;
                    }
                }
            }
            // What is sent to a node that goes away may be read by nobody.
            if ready && back_at.is_none() {
                self.send_due(&mut stream).await.ok()?;
            }
        }
    }

    async fn ask_for_signals(&self, stream: &mut Stream) -> Result<(), ()> {
        let rooms = self.memory.lock().unwrap().watched.clone();
        for room in rooms {
            let frame = json!({"type": "subscribe", "conversation_id": room});
            stream.feed(Message::text(frame.to_string())).await.map_err(drop)?;
        }
        stream.flush().await.map_err(drop)
    }

    /// Pings, and marks what has come meanwhile as read.
    async fn on_tick(&self, stream: &mut Stream) -> Result<(), ()> {
        let marks = self.memory.lock().unwrap().marks();
        let frames = std::iter::once(json!({"type": "ping"})).chain(marks);
        for frame in frames {
            stream.feed(Message::text(frame.to_string())).await.map_err(drop)?;
        }
        stream.flush().await.map_err(drop)
    }

    async fn send_due(&self, stream: &mut Stream) -> Result<(), ()> {
        let now = Instant::now();
        let due = self.memory.lock().unwrap().due(now);
        for frame in due {
            stream.feed(Message::text(frame.to_string())).await.map_err(drop)?;
        }
        stream.flush().await.map_err(drop)
    }
}
