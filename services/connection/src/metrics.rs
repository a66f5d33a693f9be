//! The metrics of this service, and handles of those that are recorded with each frame or delivery.

use std::sync::LazyLock;

use metrics::{Counter, Gauge, counter, gauge};
use protocol::Timestamp;
use protocol::server_frame::ResyncReason;
use telemetry::{Label, Latency, Metric, Samples, Table};
use tokio::time::Instant;

use crate::hub::event::{Event, Kind};

/// Sends over a WebSocket, from frame to ack.
pub static ACKS_WEBSOCKET: Latency = Latency::new(r#"transport="websocket""#);
/// Sends over HTTP, from request to answer.
pub static ACKS_HTTP: Latency = Latency::new(r#"transport="http""#);
/// Deliveries to WebSockets.
pub static DELIVERIES_WEBSOCKET: Latency = Latency::new(r#"transport="websocket""#);
/// Deliveries to event streams.
pub static DELIVERIES_SSE: Latency = Latency::new(r#"transport="sse""#);
/// Deliveries in answers to polls.
pub static DELIVERIES_POLL: Latency = Latency::new(r#"transport="poll""#);

const CODES: &[&str] = &[
    "bad_frame",
    "unknown_type",
    "unauthenticated",
    "not_found",
    "forbidden",
    "invalid",
    "too_large",
    "rate_limited",
    "conflict",
    "unavailable",
    "internal",
    "resync",
];
const CLOSES: &[&str] = &["1001", "1009", "4400", "4401", "4408", "4429", "4503"];
const SENDER: Label = Label::of("transport", &["websocket", "http"]);
const RECEIVER: Label = Label::of("transport", &["websocket", "sse", "poll"]);
const CODE: Label = Label::of("code", CODES);

/// See the module.
pub const METRICS: Table = &[
    Metric::gauge("parley_connections", "Sockets of clients that are open now, whatever they are used for."),
    Metric::counter("parley_connections_accepted_total", "Sockets of clients that were accepted."),
    Metric::gauge("parley_sessions", "Sessions: authenticated WebSockets and event streams, and polls under way."),
    Metric::gauge("parley_sessions_live", "Sessions that are sent what happens as it happens."),
    Metric::gauge(
        "parley_sessions_catching_up",
        "Sessions that are behind in some stream and are served from memory or the log until they have caught up.",
    ),
    Metric::counter(
        "parley_sessions_fell_behind_total",
        "How often a session's queue was full, so that it goes on from the log.",
    ),
    Metric::counter("parley_event_streams_total", "Event streams (`GET /v1/events`) that were opened."),
    Metric::counter("parley_closes_total", "WebSockets that this node closed, by close code.").with(&[Label::of("code", CLOSES)]),
    Metric::counter("parley_frames_in_total", "Text frames that came from clients."),
    Metric::counter(
        "parley_frames_out_total",
        "Frames that were handed to WebSockets: answers to the client's own, events of the log, live signals.",
    )
    .with(&[Label::of("kind", &["answer", "event", "signal"])]),
    Metric::counter("parley_frames_refused_total", "Frames that were answered with an error.").with(&[CODE]),
    Metric::counter("parley_http_problems_total", "HTTP requests that were answered with a problem document.").with(&[CODE]),
    Metric::histogram(
        "parley_send_ack_seconds",
        "From reading a send to its ack being handed to the socket, or answered; on this node's clock. Only sends that were acked.",
    )
    .with(&[SENDER])
    .held(&[&ACKS_WEBSOCKET, &ACKS_HTTP]),
    Metric::counter(
        "parley_send_failures_total",
        "Sends that were answered with a fault of the server's instead of an ack; their clients repeat them.",
    )
    .with(&[SENDER, Label::of("code", &["unavailable", "internal"])]),
    Metric::histogram(
        "parley_delivery_seconds",
        "From accepting a message, by the clock of the message service, to handing it to a socket, by the clock of this node, \
         each delivery counted; only of what came live, not of what was replayed.",
    )
    .with(&[RECEIVER])
    .held(&[&DELIVERIES_WEBSOCKET, &DELIVERIES_SSE, &DELIVERIES_POLL]),
    Metric::counter(
        "parley_gaps_detected_total",
        "Events whose conversation's previous event is not the one before them: somebody would miss one. Must stay 0.",
    )
    .with(&[Label::of("tier", &["live", "stream"])]),
    Metric::counter(
        "parley_replays_total",
        "Steps of sessions that were behind: from memory, from the stream, or, where neither reaches back, told to read the \
         history (`resync`), which MongoDB serves.",
    )
    .with(&[Label::of("tier", &["memory", "stream", "resync"])]),
    Metric::counter("parley_replayed_events_total", "Events that sessions were served by replay.")
        .with(&[Label::of("tier", &["memory", "stream"])]),
    Metric::counter("parley_resyncs_total", "How often a client was told to read everything anew, and why.")
        .with(&[Label::of("reason", &["bad_cursor", "expired", "other_log"])]),
    Metric::counter("parley_log_resets_total", "How often a stream was found made anew, or cut."),
    Metric::counter("parley_rate_limited_total", "Frames and sends that were refused because there were too many.")
        .with(&[SENDER]),
    Metric::counter("parley_floods_total", "Sockets that were closed because they sent nothing but refused frames."),
    Metric::counter(
        "parley_receipts_coalesced_total",
        "Receipts that needed no request or no write of their own, since a later one took their place.",
    )
    .with(&[Label::of("at", &["session"])]),
    Metric::counter(
        "parley_device_confirmations_total",
        "What devices have confirmed, for push: written down, or dropped because nothing could be written.",
    )
    .with(&[Label::of("outcome", &["written", "dropped"])]),
    Metric::counter("parley_unreadable_total", "Entries and messages that this version cannot read, and skips.")
        .with(&[Label::of("what", &["event", "signal", "membership"])]),
    Metric::counter("parley_signals_dropped_total", "Live signals that a session's queue had no room for."),
    Metric::counter("parley_typing_unsent_total", "Starts and stops of typing that could not be passed on."),
    Metric::counter("parley_typing_dropped_total", "Starts of typing that found no room on this node."),
    Metric::gauge("parley_rooms", "Rooms that sockets of this node are subscribed to."),
    Metric::gauge("parley_room_members", "Members of these rooms that this node knows."),
    Metric::gauge("parley_subscriptions", "Subscriptions of sockets to rooms."),
    Metric::counter("parley_rooms_refused_total", "Subscriptions that were refused because the presence service did not answer."),
    Metric::counter("parley_room_comparisons_failed_total", "Rooms that could not be compared with the presence service."),
    Metric::counter("parley_reports_unsent_total", "Reports to the presence service that could not be sent."),
];

/// What this process records as a connection node.
pub const TABLES: &[Table] = &[
    METRICS,
    lifecycle::METRICS,
    bus::metrics::METRICS,
    bus::metrics::TAIL,
    bus::metrics::BATCH,
];

/// Handles of what is recorded with each frame.
pub struct Held {
    /// `parley_frames_in_total`
    pub frames_in: Counter,
    answers_out: Counter,
    events_out: Counter,
    signals_out: Counter,
    /// `parley_connections`
    pub connections: Gauge,
    /// `parley_sessions`
    pub sessions: Gauge,
    live: Gauge,
    catching_up: Gauge,
    /// `parley_receipts_coalesced_total`
    pub receipts_coalesced: Counter,
}

/// Made at the first use: after the metrics were declared.
pub static HELD: LazyLock<Held> = LazyLock::new(|| Held {
    frames_in: counter!("parley_frames_in_total"),
    answers_out: counter!("parley_frames_out_total", "kind" => "answer"),
    events_out: counter!("parley_frames_out_total", "kind" => "event"),
    signals_out: counter!("parley_frames_out_total", "kind" => "signal"),
    connections: gauge!("parley_connections"),
    sessions: gauge!("parley_sessions"),
    live: gauge!("parley_sessions_live"),
    catching_up: gauge!("parley_sessions_catching_up"),
    receipts_coalesced: counter!("parley_receipts_coalesced_total", "at" => "session"),
});

/// What one write to a WebSocket holds; counted when it is dropped.
#[derive(Debug, Default)]
pub struct Written {
    /// Answers to the client's own frames, and what else is only for it.
    pub answers: u64,
    /// Live signals.
    pub signals: u64,
    events: u64,
    /// Read once a write.
    now: Option<Timestamp>,
    delivered: Samples,
}

impl Written {
    /// An event went out. `live`: not read by a replay.
    pub fn event(&mut self, event: &Event, live: bool) {
        self.events += 1;
        if live && matches!(event.kind, Kind::Message(..)) {
            let now = self.now.get_or_insert_with(Timestamp::now);
            self.delivered.add_ms(now.as_millis() - event.timestamp.as_millis());
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let held = &*HELD;
        for (count, counter) in [
            (self.answers, &held.answers_out),
            (self.events, &held.events_out),
            (self.signals, &held.signals_out),
        ] {
            if count > 0 {
                counter.increment(count);
            }
        }
        if self.now.is_some() {
            DELIVERIES_WEBSOCKET.record_all(&mut self.delivered);
        }
    }
}

/// A message was handed to something other than a WebSocket. `live`: not read by a replay.
pub fn delivered(latency: &Latency, event: &Event, live: bool) {
    if live && matches!(event.kind, Kind::Message(..)) {
        let took_ms = Timestamp::now().as_millis() - event.timestamp.as_millis();
        latency.record(std::time::Duration::from_millis(u64::try_from(took_ms).unwrap_or(0)));
    }
}

/// Acks of sends that came at these times have been handed to the socket.
pub fn acked(came: Vec<Instant>) {
    if !came.is_empty() {
        let now = Instant::now();
        came.iter()
            .for_each(|at| ACKS_WEBSOCKET.record(now.saturating_duration_since(*at)));
    }
}

/// A client was told to read everything anew.
pub fn resync(reason: ResyncReason) {
    let reason = match reason {
        ResyncReason::BadCursor => "bad_cursor",
        ResyncReason::Expired => "expired",
        ResyncReason::OtherLog => "other_log",
    };
    counter!("parley_resyncs_total", "reason" => reason).increment(1);
    counter!("parley_replays_total", "tier" => "resync").increment(1);
}

/// An event did not follow the one before it.
pub fn gap(tier: &'static str, event: &Event, expected: u64) {
    counter!("parley_gaps_detected_total", "tier" => tier).increment(1);
    tracing::error!(
        tier,
        conversation = event.conversation_id.as_str(),
        seq = event.seq,
        expected,
        position = event.position,
        "an event does not follow the one before it: see docs/runbooks"
    );
}

/// Counts a session as live or catching up, for as long as it is held.
#[derive(Debug)]
pub struct Standing {
    live: bool,
}

impl Standing {
    /// As a session begins.
    pub fn behind() -> Self {
        HELD.catching_up.increment(1.0);
        Self { live: false }
    }

    /// Notes whether it is live now.
    pub fn set(&mut self, live: bool) {
        if self.live != live {
            self.live = live;
            let (up, down) = if live {
                (&HELD.live, &HELD.catching_up)
            } else {
                (&HELD.catching_up, &HELD.live)
            };
            up.increment(1.0);
            down.decrement(1.0);
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let gauge = if self.live { &HELD.live } else { &HELD.catching_up };
        gauge.decrement(1.0);
    }
}
