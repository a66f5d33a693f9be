//! The loop around the core: hears, tells it the time, and does what it says. Decides nothing.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bus::{Bus, subjects};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use lifecycle::{Readiness, Shutdown};
use metrics::counter;
use protocol::server_frame::Status;
use protocol::signal::{Signal, Signals};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::bucket::{BucketEvent, Change};
use crate::core::{Beat, Core, Counts, Effect, Now, Sizes};
use crate::heard::{Ears, Heard, REPLICA};
use crate::service::Service;

const TICK: Duration = Duration::from_millis(50);
/// Messages taken in before what they mean is done.
const BATCH: usize = 256;
/// A publish that takes longer is given up: the connection is not what it seems, and the core will notice.
const PUBLISH: Duration = Duration::from_secs(1);

/// Runs until `end`; takes leave when `shutdown` fires, and from then on only answers.
pub(crate) async fn run(
    service: Arc<Service>,
    bucket: mpsc::Receiver<BucketEvent>,
    readiness: Readiness,
    shutdown: Shutdown,
    end: Shutdown,
) -> anyhow::Result<()> {
    let Ears { inbox, mut heard } = Ears::open(&service.bus, bucket).await?;
    let mut link = service.bus.link();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leaving = false;
    loop {
        let mut batch = Vec::new();
        let mut link_changed = false;
        tokio::select! {
            () = end.triggered() => return Ok(()),
            () = shutdown.triggered(), if !leaving => {
                leaving = true;
                service.core.lock().leave(Now::real());
            }
            _ = link.changed() => link_changed = true,
            first = heard.next() => batch.push(first.ok_or_else(|| anyhow::anyhow!("the connection was closed"))?),
            _ = tick.tick() => {}
        }
        while batch.len() < BATCH
            && let Some(Some(next)) = heard.next().now_or_never()
        {
            batch.push(next);
        }
        for event in &batch {
            note_bucket(event, &readiness);
        }
        let (effects, counts, sizes) = take_in(&service, batch, link_changed);
        readiness.set("nats", service.bus.is_up());
        count(counts, sizes);
        for effect in effects {
            if effect == Effect::Ready {
                readiness.set("nodes", true);
            }
            perform(&service, &inbox, effect).await;
        }
        service.changed.send_replace(());
    }
}

/// All that was heard, and then the time.
fn take_in(service: &Service, batch: Vec<Heard>, link_changed: bool) -> (Vec<Effect>, Counts, Sizes) {
    let mut core = service.core.lock();
    if link_changed {
        core.on_link(Now::real());
    }
    for heard in batch {
        hear(&mut core, heard, Now::real());
    }
    core.tick(Now::real());
    (core.take_effects(), core.take_counts(), core.sizes())
}

fn hear(core: &mut Core, heard: Heard, now: Now) {
    match heard {
        Heard::Report(report) => core.on_report(report, now),
        Heard::Part { ask, snapshot } => core.on_part(ask, snapshot, now),
        Heard::Absent { node, ask } => core.on_absent(&node, ask, now),
        Heard::Signals { replica, signals } => core.on_signals(replica.as_deref(), signals, now),
        Heard::Beat(beat) => core.on_beat(beat, now),
        Heard::Bucket(BucketEvent::Loaded(content, revision)) => {
            core.on_loaded(content.choices, content.nodes, revision, now);
        }
        Heard::Bucket(BucketEvent::Changed(Change::Choice(user, choice), revision)) => {
            core.on_choice(&user, choice, revision, now);
        }
        Heard::Bucket(BucketEvent::Changed(Change::Node(name, lives), revision)) => {
            core.on_stored(name, lives, revision, now);
        }
        Heard::Bucket(BucketEvent::Lost) | Heard::Nothing => {}
    }
}

/// The statuses that were known stay in use while the bucket cannot be followed; but a replica that starts then knows none.
fn note_bucket(heard: &Heard, readiness: &Readiness) {
    match heard {
        Heard::Bucket(BucketEvent::Loaded(..)) => readiness.set("statuses", true),
        Heard::Bucket(BucketEvent::Lost) => readiness.set("statuses", false),
        _ => {}
    }
}

