//! The metrics of this service, and how those are recorded that come with each frame or delivery ([`held`]).

mod held;

use telemetry::{Label, Latency, Metric, Table};

pub(crate) use self::held::{HELD, Standing, Written, acked, delivered, gap, resync};

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
pub static METRICS: Table = &[
    Metric::gauge(
        "parley_connections",
        "Sockets of clients that are open now, whatever they are used for.",
    ),
    Metric::counter(
        "parley_connections_accepted_total",
        "Sockets of clients that were accepted.",
    ),
    Metric::gauge(
        "parley_sessions",
        "Sessions: authenticated WebSockets and event streams, and polls under way.",
    ),
    Metric::gauge(
        "parley_sessions_live",
        "Sessions that are sent what happens as it happens.",
    ),
    Metric::gauge(
        "parley_sessions_catching_up",
        "Sessions that are behind in some stream and are served from memory or the log until they have caught up.",
    ),
    Metric::counter(
        "parley_sessions_fell_behind_total",
        "How often a session's queue was full, so that it goes on from the log.",
    ),
    Metric::counter(
        "parley_event_streams_total",
        "Event streams (`GET /v1/events`) that were opened.",
    ),
    Metric::counter(
        "parley_closes_total",
        "WebSockets that this node closed, by close code.",
    )
    .with(&[Label::of("code", CLOSES)]),
    Metric::counter("parley_frames_in_total", "Text frames that came from clients."),
    Metric::counter(
        "parley_frames_out_total",
        "Frames that were handed to WebSockets: answers to the client's own, events of the log, live signals.",
    )
    .with(&[Label::of("kind", &["answer", "event", "signal"])]),
    Metric::counter(
        "parley_frames_refused_total",
        "Frames that were answered with an error.",
    )
    .with(&[CODE]),
    Metric::counter(
        "parley_http_problems_total",
        "HTTP requests that were answered with a problem document.",
    )
    .with(&[CODE]),
    Metric::histogram(
        "parley_send_ack_seconds",
        "From reading a send to its ack being handed to the socket, or answered; on this node's \
             clock. Only sends that were acked.",
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
        "From accepting a message, by the clock of the message service, to handing it to a socket, by the clock of \
         this node, each delivery counted; only of what came live, not of what was replayed.",
    )
    .with(&[RECEIVER])
    .held(&[&DELIVERIES_WEBSOCKET, &DELIVERIES_SSE, &DELIVERIES_POLL]),
    Metric::counter(
        "parley_gaps_detected_total",
        "Events whose conversation's previous event is not the one before them: somebody would \
             miss one. Must stay 0.",
    )
    .with(&[Label::of("tier", &["live", "stream"])]),
    Metric::counter(
        "parley_replays_total",
        "Steps of sessions that were behind: from memory, from the stream, or, where neither reaches back, told to \
         read the history (`resync`), which MongoDB serves.",
    )
    .with(&[Label::of("tier", &["memory", "stream", "resync"])]),
    Metric::counter(
        "parley_replayed_events_total",
        "Events that sessions were served by replay.",
    )
    .with(&[Label::of("tier", &["memory", "stream"])]),
    Metric::counter(
        "parley_resyncs_total",
        "How often a client was told to read everything anew, and why.",
    )
    .with(&[Label::of("reason", &["bad_cursor", "expired", "other_log"])]),
    Metric::counter(
        "parley_log_resets_total",
        "How often a stream was found made anew, or cut.",
    ),
    Metric::counter(
        "parley_rate_limited_total",
        "Frames and sends that were refused because there were too many.",
    )
    .with(&[SENDER]),
    Metric::counter(
        "parley_floods_total",
        "Sockets that were closed because they sent nothing but refused frames.",
    ),
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
    Metric::counter(
        "parley_unreadable_total",
        "Entries and messages that this version cannot read, and skips.",
    )
    .with(&[Label::of("what", &["event", "signal", "membership", "question"])]),
    Metric::counter(
        "parley_signals_dropped_total",
        "Live signals that a session's queue had no room for.",
    ),
    Metric::counter(
        "parley_typing_unsent_total",
        "Starts and stops of typing that could not be passed on.",
    ),
    Metric::counter(
        "parley_typing_dropped_total",
        "Starts of typing that found no room on this node.",
    ),
    Metric::gauge("parley_rooms", "Rooms that sockets of this node are subscribed to."),
    Metric::gauge("parley_room_members", "Members of these rooms that this node knows."),
    Metric::gauge("parley_subscriptions", "Subscriptions of sockets to rooms."),
    Metric::counter(
        "parley_rooms_refused_total",
        "Subscriptions that were refused because the presence service did not answer.",
    ),
    Metric::counter(
        "parley_room_comparisons_failed_total",
        "Rooms that could not be compared with the presence service.",
    ),
    Metric::counter(
        "parley_reports_unsent_total",
        "Reports to the presence service that could not be sent.",
    ),
];

/// What this process records as a connection node.
pub static TABLES: &[Table] = &[
    METRICS,
    lifecycle::METRICS,
    bus::metrics::METRICS,
    bus::metrics::TAIL,
    bus::metrics::READ,
    bus::metrics::BATCH,
];
