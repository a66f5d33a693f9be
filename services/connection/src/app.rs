//! The connection service put together: the hub and its tails, the listener, the drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::batch::Batcher;
use bus::streams::StreamsError;
use bus::{Bus, Log};
use config::Config;
use lifecycle::{Readiness, Shutdown, Tasks, Unavailable};
use parking_lot::Mutex;
use protocol::client_frame::Reference;
use protocol::rpc::{Confirm, SendMessage};
use protocol::server_frame::{Limits, Ready};
use protocol::{Timestamp, limits};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::api::UserLimits;
use crate::drain::Drain;
use crate::hub::Hub;
use crate::marks::{self, MarkWriter};
use crate::room::{self, report::Reporter};
use crate::session::Session;
use crate::token::Verifier;
use crate::{api, listener, timeline};

/// For the last answers and reports to go out.
const FLUSH: Duration = Duration::from_secs(1);
/// Sends that the message service has not answered: about what it takes in a second on a small machine.
const SENDS_UNANSWERED: usize = 2_048;
/// Receipts that it has not answered: in large groups it lets each watermark rest for half a second.
const CONFIRMS_UNANSWERED: usize = 16_384;
/// For the tails to reach the log's end at the start.
const WARM_UP_MOST: Duration = Duration::from_secs(30);

/// What sessions and requests share.
#[derive(Debug)]
pub struct App {
    /// Delivery.
    pub hub: Arc<Hub>,
    /// Tokens.
    pub verifier: Verifier,
    /// Settings that matter after the start.
    pub settings: Settings,
    /// What this node tells the presence service.
    pub reporter: Reporter,
    /// Receipts of all sessions of this node, on their way to the message service.
    pub confirmations: Batcher<Confirm>,
    /// Sends of all sessions of this node, on their way to the message service.
    pub sends: Batcher<SendMessage>,
    /// What devices have confirmed, to be written down.
    pub marks: MarkWriter,
    /// Send limits of users over HTTP.
    pub http_sends: Mutex<UserLimits>,
    /// Whether this node goes away.
    pub drain: Drain,
}

/// See [`App`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Between the server's pings.
    pub heartbeat: Duration,
    /// Without activity for so long a session is idle.
    pub away_after: Duration,
    /// Per session; 0 means no limit.
    pub sends_per_second: u32,
    /// Whether a message that is in the log counts as acked, see [`config::Ack`].
    pub log_is_ack: bool,
    /// Whether `?token=` is taken.
    pub query_token: bool,
    /// Browsers' origins beside the same one.
    pub allowed_origins: Vec<String>,
}

impl Settings {
    /// Silence after which a socket is dead.
    pub fn heartbeat_timeout(&self) -> Duration {
        self.heartbeat * 3 / 2
    }
}

impl App {
    /// Forgets a session that has ended, at the hub and in its rooms.
    pub fn detach(&self, session: &Arc<Session>) {
        if self.hub.detach(session) {
            self.hub.rooms.leave_all(session);
            if session.is_present {
                self.hub.rooms.changes.user(&session.user_id);
            }
        }
    }

    /// Notes that a session has become idle, if its time has come, and whether it has.
    pub fn note_idle(&self, session: &Session, now: Instant) -> bool {
        let idle = session.idle_at(self.settings.away_after).is_some_and(|at| at <= now);
        if idle {
            session.set_idle();
            self.hub.rooms.changes.user(&session.user_id);
        }
        idle
    }

    /// The `ready` frame of a session.
    pub fn ready(&self, session: &Session, resumed: bool, cursor: String, reference: Option<Reference>) -> Ready {
        Ready {
            session_id: session.id.clone(),
            user_id: session.user_id.clone(),
            device_id: session.device_id.clone(),
            resumed,
            cursor,
            heartbeat_ms: u64::try_from(self.settings.heartbeat.as_millis()).unwrap_or(u64::MAX),
            timestamp: Timestamp::now(),
            limits: Limits {
                frame_bytes: limits::FRAME_BYTES as u64,
                text_chars: limits::TEXT_CHARS as u64,
                sends_per_second: self.settings.sends_per_second,
            },
            reference,
        }
    }
}

