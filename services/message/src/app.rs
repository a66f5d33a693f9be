//! The service's life: connect, declare, project, serve, drain.

use std::time::Duration;

use anyhow::Context;
use bus::rpc::Server;
use bus::streams::{self, StreamsError};
use bus::subjects::MESSAGE_SERVICE;
use bus::{Bus, Lane, Log};
use config::{Config, ConfigError};
use lifecycle::{Readiness, Shutdown, Tasks, Unavailable, admin};
use protocol::Timestamp;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::service::Service;
use crate::store::{Store, StoreError};
use crate::{projector, rebuild, timeline};

/// Requests under way at once, of each kind; more wait in NATS.
const SENDS_MOST: usize = 1_024;
/// Messages of many; in large groups a watermark waits for its turn, which costs nothing but the place.
const CONFIRMS_MOST: usize = 2_048;
const CREATES_MOST: usize = 64;
const CHANGES_MOST: usize = 64;
const ROOMS_MOST: usize = 256;
const READS_MOST: usize = 64;
const AUDIENCES_MOST: usize = 256;
/// Each is many queries; whoever reads history shares MongoDB's connections with them.
const COUNTS_MOST: usize = 4;
/// Only operators ask for them.
const TIMELINES_MOST: usize = 4;
/// How long a drain waits for requests under way.
const GRACE: Duration = Duration::from_secs(4);
/// How long it waits for the projectors' last batches after that; what is not acked then comes again elsewhere. A stopped
/// replica is gone after [`GRACE`] + [`DRAIN`] + [`FLUSH`], and four seconds more for telling others and for the process's
/// own end, at the latest.
const DRAIN: Duration = Duration::from_secs(2);
const FLUSH: Duration = Duration::from_secs(1);
/// How often the streams' identities are compared with those known.
const WATCH: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(200);

/// Runs the service until the shutdown: `admin` is the private listener for probes and metrics.
///
/// # Errors
/// [`ConfigError`] and [`Unavailable`] at the start; afterwards only when a part of the service crashes.
pub async fn run(config: Config, admin: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    telemetry::declare("message", crate::metrics::TABLES);
    let readiness = Readiness::of("message", &["nats", "streams", "mongodb", "directory", "endpoints"]);
    // Probes are answered until everything else has ended.
    let last = Shutdown::new();
    let probes = Tasks::new(shutdown.clone());
    let started = timeline::http::Started::default();
    let routes = timeline::http::routes(started.clone());
    probes.spawn(
        "admin",
        admin::serve_with(admin, readiness.clone(), routes, last.clone()),
    );
    let tasks = Tasks::new(shutdown.clone());
    let mut bus = None;
    let served = tokio::select! {
        service = start(&config, &readiness) => match service {
            Ok(service) => {
                let service = started.get_or_init(|| service).clone();
                bus = Some(service.log.bus().clone());
                serve(service, &readiness, &tasks, &shutdown).await
            }
            Err(error) => Err(error),
        },
        () = shutdown.triggered() => Ok(()),
    };
    shutdown.trigger();
    let ended = tokio::time::timeout(DRAIN, tasks.wait()).await.unwrap_or_else(|_| {
        tracing::warn!("MongoDB takes too long: another replica projects what is in hand here");
        Ok(())
    });
    if let Some(bus) = bus {
        // The last acks: what is not acked is projected again.
        let _ = tokio::time::timeout(FLUSH, bus.client.flush()).await;
    }
    last.trigger();
    served.and(ended).and(probes.wait().await)
}

/// Connects to everything, waiting for what is not there yet.
async fn start(config: &Config, readiness: &Readiness) -> anyhow::Result<Service> {
    let bus = Bus::connect(&config.nats, MESSAGE_SERVICE).await?;
    readiness.set("nats", true);
    ensure_streams(&bus, config).await?;
    readiness.set("streams", true);
    let store = open_store(&config.mongodb).await?;
    readiness.set("mongodb", true);
    let log = Log::new(bus, config.stream.partitions);
    while let Err(error) = rebuild::ensure_directory(&log, &store).await {
        tracing::warn!(%error, "the directory is not whole yet");
        tokio::time::sleep(RETRY).await;
    }
    readiness.set("directory", true);
    Ok(Service::new(log, store, config.stream.clone()))
}

