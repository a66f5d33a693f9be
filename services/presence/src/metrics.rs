//! The metrics of this service.

use telemetry::{Label, Metric, Table};

/// See the module.
pub const METRICS: Table = &[
    Metric::gauge(
        "parley_presence_replicas",
        "Replicas of this service that this one hears, itself counted.",
    ),
    Metric::gauge("parley_presence_nodes", "Connection nodes that live."),
    Metric::gauge("parley_presence_users", "Users with a session."),
    Metric::gauge(
        "parley_presence_users_lingering",
        "Users without one who are not told to be offline yet.",
    ),
    Metric::gauge("parley_presence_rooms", "Rooms that somebody is subscribed to."),
    Metric::gauge(
        "parley_presence_signals_waiting",
        "Signals that wait: for the replica whose users they are about, or for their time.",
    ),
    Metric::counter(
        "parley_presence_transitions_total",
        "Changes of a user's status that this replica has told, by what he became.",
    )
    .with(&[Label::of("to", &["online", "away", "dnd", "offline"])]),
    Metric::counter(
        "parley_presence_signals_total",
        "Live signals told to the connection nodes.",
    )
    .with(&[Label::of("kind", &["presence", "joined", "left", "typing", "unknown"])]),
    Metric::counter(
        "parley_presence_publish_failures_total",
        "Messages to nodes or replicas that could not be sent.",
    ),
    Metric::counter(
        "parley_presence_leases_ended_total",
        "Connection nodes that were silent for a lease.",
    ),
    Metric::counter(
        "parley_presence_snapshots_asked_total",
        "Snapshots asked of connection nodes.",
    ),
    Metric::counter(
        "parley_presence_reports_dropped_total",
        "Reports that found no room to wait for a snapshot.",
    ),
    Metric::counter(
        "parley_presence_nodes_refused_total",
        "Reports of nodes past the bound, or with an impossible name.",
    ),
    Metric::counter(
        "parley_presence_take_overs_total",
        "Signals told about users of another replica, which had not told them.",
    ),
    Metric::counter(
        "parley_presence_seen_forgotten_total",
        "Times of last being seen that fell out of memory.",
    ),
    Metric::counter(
        "parley_presence_doubts_total",
        "How often this replica could not tell others' silence from its own.",
    ),
    Metric::histogram(
        "parley_presence_look_seconds",
        "From a question for how members appear to its answer.",
    ),
    Metric::counter(
        "parley_presence_looks_late_total",
        "Answers to it that may lack what had just happened.",
    ),
    Metric::counter(
        "parley_presence_looks_cut_total",
        "Answers to it that were cut to fit into a message.",
    ),
    Metric::counter(
        "parley_presence_sessions_late_total",
        "Answers to push about sessions that may lack what had just happened.",
    ),
    Metric::counter(
        "parley_presence_sessions_cut_total",
        "Answers to push about sessions that were cut to fit into a message.",
    ),
    Metric::counter(
        "parley_presence_status_failures_total",
        "Chosen statuses that could not be stored.",
    ),
    Metric::counter(
        "parley_presence_status_late_total",
        "Chosen statuses that were answered before all knew them.",
    ),
    Metric::counter(
        "parley_presence_seen_failures_total",
        "Times of last being seen that could not be read.",
    ),
    Metric::counter("parley_presence_writes_total", "Entries written into the bucket."),
    Metric::counter(
        "parley_presence_write_failures_total",
        "Writes into the bucket that failed; they are repeated.",
    ),
    Metric::counter(
        "parley_presence_writes_dropped_total",
        "Writes into the bucket that found no room to wait.",
    ),
    Metric::counter(
        "parley_presence_bucket_restarts_total",
        "How often following the bucket began again.",
    ),
    Metric::counter(
        "parley_unreadable_total",
        "Entries and messages that this version cannot read, and skips.",
    )
    .with(&[Label::of(
        "what",
        &["typing", "status", "report", "snapshot", "signals", "beat"],
    )]),
];

/// What this process records as a replica of this service.
pub const TABLES: &[Table] = &[METRICS, lifecycle::METRICS, bus::metrics::METRICS];
