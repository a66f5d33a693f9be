//! The metrics of this service.

use bus::lag::Lag;
use bus::{Lane, Log};
use protocol::{Timestamp, envelope};
use telemetry::{Label, Metric, Table};

const CODES: &[&str] = &[
    "unauthenticated",
    "not_found",
    "forbidden",
    "invalid",
    "too_large",
    "rate_limited",
    "conflict",
    "unavailable",
    "internal",
];
/// [`CODES`], and what is no refusal.
const SENT: &[&str] = &[
    "appended",
    "duplicate",
    "unauthenticated",
    "not_found",
    "forbidden",
    "invalid",
    "too_large",
    "rate_limited",
    "conflict",
    "unavailable",
    "internal",
];
const STREAM: &[Label] = &[Label::each("stream", "stream of the log")];

/// See the module.
pub const METRICS: Table = &[
    Metric::histogram(
        "parley_send_seconds",
        "From a send's arrival at this service to its answer, by what came of it.",
    )
    .with(&[Label::of("outcome", SENT)]),
    Metric::counter(
        "parley_duplicates_total",
        "Sends that were repetitions, by who knew the original.",
    )
    .with(&[Label::of("known_by", &["stream", "mongodb"])]),
    Metric::counter(
        "parley_lookups_total",
        "Sends so old that MongoDB was asked whether they are repetitions.",
    ),
    Metric::counter(
        "parley_changes_total",
        "Changes of conversations and members, by what came of them.",
    )
    .with(&[Label::of("outcome", CHANGED)]),
    Metric::gauge(
        "parley_conversations_cached",
        "Conversations whose state this replica knows.",
    ),
    Metric::counter(
        "parley_conversation_loads_total",
        "Conversations whose state was read from the log, or MongoDB.",
    ),
    Metric::counter("parley_receipts_written_total", "Watermarks written to the log."),
    Metric::counter(
        "parley_receipts_coalesced_total",
        "Receipts that needed no request or no write of their own, since a later one took their place.",
    )
    .with(&[Label::of("at", &["replica"])]),
    Metric::gauge(
        "parley_projector_lag_seconds",
        "Age of the oldest entry that is not in MongoDB yet, by this replica's clock; 0 where all are.",
    )
    .with(STREAM),
    Metric::counter("parley_projected_total", "Entries carried into MongoDB.").with(STREAM),
    Metric::counter("parley_projector_batches_total", "Batches carried into MongoDB.").with(STREAM),
    Metric::histogram(
        "parley_projector_batch_seconds",
        "From a batch's last entry to its acks, MongoDB's commit in between.",
    ),
    Metric::counter(
        "parley_projector_failed_batches_total",
        "Tries of a batch that MongoDB was away for; they are repeated.",
    ),
    Metric::counter(
        "parley_projector_poison_total",
        "Entries that MongoDB refuses for good: left out, `parley verify` finds them.",
    ),
    Metric::counter(
        "parley_projector_doubled_total",
        "Messages that the log holds twice. Must stay 0.",
    ),
    Metric::counter(
        "parley_projector_restarts_total",
        "How often projecting a stream began again, after a lost link for instance.",
    ),
    Metric::counter("parley_store_failures_total", "Queries that MongoDB did not answer.")
        .with(&[Label::of("what", &["read"])]),
    Metric::counter(
        "parley_directory_rebuilds_total",
        "How often the directory of memberships was lost and made from MongoDB.",
    ),
    Metric::counter(
        "parley_unreadable_total",
        "Entries and messages that this version cannot read, and skips.",
    )
    .with(&[Label::of("what", &["entry", "state"])]),
];

/// `ok`, and why a change was refused.
const CHANGED: &[&str] = &{
    let mut all = ["ok"; CODES.len() + 1];
    let mut index = 0;
    while index < CODES.len() {
        all[index + 1] = CODES[index];
        index += 1;
    }
    all
};

/// What this process records as a replica of this service.
pub const TABLES: &[Table] = &[
    METRICS,
    lifecycle::METRICS,
    bus::metrics::METRICS,
    bus::metrics::READ,
    bus::metrics::APPEND,
    bus::metrics::LAG,
];

/// Shows for how long the oldest entry of a lane has waited for the projector. Where that cannot be read, what was shown
/// stands.
pub(crate) async fn show_age(log: &Log, lane: Lane, lag: Lag) {
    let shown = metrics::gauge!("parley_projector_lag_seconds", "stream" => lane.stream());
    if lag.messages == 0 {
        return shown.set(0.0);
    }
    if let Ok(Some(oldest)) = bus::lag::oldest(log.bus(), lane, lag).await
        && let Ok((_, head)) = envelope::decode(&oldest.payload)
    {
        let age_ms = Timestamp::now().as_millis() - head.timestamp.as_millis();
        shown.set(age_ms.max(0) as f64 / 1e3);
    }
}