async fn ensure_streams(bus: &Bus, config: &Config) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        match streams::ensure(bus, &config.stream).await {
            Ok(()) => return Ok(()),
            Err(error @ StreamsError::OtherPartitions(_)) => return Err(error.into()),
            Err(error) if started.elapsed() >= config.nats.wait => {
                return Err(Unavailable::new("PARLEY_NATS__URL", error.to_string()).into());
            }
            Err(error) => tracing::info!(%error, "waiting for JetStream"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// A MongoDB that is away at the start is waited for; later it may come and go.
pub(crate) async fn open_store(config: &config::Mongodb) -> anyhow::Result<Store> {
    let bad_uri = |error: StoreError| ConfigError::new("PARLEY_MONGODB__URI", error.to_string());
    let store = Store::open(config).await.map_err(bad_uri)?;
    let started = Instant::now();
    loop {
        let error = match store.ensure_indexes().await {
            Ok(()) => return Ok(store),
            Err(error) => error,
        };
        if started.elapsed() >= config.wait {
            let server = config::without_passwords(&config.uri);
            let problem = format!("no answer within {} s from {server}: {error}", config.wait.as_secs());
            return Err(Unavailable::new("PARLEY_MONGODB__URI", problem).into());
        }
        tracing::info!(%error, "waiting for MongoDB");
        tokio::time::sleep(RETRY).await;
    }
}

async fn serve(service: Service, readiness: &Readiness, tasks: &Tasks, shutdown: &Shutdown) -> anyhow::Result<()> {
    for lane in service.log.lanes() {
        let name = format!("projector of {}", lane.stream());
        tasks.spawn(name, projector::run(service.clone(), lane, shutdown.clone()));
    }
    tasks.spawn("lag", show_lag(service.clone(), shutdown.clone()));
    tasks.spawn("watch", watch(service.clone(), readiness.clone(), shutdown.clone()));
    let server = endpoints(&service)
        .await
        .map_err(anyhow::Error::msg)
        .context("announcing the endpoints")?;
    readiness.set("endpoints", true);
    shutdown.triggered().await;
    readiness.set("endpoints", false);
    server.stop(GRACE).await;
    Ok(())
}

/// Shows how far the projection is behind.
async fn show_lag(service: Service, shutdown: Shutdown) -> anyhow::Result<()> {
    let lanes: Vec<Lane> = service.log.lanes().collect();
    let log = &service.log;
    let watch = bus::lag::watch(log.bus().clone(), lanes, projector::CONSUMER, |lane, lag| {
        crate::metrics::show_age(log, lane, lag)
    });
    tokio::select! {
        () = watch => {}
        () = shutdown.triggered() => {}
    }
    Ok(())
}

async fn endpoints(service: &Service) -> Result<Server, String> {
    /// An endpoint that calls a method of the service, with the time of arrival where it takes one.
    macro_rules! endpoint {
        ($service:expr, $method:ident) => {{
            let service = $service.clone();
            move |request| {
                let service = service.clone();
                async move { service.$method(request).await }
            }
        }};
        ($service:expr, $method:ident, now) => {{
            let service = $service.clone();
            move |request| {
                let service = service.clone();
                async move { service.$method(request, Timestamp::now()).await }
            }
        }};
    }
    let mut server = Server::start(service.log.bus(), MESSAGE_SERVICE).await?;
    server
        .endpoint_of_many(SENDS_MOST, endpoint!(service, send, now))
        .await?;
    server
        .endpoint_of_many(CONFIRMS_MOST, endpoint!(service, confirm, now))
        .await?;
    server.endpoint(CREATES_MOST, endpoint!(service, create, now)).await?;
    server.endpoint(CHANGES_MOST, endpoint!(service, change, now)).await?;
    server.endpoint(ROOMS_MOST, endpoint!(service, room)).await?;
    server.endpoint(AUDIENCES_MOST, endpoint!(service, audience)).await?;
    server.endpoint(COUNTS_MOST, endpoint!(service, unread)).await?;
    server.endpoint(TIMELINES_MOST, endpoint!(service, timeline)).await?;
    server.endpoint(READS_MOST, endpoint!(service, conversation)).await?;
    server.endpoint(READS_MOST, endpoint!(service, conversations)).await?;
    server.endpoint(READS_MOST, endpoint!(service, history)).await?;
    server.endpoint(READS_MOST, endpoint!(service, members)).await?;
    Ok(server)
}

/// Notices a stream that was made anew: nothing that was known of positions in the old one holds.
async fn watch(service: Service, readiness: Readiness, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut known: std::collections::HashMap<Lane, u64> = std::collections::HashMap::new();
    loop {
        readiness.set("nats", service.log.bus().is_up());
        for lane in service.log.lanes() {
            let Ok(Some(state)) = service.log.state(lane).await else {
                continue;
            };
            let before = known.insert(lane, state.identity);
            if before.is_some_and(|before| before != state.identity) {
                tracing::warn!(stream = lane.stream(), "the stream was made anew");
                service.floor.reset(lane);
                service.conversations.forget_all();
                service.watermarks.forget_all();
                service.senders.forget_all();
            }
        }
        if let Err(error) = rebuild::ensure_directory(&service.log, &service.store).await {
            tracing::debug!(%error, "the directory could not be checked");
            // Its stream may be gone; the lanes' are made anew by whoever follows them.
            if let Err(error) = streams::ensure(service.log.bus(), &service.stream).await {
                tracing::debug!(%error, "the streams could not be checked");
            }
        }
        metrics::gauge!("parley_conversations_cached").set(service.conversations.count() as f64);
        tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            () = tokio::time::sleep(WATCH) => {}
        }
    }
}