async fn perform(service: &Service, inbox: &str, effect: Effect) {
    let bus = &service.bus;
    match effect {
        Effect::Ask { node, ask } => {
            let reply = format!("{inbox}.{node}.{ask}");
            let subject = subjects::presence_snapshot(&node);
            sent(bus.client.publish_with_reply(subject, reply, Bytes::new())).await;
        }
        Effect::Tell(signals) => tell(bus, &service.name, signals).await,
        Effect::StoreSeen(user, time) => {
            let value = time.as_millis().to_string();
            service.writer.write(subjects::seen_key(&user), Some(value.into()));
        }
        Effect::StoreNode(node) => service.writer.write(subjects::node_key(&node), Some(Bytes::new())),
        Effect::ForgetNode(node) => service.writer.write(subjects::node_key(&node), None),
        Effect::Hello => sent(bus.client.publish(subjects::PRESENCE_HELLO, Bytes::new())).await,
        Effect::Ready => {
            tracing::info!("knows all nodes");
            sent(bus.client.publish(subjects::PRESENCE_READY, Bytes::new())).await;
        }
        Effect::Beat { number, speaks } => {
            let replica = service.name.clone();
            let subject = subjects::presence_replica(&replica);
            let beat = Beat {
                replica,
                number,
                speaks,
            };
            let payload = serde_json::to_vec(&beat).unwrap_or_default();
            sent(bus.client.publish(subject, payload.into())).await;
        }
    }
}

async fn tell(bus: &Bus, name: &str, signals: Vec<Signal>) {
    for signal in &signals {
        let kind = match signal {
            Signal::Presence { presence, .. } => {
                count_transition(presence.status);
                "presence"
            }
            Signal::Joined { .. } => "joined",
            Signal::Left { .. } => "left",
            Signal::Typing { .. } => "typing",
            Signal::Unknown => "unknown",
        };
        metrics::counter!("parley_presence_signals_total", "kind" => kind).increment(1);
    }
    let mut headers = HeaderMap::new();
    headers.insert(REPLICA, name);
    let payload = serde_json::to_vec(&Signals { signals }).unwrap_or_default();
    let publish = bus
        .client
        .publish_with_headers(subjects::PRESENCE_SIGNALS, headers, payload.into());
    sent(publish).await;
}

fn count_transition(status: Status) {
    let to = match status {
        Status::Online => "online",
        Status::Away => "away",
        Status::Dnd => "dnd",
        Status::Offline => "offline",
    };
    metrics::counter!("parley_presence_transitions_total", "to" => to).increment(1);
}

/// What is lost here is healed by the nodes: they compare what they have told when the link is back, and every minute.
async fn sent<E: std::fmt::Display>(publish: impl Future<Output = Result<(), E>>) {
    let error = match tokio::time::timeout(PUBLISH, publish).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the connection takes nothing".to_owned(),
    };
    metrics::counter!("parley_presence_publish_failures_total").increment(1);
    tracing::warn!(error, "could not publish");
}

fn count(counts: Counts, sizes: Sizes) {
    for (value, counter) in [
        (counts.leases_ended, counter!("parley_presence_leases_ended_total")),
        (
            counts.snapshots_asked,
            counter!("parley_presence_snapshots_asked_total"),
        ),
        (
            counts.reports_dropped,
            counter!("parley_presence_reports_dropped_total"),
        ),
        (counts.nodes_refused, counter!("parley_presence_nodes_refused_total")),
        (counts.take_overs, counter!("parley_presence_take_overs_total")),
        (counts.seen_forgotten, counter!("parley_presence_seen_forgotten_total")),
        (counts.doubts, counter!("parley_presence_doubts_total")),
    ] {
        counter.increment(value);
    }
    metrics::gauge!("parley_presence_nodes").set(sizes.nodes as f64);
    metrics::gauge!("parley_presence_users").set(sizes.users as f64);
    metrics::gauge!("parley_presence_users_lingering").set(sizes.lingering as f64);
    metrics::gauge!("parley_presence_rooms").set(sizes.rooms as f64);
    metrics::gauge!("parley_presence_signals_waiting").set(sizes.waiting as f64);
    metrics::gauge!("parley_presence_replicas").set(sizes.replicas as f64);
}
