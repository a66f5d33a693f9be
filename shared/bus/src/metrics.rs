//! The metrics of this crate, and handles of those that are recorded with each request.

use std::sync::LazyLock;

use metrics::{Counter, Histogram, counter, histogram};
use protocol::rpc::{
    ChangeConversation, Confirm, CountUnread, Create, ListConversations, ListDevices, ListMembers, LookAround,
    OpenRoom, ReadAudience, ReadConversation, ReadHistory, ReadPushInfo, ReadSessions, RegisterDevice, RemoveDevice,
    Request, SendMessage, SetConversationNotifications, SetNotifications, SetStatus,
};
use telemetry::{Label, Metric, Table};

use crate::LogError;
use crate::log::Appended;

const ENDPOINT: &[Label] = &[Label::of(
    "endpoint",
    &[
        SendMessage::ENDPOINT,
        Create::ENDPOINT,
        ReadConversation::ENDPOINT,
        ListConversations::ENDPOINT,
        ReadHistory::ENDPOINT,
        Confirm::ENDPOINT,
        ChangeConversation::ENDPOINT,
        ListMembers::ENDPOINT,
        OpenRoom::ENDPOINT,
        LookAround::ENDPOINT,
        SetStatus::ENDPOINT,
        RegisterDevice::ENDPOINT,
        ListDevices::ENDPOINT,
        RemoveDevice::ENDPOINT,
        ReadPushInfo::ENDPOINT,
        SetNotifications::ENDPOINT,
        SetConversationNotifications::ENDPOINT,
        ReadAudience::ENDPOINT,
        CountUnread::ENDPOINT,
        ReadSessions::ENDPOINT,
    ],
)];
const CONSUMER: &[Label] = &[
    Label::of("consumer", &["projector", "push"]),
    Label::each("stream", "stream of the log"),
];
const STREAM: &[Label] = &[Label::each("stream", "stream of the log")];
const OUTCOME: &[Label] = &[Label::of(
    "outcome",
    &["appended", "duplicate", "conflict", "refused", "unknown"],
)];

/// Of every service: its link to NATS and what it asks other services.
pub const METRICS: Table = &[
    Metric::gauge(
        "parley_nats_connections",
        "Connections to NATS that are up: 1 in a healthy service.",
    ),
    Metric::counter(
        "parley_nats_disconnects_total",
        "How often a connection to NATS was lost.",
    ),
    Metric::counter(
        "parley_nats_slow_consumer_total",
        "Messages that a subscription had no room for; readers of streams start again from before them.",
    ),
    Metric::counter(
        "parley_nats_permission_denied_total",
        "Subjects that NATS denied to this service: the permissions and the code do not fit.",
    ),
    Metric::counter(
        "parley_rpc_failures_total",
        "Requests to another service that were not answered in time, each try counted; most are \
             answered by the next try.",
    )
    .with(ENDPOINT),
];

/// Of services that follow the log with [`crate::tail`].
pub const TAIL: Table = &[
    Metric::gauge(
        "parley_tail_lag_messages",
        "Entries of a stream that this node has not dispatched yet, looked at twice a second.",
    )
    .with(STREAM),
    Metric::counter(
        "parley_tail_restarts_total",
        "How often following a stream began again, after a lost link or a gap in what came.",
    ),
];

/// Of services that read streams which have several copies.
pub const READ: Table = &[
    Metric::counter(
        "parley_stale_reads_total",
        "Answers to reads that prove too little, since the copy that gave them may be behind; they are asked for again.",
    )
    .with(&[Label::of("what", &["entries", "lasts"])]),
    Metric::counter(
        "parley_leader_reads_total",
        "Reads that were put to a stream's leader because no copy's answer could have been trusted.",
    ),
];

/// Of services that append to the log with [`crate::Log::append`].
pub const APPEND: Table = &[
    Metric::histogram(
        "parley_log_append_seconds",
        "From an append to JetStream's answer. `conflict`: another replica was first; `unknown`: no answer.",
    )
    .with(OUTCOME),
    Metric::counter(
        "parley_log_append_conflicts_total",
        "Appends that met another replica's and were decided anew: normal where many write to one conversation.",
    ),
];

/// Of services that ask with [`crate::batch`].
pub const BATCH: Table = &[Metric::histogram(
    "parley_rpc_batch_requests",
    "How many requests went out together in one message.",
)];

/// Of services that watch durable consumers with [`crate::lag`].
pub const LAG: Table = &[Metric::gauge(
    "parley_consumer_lag_messages",
    "Entries of a stream that a durable consumer has not acked, of all replicas together; those in hand are counted.",
)
.with(CONSUMER)];

/// Handles of what is recorded with each append.
struct Appends {
    appended: Histogram,
    duplicate: Histogram,
    conflict: Histogram,
    refused: Histogram,
    unknown: Histogram,
    conflicts: Counter,
}

static APPENDS: LazyLock<Appends> = LazyLock::new(|| Appends {
    appended: histogram!("parley_log_append_seconds", "outcome" => "appended"),
    duplicate: histogram!("parley_log_append_seconds", "outcome" => "duplicate"),
    conflict: histogram!("parley_log_append_seconds", "outcome" => "conflict"),
    refused: histogram!("parley_log_append_seconds", "outcome" => "refused"),
    unknown: histogram!("parley_log_append_seconds", "outcome" => "unknown"),
    conflicts: counter!("parley_log_append_conflicts_total"),
});

/// Records an append that began at `started`.
pub(crate) fn appended(result: &Result<Appended, LogError>, started: std::time::Instant) {
    let seconds = match result {
        Ok(Appended { duplicate: false, .. }) => &APPENDS.appended,
        Ok(_) => &APPENDS.duplicate,
        Err(LogError::Conflict) => &APPENDS.conflict,
        Err(LogError::Refused(_)) => &APPENDS.refused,
        Err(_) => &APPENDS.unknown,
    };
    seconds.record(started.elapsed().as_secs_f64());
    if matches!(result, Err(LogError::Conflict)) {
        APPENDS.conflicts.increment(1);
    }
}
