//! The connection to the server, kept up: connect, authenticate, resume from the last cursor, and again.
//!
//! It knows nothing of rooms and messages: frames go through. What must survive a broken connection (messages without
//! an ack, receipts) is the outbox's and the receipts' business; both speak up again at [`LinkEvent::Online`].

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use protocol::server_frame::{Draining, Ready, close};
use protocol::{Code, ServerFrame, UserId};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::backoff::Backoff;
use super::escape;
use super::server::{Server, Tokens};

type Ws = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// For the TCP connection and the upgrade, and then for `ready`.
const PATIENCE: Duration = Duration::from_secs(10);

/// For one write, and for the goodbye.
const WRITE: Duration = Duration::from_secs(5);

/// A connection that lived so long was a good one: the next wait is short again.
const HELD: Duration = Duration::from_secs(5);

/// Frames on their way out; the application sends one message at a time and few receipts.
const OUTGOING: usize = 64;

/// What the connection tells.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// The session is ready. Frames for it go into the sender, which dies with the connection.
    Online(Box<Ready>, mpsc::Sender<Value>),
    /// A frame.
    Frame(Box<ServerFrame>),
    /// There is no connection; the next attempt comes after the wait.
    Offline(String, Duration),
    /// There will be none.
    Fatal(String),
}

/// What a connection needs.
#[derive(Debug)]
pub(super) struct Link {
    server: Server,
    tokens: Tokens,
    user: UserId,
    device_id: String,
    events: mpsc::Sender<LinkEvent>,
    /// The last one that the server gave.
    cursor: Option<String>,
}

/// How a connection ended.
enum End {
    /// The application has left.
    Left,
    /// It broke, for that reason; reconnect, perhaps not before a time.
    Broken { why: String, not_before: Option<Instant> },
    /// There is no point in trying again.
    Refused(String),
}

impl End {
    fn broken(why: impl Into<String>) -> Self {
        Self::Broken {
            why: why.into(),
            not_before: None,
        }
    }
}

impl Link {
    pub(super) fn new(server: Server, tokens: Tokens, user: UserId, events: mpsc::Sender<LinkEvent>) -> Self {
        let device_id = format!("chat-{}", uuid::Uuid::now_v7());
        Self {
            server,
            tokens,
            user,
            device_id,
            events,
            cursor: None,
        }
    }

