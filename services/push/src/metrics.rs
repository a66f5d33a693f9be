//! The metrics of this service.

use telemetry::{Label, Metric, Table};

const PROVIDER: Label = Label::of("provider", &["apns", "fcm", "webpush"]);
const APP: Label = Label::each("app", "app that was ever pushed to, as in its registrations");
const PROVIDERS: &[Label] = &[PROVIDER];
const QUEUES: &[Label] = &[PROVIDER, APP];

/// See the module.
pub const METRICS: Table = &[
    Metric::counter(
        "parley_push_decisions_total",
        "Devices that were decided on, by what was decided: `pushed`, or why not.",
    )
    .with(&[
        PROVIDER,
        Label::of(
            "decision",
            &[
                "pushed",
                "sender",
                "expired",
                "level",
                "muted",
                "dnd",
                "read",
                "confirmed",
                "foreground",
                "no_provider",
                "unregistered",
                "no_member",
            ],
        ),
    ]),
    Metric::counter(
        "parley_push_cancelled_total",
        "Pushes that were queued and then not made, by why.",
    )
    .with(&[
        PROVIDER,
        Label::of(
            "reason",
            &[
                "sender",
                "expired",
                "level",
                "muted",
                "dnd",
                "read",
                "confirmed",
                "foreground",
                "no_provider",
                "unregistered",
                "no_member",
            ],
        ),
    ]),
    Metric::counter(
        "parley_push_attempts_total",
        "Attempts at a provider, by its answer: `accepted`; `gone`, the token is dead; `refused` for good; \
         `our_fault`, our key or settings are wrong; `later`.",
    )
    .with(&[
        PROVIDER,
        Label::of("outcome", &["accepted", "gone", "refused", "our_fault", "later"]),
    ]),
    Metric::histogram(
        "parley_push_request_seconds",
        "From an attempt's request to the provider's answer.",
    )
    .with(PROVIDERS),
    Metric::histogram(
        "parley_push_latency_seconds",
        "From the decision to push to the provider's `accepted`.",
    )
    .with(PROVIDERS),
    Metric::gauge(
        "parley_push_jobs_waiting",
        "Jobs in a queue, those under way counted, looked at every two seconds.",
    )
    .with(QUEUES),
    Metric::gauge(
        "parley_push_breaker_open",
        "1 while an app at a provider is left alone because it does not work; of browsers' push services always 0.",
    )
    .with(QUEUES),
    Metric::counter(
        "parley_push_breaker_opened_total",
        "How often a breaker opened; of browsers those of all push services.",
    )
    .with(QUEUES),
    Metric::counter(
        "parley_push_dead_total",
        "Pushes that were given up and kept as dead letters.",
    )
    .with(PROVIDERS),
    Metric::counter(
        "parley_push_tokens_forgotten_total",
        "Tokens that were forgotten because the provider says they are dead.",
    )
    .with(PROVIDERS),
    Metric::counter(
        "parley_push_origins_full_total",
        "Jobs that were put off because too many unknown push services were under way.",
    ),
    Metric::gauge("parley_push_connections", "Connections to a provider that are open.").with(PROVIDERS),
    Metric::counter(
        "parley_push_connects_total",
        "Connections to a provider that were tried.",
    )
    .with(&[PROVIDER, Label::of("outcome", &["ok", "failed"])]),
    Metric::counter(
        "parley_push_requests_repeated_total",
        "Requests that were sent again because the connection had not taken them.",
    )
    .with(PROVIDERS),
    Metric::counter("parley_push_token_fetches_total", "Access tokens asked of Google.")
        .with(&[Label::of("provider", &["fcm"]), Label::of("outcome", &["ok", "failed"])]),
    Metric::counter(
        "parley_push_plans_put_off_total",
        "Messages that were given back to be planned later.",
    ),
    Metric::counter(
        "parley_push_planner_restarts_total",
        "How often planning a stream began again.",
    ),
    Metric::counter(
        "parley_push_blind_decisions_total",
        "Devices that were decided on without knowing who is connected.",
    ),
    Metric::counter(
        "parley_push_expired_messages_total",
        "Messages that were too old to notify anybody of.",
    ),
    Metric::counter(
        "parley_push_unrecorded_total",
        "Decisions and outcomes that could not be recorded.",
    ),
    Metric::counter(
        "parley_push_badges_unknown_total",
        "Pushes without the number of unread messages, since nobody could count.",
    ),
    Metric::counter(
        "parley_push_devices_evicted_total",
        "Devices that were forgotten because their user registered too many.",
    ),
    Metric::counter(
        "parley_unreadable_total",
        "Entries and messages that this version cannot read, and skips.",
    )
    .with(&[Label::of("what", &["push", "job", "device"])]),
];

/// What this process records as a replica of this service.
pub const TABLES: &[Table] = &[
    METRICS,
    lifecycle::METRICS,
    bus::metrics::METRICS,
    bus::metrics::READ,
    bus::metrics::LAG,
];