/// Runs the service until `shutdown` fires and its sockets are drained.
///
/// # Errors
/// A wrong setting, an absent server, or a part that failed.
pub async fn run(config: Config, listener: TcpListener, admin: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    telemetry::declare("connection", crate::metrics::TABLES);
    let secret = config.auth.secret()?;
    let verifier = Verifier::new(&secret, &config.auth.issuer, &config.auth.audience);
    let ready = Readiness::of("connection", &["nats", "log", "open"]);
    let last = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    tasks.spawn("admin", lifecycle::admin::serve(admin, ready.clone(), last.clone()));

    let started = tokio::select! {
        started = start(&config, &ready, &tasks, &last) => started?,
        () = shutdown.triggered() => {
            last.trigger();
            return tasks.wait().await;
        }
    };
    let Started {
        hub,
        sends,
        confirmations,
    } = started;

    let settings = Settings {
        heartbeat: Duration::from_millis(config.connection.heartbeat_ms),
        away_after: config.presence.away_after,
        sends_per_second: config.connection.sends_per_second,
        log_is_ack: config.stream.ack == config::Ack::Logged,
        query_token: config.http.query_token,
        allowed_origins: config.http.allowed_origins.clone(),
    };
    let http_sends = Mutex::new(UserLimits::new(settings.sends_per_second));
    let (marks, waiting_marks) = marks::channel();
    let app = Arc::new(App {
        hub,
        verifier,
        settings,
        sends,
        confirmations,
        reporter: Reporter::new(),
        marks,
        http_sends,
        drain: Drain::default(),
    });
    let lease = config.presence.lease;
    let name = node_name(listener.local_addr()?, app.reporter.node());
    tasks.spawn("timeline", timeline::run(app.clone(), name, last.clone()));
    let marking = marks::run(app.hub.log.bus().clone(), waiting_marks, last.clone());
    tasks.spawn("marks", marking);
    tasks.spawn("reports", room::report::run(app.clone(), lease, last.clone()));
    tasks.spawn("signals", room::signals::run(app.clone(), last.clone()));
    tasks.spawn("comparison", room::signals::compare(app.clone(), last.clone()));
    ready.set("open", true);
    let closing = Shutdown::new();
    let notice = async {
        shutdown.triggered().await;
        ready.set("open", false);
        tokio::time::sleep(Duration::from_millis(config.connection.drain_delay_ms)).await;
        closing.trigger();
    };
    let listening = listener::serve(listener, api::router(app.clone()), &app.drain.tasks, closing.clone());
    tokio::join!(listening, notice);
    let window = Duration::from_millis(config.connection.drain_window_ms);
    app.drain.run(&app, window).await;
    last.trigger();
    let ended = tasks.wait().await;
    let _ = tokio::time::timeout(FLUSH, app.hub.log.bus().client.flush()).await;
    ended
}

/// What is there once the log can be followed.
struct Started {
    hub: Arc<Hub>,
    sends: Batcher<SendMessage>,
    confirmations: Batcher<Confirm>,
}

/// Connects to everything, waiting for what is not there yet, and follows the log up to its end.
async fn start(config: &Config, ready: &Readiness, tasks: &Tasks, last: &Shutdown) -> anyhow::Result<Started> {
    let bus = Bus::connect(&config.nats, bus::subjects::CONNECTION_SERVICE).await?;
    the_log(&bus, config).await?;
    ready.set("nats", true);
    whole_directory(&bus).await;
    let sends = Batcher::start(&bus, SENDS_UNANSWERED)
        .await
        .map_err(anyhow::Error::msg)
        .context("subscribing to answers")?;
    let confirmations = Batcher::start(&bus, CONFIRMS_UNANSWERED)
        .await
        .map_err(anyhow::Error::msg)
        .context("subscribing to answers")?;
    tasks.spawn("link", watch_link(bus.clone(), ready.clone(), last.clone()));
    let log = Log::new(bus, config.stream.partitions);
    let (hub, ends) = Hub::new(log, config.connection.memory_mib, config.stream.max_age)
        .await
        .context("reading the log's ends")?;
    spawn_tails(tasks, &hub, last);
    tokio::time::timeout(WARM_UP_MOST, async {
        for (lane, end) in hub.lanes.iter().zip(ends) {
            lane.wait_for(end).await;
        }
    })
    .await
    .context("the log's tail did not come in time")?;
    ready.set("log", true);
    Ok(Started {
        hub,
        sends,
        confirmations,
    })
}

/// Waits until the message service has made the log, however long it takes to come; for NATS itself only as long as is
/// configured.
async fn the_log(bus: &Bus, config: &Config) -> anyhow::Result<()> {
    let mut answered = Instant::now();
    loop {
        match bus::streams::are_made(bus, &config.stream).await {
            Ok(true) => return Ok(()),
            Ok(false) => {
                answered = Instant::now();
                tracing::info!("waiting for the message service to have made the log");
            }
            Err(error @ StreamsError::OtherPartitions(_)) => return Err(error.into()),
            Err(error) if answered.elapsed() >= config.nats.wait => {
                return Err(Unavailable::new("PARLEY_NATS__URL", error.to_string()).into());
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What an operator knows this node as: where it listens, or in a container, where that says nothing, its host's name.
fn node_name(listens_at: SocketAddr, id: &str) -> String {
    if !listens_at.ip().is_unspecified() {
        return listens_at.to_string();
    }
    let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    host.unwrap_or_else(|| format!("node {id}"))
}

/// Waits until the directory holds all memberships: a client that came before would not be sent what is his. The
/// message service makes it whole, at its start and whenever it was lost.
async fn whole_directory(bus: &Bus) {
    while !matches!(bus::directory::incomplete(bus).await, Ok(None)) {
        tracing::info!("waiting for the message service to have made the directory");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Says whether NATS is there: a node without it sends and delivers nothing, and new clients are better off elsewhere.
async fn watch_link(bus: Bus, ready: Readiness, last: Shutdown) -> anyhow::Result<()> {
    let mut link = bus.link();
    loop {
        ready.set("nats", link.borrow_and_update().up);
        tokio::select! {
            changed = link.changed() => if changed.is_err() { return Ok(()) },
            () = last.triggered() => return Ok(()),
        }
    }
}

fn spawn_tails(tasks: &Tasks, hub: &Arc<Hub>, last: &Shutdown) {
    for index in 0..hub.lanes.len() {
        let tail = hub.clone().tail(index);
        let last = last.clone();
        tasks.spawn(format!("tail {}", hub.lanes[index].lane.stream()), async move {
            tokio::select! {
                () = tail => {}
                () = last.triggered() => {}
            }
            Ok(())
        });
    }
}
