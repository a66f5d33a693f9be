//! The service's life: read the keys, connect, make the streams, plan and push, drain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::rpc::Server;
use bus::streams::{self, StreamsError};
use bus::subjects::PUSH_SERVICE;
use bus::{Bus, Lane};
use config::Config;
use lifecycle::{Readiness, Shutdown, Tasks, Unavailable, admin};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::provider::Providers;
use crate::service::Service;
use crate::{badges, jobs, notifications, planner};

/// Requests under way at once, of each kind; more wait in NATS.
const REQUESTS_MOST: usize = 128;
/// Readings of timelines: only operators ask for them.
const FATES_MOST: usize = 4;
/// How long a drain waits for requests under way.
const GRACE: Duration = Duration::from_secs(2);
/// How long it waits for pushes under way; what is not done then comes again elsewhere. A stopped replica is gone after
/// [`GRACE`] + [`DRAIN`] + [`FLUSH`], and four seconds more for telling others and for the process's own end, at the latest.
const DRAIN: Duration = Duration::from_secs(5);
const FLUSH: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(200);
/// Between looks at the link.
const WATCH: Duration = Duration::from_millis(500);
/// Of which so many are between two looks at the streams.
const LOOKS: u64 = 6;

/// Runs the service until the shutdown: `admin` is the private listener for probes and metrics.
///
/// # Errors
/// [`config::ConfigError`] and [`Unavailable`] at the start; afterwards only when a part of the service crashes.
pub(crate) async fn run(config: Config, admin: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    telemetry::declare("push", crate::metrics::TABLES);
    // Before anything is connected to: a key that cannot be read is a wrong setting.
    let providers = Providers::new(&config.push)?;
    let readiness = Readiness::of("push", &["nats", "streams", "endpoints"]);
    // Probes are answered until everything else has ended.
    let last = Shutdown::new();
    let probes = Tasks::new(shutdown.clone());
    probes.spawn("admin", admin::serve(admin, readiness.clone(), last.clone()));
    let tasks = Tasks::new(shutdown.clone());
    let mut bus = None;
    let served = tokio::select! {
        started = start(&config, providers, &readiness) => match started {
            Ok(service) => {
                bus = Some(service.bus.clone());
                serve(Arc::new(service), &readiness, &tasks, &shutdown).await
            }
            Err(error) => Err(error),
        },
        () = shutdown.triggered() => Ok(()),
    };
    shutdown.trigger();
    let ended = tokio::time::timeout(DRAIN, tasks.wait()).await;
    if let Some(bus) = bus {
        // The last acks: what is not acked is pushed again.
        let _ = tokio::time::timeout(FLUSH, bus.client.flush()).await;
    }
    last.trigger();
    // Pushes that are still under way are made again by another replica.
    let ended = ended.unwrap_or_else(|_| {
        tracing::warn!("some pushes were under way for too long: they are made again");
        Ok(())
    });
    served.and(ended).and(probes.wait().await)
}

async fn start(config: &Config, providers: Providers, readiness: &Readiness) -> anyhow::Result<Service> {
    let bus = Bus::connect(&config.nats, PUSH_SERVICE).await?;
    readiness.set("nats", true);
    let started = Instant::now();
    loop {
        match ensure(&bus, config).await {
            Ok(true) => break,
            Ok(false) => tracing::info!("waiting for the message service to have made the log"),
            Err(error @ StreamsError::OtherPartitions(_)) => return Err(error.into()),
            Err(error) if started.elapsed() >= config.nats.wait => {
                return Err(Unavailable::new("PARLEY_NATS__URL", error.to_string()).into());
            }
            Err(error) => tracing::info!(%error, "waiting for JetStream"),
        }
        tokio::time::sleep(RETRY).await;
    }
    readiness.set("streams", true);
    Ok(Service::new(bus, config.stream.clone(), config.push.clone(), providers))
}

/// Makes the streams of push once the log is there, which is the message service's.
async fn ensure(bus: &Bus, config: &Config) -> Result<bool, StreamsError> {
    if !streams::are_made(bus, &config.stream).await? {
        return Ok(false);
    }
    streams::ensure_push(bus, &config.stream, &config.push).await?;
    Ok(true)
}

async fn serve(service: Arc<Service>, readiness: &Readiness, tasks: &Tasks, shutdown: &Shutdown) -> anyhow::Result<()> {
    tasks.spawn("users", service.users.clone().follow(shutdown.clone()));
    tasks.spawn("jobs", jobs::run(service.clone(), shutdown.clone()));
    tasks.spawn("badges", badges::run(service.clone(), shutdown.clone()));
    for lane in service.log.lanes().filter(|lane| *lane != Lane::Receipts) {
        let name = format!("planner of {}", lane.stream());
        tasks.spawn(name, planner::run(service.clone(), lane, shutdown.clone()));
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

/// Says whether NATS is there, and makes streams anew that were deleted.
async fn watch(service: Arc<Service>, readiness: Readiness, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut looks = 0_u64;
    loop {
        let is_up = service.bus.is_up();
        readiness.set("nats", is_up);
        looks += 1;
        if is_up
            && looks.is_multiple_of(LOOKS)
            && let Err(error) = streams::restore_push(&service.bus, &service.stream, &service.settings).await
        {
            tracing::debug!(%error, "the streams of push could not be checked");
        }
        tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            () = tokio::time::sleep(WATCH) => {}
        }
    }
}

/// Shows how far planning, and telling icons of what was read, are behind.
async fn show_lag(service: Arc<Service>, shutdown: Shutdown) -> anyhow::Result<()> {
    let lanes: Vec<Lane> = service.log.lanes().collect();
    tokio::select! {
        () = bus::lag::watch(service.bus.clone(), lanes, planner::CONSUMER, |_, _| std::future::ready(())) => {}
        () = shutdown.triggered() => {}
    }
    Ok(())
}

async fn endpoints(service: &Arc<Service>) -> Result<Server, String> {
    /// An endpoint that calls a method of the service.
    macro_rules! endpoint {
        ($service:expr, $method:ident) => {{
            let service = $service.clone();
            move |request| {
                let service = service.clone();
                async move { service.$method(request).await }
            }
        }};
    }
    let mut server = Server::start(&service.bus, PUSH_SERVICE).await?;
    server.endpoint(REQUESTS_MOST, endpoint!(service, register)).await?;
    server.endpoint(REQUESTS_MOST, endpoint!(service, devices)).await?;
    server.endpoint(REQUESTS_MOST, endpoint!(service, remove)).await?;
    server.endpoint(REQUESTS_MOST, endpoint!(service, info)).await?;
    server.endpoint(FATES_MOST, endpoint!(service, fates)).await?;
    let bus = service.bus.clone();
    server
        .endpoint(REQUESTS_MOST, move |request| {
            let bus = bus.clone();
            async move { notifications::set(&bus, request).await }
        })
        .await?;
    let bus = service.bus.clone();
    server
        .endpoint(REQUESTS_MOST, move |request| {
            let bus = bus.clone();
            async move { notifications::set_of_conversation(&bus, request).await }
        })
        .await?;
    Ok(server)
}
