//! The one task of a socket: the only reader, the only writer, one loop.
//!
//! Frames that wait for the socket are handed over together and go out in one write. While a write is under way the
//! queue fills; when it is full the session falls behind, and is served from the log as fast as the socket takes it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use protocol::server_frame::{Draining, ErrorFrame, close};
use protocol::{Code, Refusal, ServerFrame, Timestamp};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};
use tracing::Span;

use super::feed::{AGAIN, Feed, Read};
use super::limiter::Limiter;
use super::live::TypingSent;
use super::marks::{self, Marks};
use super::own::Own;
use super::requests::{Outcome, Requests};
use super::{Meter, Session, frames};
use crate::app::App;
use crate::drain;
use crate::token::Caller;

/// A WebSocket as this service holds it.
pub type Ws = WebSocketStream<Meter>;

/// Bytes handed to the socket before they are flushed.
const WRITE_BYTES: usize = 64 * 1024;
/// Frames read before the answers to them go out.
const READ_FRAMES: usize = 32;
/// Answers that wait for a socket that takes nothing, before the session stops reading it.
const OUTBOX_MOST: usize = 512;

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client closed, or the connection broke: nobody is there to be told.
    Gone,
    /// Close with this code and reason.
    Close(u16, &'static str),
}

/// See the module.
pub struct Socket {
    pub(super) app: Arc<App>,
    pub(super) session: Arc<Session>,
    ws: Ws,
    pub(super) outbox: VecDeque<Utf8Bytes>,
    pub(super) own: Own,
    pub(super) requests: Requests,
    pub(super) sends: Limiter,
    pub(super) others: Limiter,
    pub(super) typing_sent: TypingSent,
    pub(super) marks: Marks,
    /// Cursor of the last checkpoint, or of `ready`.
    pub(super) cursor: String,
    pub(super) expires_at: Instant,
    /// As the token says it.
    pub(super) sender_name: Option<String>,
    /// W3C trace context of the upgrade, for frames that have none of their own.
    pub(super) traceparent: Option<String>,
    inbox: Vec<Message>,
    /// What ended the stream of frames in `inbox`.
    broken: Option<Turn>,
    pub(super) feed: Feed,
    /// Of events that are traced, and on their way.
    delivering: Vec<Span>,
    /// Whether it was a live signal's turn to go out, not an event's.
    signal_last: bool,
    writing: bool,
    /// The flush under way holds events, not only the server's pings.
    writing_events: bool,
    pub(super) checkpoint_at: Option<Instant>,
    ping_at: Instant,
    alive_at: Instant,
    written: u64,
    drain_until: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

enum Turn {
    Frames,
    Broken(WsError),
    Closed,
    Flushed(Result<(), WsError>),
    Bell,
    Answer(Outcome),
    Page(Read),
    Time,
}

impl Socket {
    /// A socket whose session was just attached. `ready` and what belongs to it are already in `outbox`.
    pub fn new(
        app: Arc<App>,
        (session, feed): (Arc<Session>, Feed),
        ws: Ws,
        outbox: Vec<ServerFrame>,
        cursor: String,
        caller: &Caller,
        traceparent: Option<String>,
    ) -> Self {
        let now = Instant::now();
        let rate = app.settings.sends_per_second;
        let requests = Requests::new(app.sends.clone(), app.confirmations.clone());
        Self {
            ws,
            outbox: outbox.iter().map(|frame| frame.encode().into()).collect(),
            own: Own::new(app.settings.log_is_ack),
            requests,
            sends: Limiter::new(rate, now),
            others: Limiter::new(rate.saturating_mul(frames::OTHERS_PER_SEND), now),
            typing_sent: TypingSent::default(),
            marks: Marks::default(),
            cursor,
            expires_at: caller.ends_at(Timestamp::now(), now),
            sender_name: caller.name.clone(),
            traceparent,
            inbox: Vec::new(),
            broken: None,
            feed,
            delivering: Vec::new(),
            signal_last: false,
            writing: false,
            writing_events: false,
            checkpoint_at: None,
            ping_at: now + app.settings.heartbeat,
            alive_at: now,
            written: 0,
            drain_until: None,
            timer: Box::pin(tokio::time::sleep_until(now)),
            app,
            session,
        }
    }

