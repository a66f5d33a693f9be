//! The service's life: connect, listen, learn, serve, drain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::rpc::Server;
use bus::subjects::PRESENCE_SERVICE;
use bus::{Bus, streams};
use config::Config;
use lifecycle::{Readiness, Shutdown, Tasks, Unavailable, admin};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::service::Service;
use crate::{bucket, writer};

/// Requests under way at once, of each kind; more wait in NATS.
const LOOKS_MOST: usize = 256;
const STATUSES_MOST: usize = 128;
const SESSIONS_MOST: usize = 128;
/// Entries of the bucket that wait for the loop.
const BUCKET_QUEUE: usize = 1_024;
/// How long a drain waits for requests under way. A stopped replica is gone after [`GRACE`] + [`DRAIN`] + [`FLUSH`], and four
/// seconds more for telling others and for the process's own end, at the latest.
const GRACE: Duration = Duration::from_secs(2);
/// For what is to be stored yet.
const DRAIN: Duration = Duration::from_secs(1);
/// For the last words: that this replica has taken leave.
const FLUSH: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(200);

/// Runs the service until the shutdown: `admin` is the private listener for probes and metrics.
///
/// # Errors
/// [`config::ConfigError`] and [`Unavailable`] at the start; afterwards only when a part of the service crashes.
pub(crate) async fn run(config: Config, admin: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    telemetry::declare("presence", crate::metrics::TABLES);
    let readiness = Readiness::of("presence", &["nats", "statuses", "nodes", "endpoints"]);
    // Probes are answered until everything else has ended.
    let last = Shutdown::new();
    let probes = Tasks::new(shutdown.clone());
    probes.spawn("admin", admin::serve(admin, readiness.clone(), last.clone()));
    // The loop goes on until the requests under way are answered.
    let end = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let mut bus = None;
    let served = tokio::select! {
        started = start(&config, &readiness) => match started {
            Ok(service) => {
                bus = Some(service.bus.clone());
                serve(Arc::new(service), &readiness, &tasks, &shutdown, &end).await
            }
            Err(error) => Err(error),
        },
        () = shutdown.triggered() => Ok(()),
    };
    shutdown.trigger();
    end.trigger();
    let ended = tokio::time::timeout(DRAIN, tasks.wait()).await.unwrap_or_else(|_| {
        tracing::warn!("NATS takes too long to store when users were last seen");
        Ok(())
    });
    if let Some(bus) = bus {
        let _ = tokio::time::timeout(FLUSH, bus.client.flush()).await;
    }
    last.trigger();
    served.and(ended).and(probes.wait().await)
}

/// Connects to NATS and opens the bucket, waiting for what is not there yet.
async fn start(config: &Config, readiness: &Readiness) -> anyhow::Result<Service> {
    let bus = Bus::connect(&config.nats, PRESENCE_SERVICE).await?;
    readiness.set("nats", true);
    let started = Instant::now();
    while let Err(error) = streams::presence_bucket(&bus, &config.stream).await {
        if started.elapsed() >= config.nats.wait {
            return Err(Unavailable::new("PARLEY_NATS__URL", error.to_string()).into());
        }
        tracing::info!(%error, "waiting for JetStream");
        tokio::time::sleep(RETRY).await;
    }
    Ok(Service::new(bus, config.stream.clone(), config.presence.lease))
}

async fn serve(
    service: Arc<Service>,
    readiness: &Readiness,
    tasks: &Tasks,
    shutdown: &Shutdown,
    end: &Shutdown,
) -> anyhow::Result<()> {
    let (events, bucket) = mpsc::channel(BUCKET_QUEUE);
    watch_queues(&service, events.downgrade());
    let follow = bucket::follow(service.bus.clone(), service.stream.clone(), events, end.clone());
    tasks.spawn("bucket", follow);
    let (writing, ending) = (service.clone(), end.clone());
    tasks.spawn("writer", async move {
        writing.writer.run(&writing.bus, &writing.stream, &ending).await;
        Ok(())
    });
    let loops = crate::run::run(
        service.clone(),
        bucket,
        readiness.clone(),
        shutdown.clone(),
        end.clone(),
    );
    tasks.spawn("loop", loops);
    tokio::select! {
        () = service.ready() => {}
        () = shutdown.triggered() => return Ok(()),
    }
    tasks.spawn("typing", crate::typing::run(service.clone(), shutdown.clone()));
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

/// Shows what waits to be written, and what was read of the bucket and not taken in.
fn watch_queues(service: &Arc<Service>, events: mpsc::WeakSender<bucket::BucketEvent>) {
    let service = Arc::downgrade(service);
    telemetry::watch_queue("presence_writes", move || {
        Some((service.upgrade()?.writer.waiting(), writer::WAITING_MOST))
    });
    telemetry::watch_queue("presence_bucket", move || {
        let events = events.upgrade()?;
        Some((events.max_capacity() - events.capacity(), events.max_capacity()))
    });
}

async fn endpoints(service: &Arc<Service>) -> Result<Server, String> {
    let mut server = Server::start(&service.bus, PRESENCE_SERVICE).await?;
    let looking = service.clone();
    server
        .endpoint(LOOKS_MOST, move |request| {
            let service = looking.clone();
            async move { service.look(request).await }
        })
        .await?;
    let setting = service.clone();
    server
        .endpoint(STATUSES_MOST, move |request| {
            let service = setting.clone();
            async move { service.set_status(request).await }
        })
        .await?;
    let listing = service.clone();
    server
        .endpoint(SESSIONS_MOST, move |request| {
            let service = listing.clone();
            async move { service.sessions(request).await }
        })
        .await?;
    Ok(server)
}