    /// Runs until the application drops its ends of the channels, or the server refuses for good.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let mut ready_at = None;
            let end = match self.connect(&mut ready_at).await {
                Ok((ws, ready, outgoing)) => self.live(ws, &ready, outgoing).await,
                Err(end) => end,
            };
            let (why, not_before) = match end {
                End::Left => return,
                End::Refused(why) => return drop(self.events.send(LinkEvent::Fatal(why)).await),
                End::Broken { why, not_before } => (why, not_before),
            };
            if ready_at.is_some_and(|at: Instant| at.elapsed() >= HELD) {
                backoff.reset();
            }
            let wait = match not_before {
                Some(at) => at.saturating_duration_since(Instant::now()),
                None => backoff.next(rand::random()),
            };
            if self.events.send(LinkEvent::Offline(why, wait)).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = self.events.closed() => return,
            }
        }
    }

    /// From nothing to `ready`.
    async fn connect(&mut self, ready_at: &mut Option<Instant>) -> Result<(Ws, Ready, mpsc::Receiver<Value>), End> {
        let mut ws = match timeout(PATIENCE, connect_async(self.server.socket())).await {
            Ok(Ok((ws, _))) => ws,
            Ok(Err(WsError::Io(_))) => return Err(End::broken("no server answers")),
            Ok(Err(error)) => return Err(End::broken(escape::line(&error.to_string()))),
            Err(_) => return Err(End::broken("no answer in time")),
        };
        let token = self
            .tokens
            .token()
            .map_err(|error| End::Refused(format!("{error:#}")))?;
        let mut auth = json!({"type": "auth", "token": token, "device_id": self.device_id});
        if let Some(cursor) = &self.cursor {
            auth["resume"] = json!(cursor);
        }
        write(&mut ws, Message::text(auth.to_string())).await?;
        let waited = timeout(PATIENCE, self.ready(&mut ws)).await;
        let ready = waited.unwrap_or_else(|_| Err(End::broken("no answer in time")))?;
        if ready.user_id != self.user {
            let owner = escape::line(ready.user_id.as_str());
            return Err(End::Refused(format!("the token is {owner}'s: say --user {owner}")));
        }
        *ready_at = Some(Instant::now());
        self.cursor = Some(ready.cursor.clone());
        let (sender, outgoing) = mpsc::channel(OUTGOING);
        self.tell(LinkEvent::Online(Box::new(ready.clone()), sender)).await?;
        Ok((ws, ready, outgoing))
    }

    async fn ready(&self, ws: &mut Ws) -> Result<Ready, End> {
        let mut refused = None;
        loop {
            let message = match ws.next().await {
                Some(Ok(message)) => message,
                Some(Err(_)) | None => return Err(End::broken("the connection broke")),
            };
            match (&message, frame(&message)) {
                (_, Some(ServerFrame::Ready(ready))) => return Ok(ready),
                (_, Some(ServerFrame::Error(error))) if error.code == Code::Unauthenticated => {
                    refused = Some(self.tokens.refused(&escape::line(&error.message)));
                }
                (_, Some(ServerFrame::Error(error))) => {
                    return Err(End::broken(escape::line(&error.message)));
                }
                (Message::Close(_), _) => {
                    let end = self.closed(&message);
                    return Err(refused.map_or(end, End::Refused));
                }
                _ => {}
            }
        }
    }

    /// Passes frames in both directions until the connection ends.
    async fn live(&mut self, mut ws: Ws, ready: &Ready, mut outgoing: mpsc::Receiver<Value>) -> End {
        let silence = Duration::from_millis(ready.heartbeat_ms.clamp(100, 600_000)) * 2;
        let mut heard_at = Instant::now();
        let mut leave_at: Option<Instant> = None;
        let end = loop {
            let step = tokio::select! {
                message = ws.next() => {
                    heard_at = Instant::now();
                    match message {
                        Some(Ok(message)) => self.on_message(message, &mut leave_at).await,
                        Some(Err(_)) | None => Err(End::broken("the connection broke")),
                    }
                }
                given = outgoing.recv() => match given {
                    Some(value) => write(&mut ws, Message::text(value.to_string())).await,
                    None => Err(End::Left),
                },
                () = sleep_until(heard_at + silence) => Err(End::broken("the server has gone silent")),
                () = sleep_until(leave_at.unwrap_or(heard_at)), if leave_at.is_some() => {
                    Err(End::broken("the server is going away"))
                }
            };
            if let Err(end) = step {
                break end;
            }
        };
        // A goodbye that does not arrive changes nothing.
        let _ = timeout(WRITE, ws.close(None)).await;
        match (end, leave_at) {
            (End::Broken { why, .. }, Some(_)) => End::Broken {
                why,
                not_before: leave_at,
            },
            (end, _) => end,
        }
    }

    async fn on_message(&mut self, message: Message, leave_at: &mut Option<Instant>) -> Result<(), End> {
        if let Message::Close(_) = message {
            return Err(self.closed(&message));
        }
        match frame(&message) {
            Some(ServerFrame::Checkpoint(checkpoint)) => self.cursor = Some(checkpoint.cursor),
            Some(ServerFrame::Draining(Draining { reconnect_after_ms })) => {
                *leave_at = Some(Instant::now() + Duration::from_millis(reconnect_after_ms.min(60_000)));
            }
            Some(frame) => self.tell(LinkEvent::Frame(Box::new(frame))).await?,
            // A ping, or a frame of a later version of the protocol.
            None => {}
        }
        Ok(())
    }

    /// What a close frame means.
    fn closed(&self, message: &Message) -> End {
        let Message::Close(Some(close_frame)) = message else {
            return End::broken("the server closed the connection");
        };
        match u16::from(close_frame.code) {
            close::DRAINING => End::broken("the server is going away"),
            close::NOT_A_CLIENT => End::Refused("the server does not understand this client".into()),
            close::UNAUTHENTICATED if matches!(self.tokens, Tokens::Given(_)) => {
                End::Refused("the token has ended: get a new one".into())
            }
            4403 => End::Refused("the server has banned this user".into()),
            close::FLOOD => End::broken("too much was sent"),
            close::UNAVAILABLE => End::broken("the server is not available"),
            code => {
                let reason = escape::line(&close_frame.reason);
                End::broken(format!("the server closed the connection: {code} {reason}"))
            }
        }
    }

    async fn tell(&self, event: LinkEvent) -> Result<(), End> {
        self.events.send(event).await.map_err(|_| End::Left)
    }
}

async fn write(ws: &mut Ws, message: Message) -> Result<(), End> {
    match timeout(WRITE, ws.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::broken("the connection broke")),
    }
}

/// The frame in a message, if this version of the protocol has it.
fn frame(message: &Message) -> Option<ServerFrame> {
    match message {
        Message::Text(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}