    /// Serves the socket to its end, and closes it.
    pub async fn run(mut self) {
        let end = self.serve().await;
        self.app.detach(&self.session);
        self.requests.stop();
        let last = marks::write_last(&self.app, &self.session, &mut self.marks, &mut self.requests);
        let goodbye = say_goodbye(&mut self.ws, std::mem::take(&mut self.outbox), end);
        tokio::join!(last, goodbye);
    }

    async fn serve(&mut self) -> End {
        loop {
            if let Err(end) = self.fill() {
                return end;
            }
            let deadline = self.deadline();
            // A timer that fires too early finds nothing to do; one that is set at every turn costs at every turn.
            if deadline < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(deadline);
            }
            let turn = std::future::poll_fn(|cx| self.poll_turn(cx)).await;
            if let Err(end) = self.on_turn(turn) {
                return end;
            }
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.writing
            && let Poll::Ready(result) = Pin::new(&mut self.ws).poll_flush(cx)
        {
            return Poll::Ready(Turn::Flushed(result));
        }
        if let Poll::Ready(outcome) = self.requests.poll_next(cx) {
            return Poll::Ready(Turn::Answer(outcome));
        }
        if let Some(turn) = self.poll_read(cx) {
            return Poll::Ready(turn);
        }
        if let Poll::Ready(read) = self.feed.poll_page(cx) {
            return Poll::Ready(Turn::Page(read));
        }
        if self.session.heard(cx.waker()) {
            return Poll::Ready(Turn::Bell);
        }
        self.timer.as_mut().poll(cx).map(|()| Turn::Time)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Option<Turn> {
        if self.requests.is_full() || self.outbox.len() >= OUTBOX_MOST {
            return None;
        }
        while self.broken.is_none() && self.inbox.len() < READ_FRAMES {
            match Pin::new(&mut self.ws).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => self.inbox.push(message),
                Poll::Ready(Some(Err(error))) => self.broken = Some(Turn::Broken(error)),
                Poll::Ready(None) => self.broken = Some(Turn::Closed),
                Poll::Pending => break,
            }
        }
        if self.inbox.is_empty() {
            self.broken.take()
        } else {
            Some(Turn::Frames)
        }
    }

    fn on_turn(&mut self, turn: Turn) -> Result<(), End> {
        match turn {
            Turn::Frames => self.on_frames(),
            Turn::Broken(WsError::Capacity(CapacityError::MessageTooLong { .. })) => {
                let refusal = Refusal::new(Code::TooLarge, "a frame has at most 65536 bytes");
                self.outbox
                    .push_back(ServerFrame::Error(ErrorFrame::of(refusal, None, None)).encode().into());
                Err(End::Close(close::TOO_LARGE, "frame too large"))
            }
            Turn::Broken(_) | Turn::Closed => Err(End::Gone),
            Turn::Flushed(Ok(())) => {
                self.note_progress();
                if self.writing_events {
                    self.session.queue().note_written();
                }
                self.writing = false;
                self.writing_events = false;
                self.delivering = Vec::new();
                Ok(())
            }
            Turn::Flushed(Err(_)) => Err(End::Gone),
            Turn::Bell => Ok(()),
            Turn::Answer(outcome) => {
                self.on_answer(outcome);
                Ok(())
            }
            Turn::Page(read) => {
                self.feed.on_page(read);
                Ok(())
            }
            Turn::Time => self.on_time(Instant::now()),
        }
    }

    fn on_frames(&mut self) -> Result<(), End> {
        self.alive_at = Instant::now();
        for message in std::mem::take(&mut self.inbox) {
            match message {
                Message::Text(text) => frames::on_text(self, &text)?,
                Message::Binary(_) => {
                    let refusal = Refusal::new(Code::BadFrame, "frames are text, not binary");
                    self.reply(ServerFrame::Error(ErrorFrame::of(refusal, None, None)));
                }
                Message::Close(_) => return Err(End::Gone),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Ok(())
    }

    /// Hands frames to the socket until it has enough for one write, brings lanes forward that are behind, and adds
    /// what is due. Does nothing while a write is under way.
    fn fill(&mut self) -> Result<(), End> {
        if self.writing {
            return Ok(());
        }
        let resync = self.session.queue().take_resync();
        if let Some(reason) = resync {
            self.on_resync(reason);
        }
        if self.drain_until.is_none()
            && let Some(reconnect_after_ms) = self.session.draining()
        {
            self.start_draining(reconnect_after_ms);
        }
        let mut bytes = 0;
        loop {
            while bytes < WRITE_BYTES
                && let Some(text) = self.next_text()
            {
                bytes += text.len();
                self.write(Message::Text(text))?;
            }
            if bytes >= WRITE_BYTES || !self.step() {
                break;
            }
        }
        if self.checkpoint_at.is_some_and(|at| at <= Instant::now())
            && let Some(text) = self.checkpoint()
        {
            self.write(Message::Text(text))?;
        }
        Ok(())
    }

    fn write(&mut self, message: Message) -> Result<(), End> {
        self.writing = true;
        self.writing_events |= matches!(message, Message::Text(_));
        Pin::new(&mut self.ws).start_send(message).map_err(|_| End::Gone)
    }

    fn next_text(&mut self) -> Option<Utf8Bytes> {
        if let Some(text) = self.outbox.pop_front() {
            return Some(text);
        }
        // By turns: neither holds up the other, however much of it there is.
        self.signal_last = !self.signal_last;
        if self.signal_last {
            self.next_signal().or_else(|| self.next_event())
        } else {
            self.next_event().or_else(|| self.next_signal())
        }
    }

    fn next_signal(&mut self) -> Option<Utf8Bytes> {
        self.session.queue().pop_signal()
    }

    fn next_event(&mut self) -> Option<Utf8Bytes> {
        loop {
            let event = self.feed.pop()?;
            self.checkpoint_soon();
            if let Some(text) = self.text_of(&event) {
                self.delivering.extend(event.delivery_span(&self.session, "websocket"));
                return Some(text);
            }
        }
    }

    fn start_draining(&mut self, reconnect_after_ms: u64) {
        self.reply(ServerFrame::Draining(Draining { reconnect_after_ms }));
        self.checkpoint_at = Some(Instant::now());
        self.drain_until = Some(Instant::now() + drain::SOCKET);
    }

    fn note_progress(&mut self) {
        let written = self.ws.get_ref().written();
        if self.writing_events && written > self.written {
            self.alive_at = Instant::now();
        }
        self.written = written;
    }

    fn deadline(&self) -> Instant {
        let dead_at = self.alive_at + self.app.settings.heartbeat_timeout();
        let mut at = self.ping_at.min(dead_at).min(self.expires_at);
        let checkpoint = if self.writing { None } else { self.checkpoint_at };
        let idle = self.session.idle_at(self.app.settings.away_after);
        for other in [
            checkpoint,
            self.feed.again_at(),
            self.drain_until,
            idle,
            self.marks.next_at(),
        ]
        .into_iter()
        .flatten()
        {
            at = at.min(other);
        }
        if let Some(until) = self.drain_until {
            let told = until - drain::SOCKET + drain::LINGER;
            at.min(told.max(Instant::now() + AGAIN))
        } else {
            at
        }
    }

    fn on_time(&mut self, now: Instant) -> Result<(), End> {
        if now >= self.expires_at {
            let refusal = Refusal::new(Code::Unauthenticated, "the token has expired: reconnect with a new one");
            self.reply(ServerFrame::Error(ErrorFrame::of(refusal, None, None)));
            self.fill()?;
            return Err(End::Close(close::UNAUTHENTICATED, "token expired"));
        }
        if let Some(until) = self.drain_until {
            let idle = self.requests.is_empty() && self.outbox.is_empty() && !self.writing;
            let told = now + drain::SOCKET >= until + drain::LINGER;
            if (idle && told) || now >= until {
                return Err(End::Close(close::DRAINING, "draining"));
            }
        }
        self.note_progress();
        if now >= self.alive_at + self.app.settings.heartbeat_timeout() {
            return Err(End::Close(close::TIMEOUT, "no heartbeat"));
        }
        if now >= self.ping_at {
            self.ping_at = now + self.app.settings.heartbeat;
            if !self.writing {
                self.write(Message::Ping(bytes::Bytes::new()))?;
            }
        }
        self.feed.on_time(now);
        if self.app.note_idle(&self.session, now) {
            self.on_looked();
        }
        self.write_due_marks(now);
        Ok(())
    }
}

/// What still waits for the client, and why the socket closes, where anybody is there to be told.
async fn say_goodbye(ws: &mut Ws, outbox: VecDeque<Utf8Bytes>, end: End) {
    let End::Close(code, reason) = end else { return };
    for text in outbox {
        if Pin::new(&mut *ws).start_send(Message::Text(text)).is_err() {
            return;
        }
    }
    super::handshake::close(ws, code, reason).await;
}
