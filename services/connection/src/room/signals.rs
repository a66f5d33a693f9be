//! Hearing the live signals that go to all nodes, ending typing in time, and comparing now and then what subscribers were
//! told with what the presence service knows: signals may be lost.

use std::sync::Arc;
use std::time::Duration;

use bus::subjects;
use futures_util::{StreamExt, stream};
use lifecycle::Shutdown;
use protocol::signal::Signals;
use tokio::time::MissedTickBehavior;

use super::subscribe::look;
use crate::app::App;

/// Between looks at who has stopped writing.
const TICK: Duration = Duration::from_millis(100);
/// Between comparisons where nothing gives a reason for one.
const COMPARE: Duration = Duration::from_secs(60);
/// Rooms compared at once.
const COMPARED_AT_ONCE: usize = 8;

/// Hears signals until `last` fires.
pub async fn run(app: Arc<App>, last: Shutdown) -> anyhow::Result<()> {
    let bus = app.hub.log.bus().clone();
    let mut signals = bus.client.subscribe(subjects::PRESENCE_SIGNALS).await?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = last.triggered() => return Ok(()),
            Some(message) = signals.next() => match serde_json::from_slice::<Signals>(&message.payload) {
                Ok(heard) => heard.signals.iter().for_each(|signal| app.hub.rooms.on_signal(signal)),
                Err(error) => {
                    metrics::counter!("parley_unreadable_total", "what" => "signal").increment(1);
                    tracing::debug!(%error, "skipped signals");
                }
            },
            _ = tick.tick() => app.hub.rooms.expire_typing(),
        }
    }
}

/// Compares whenever there is a reason to, until `last` fires.
pub async fn compare(app: Arc<App>, last: Shutdown) -> anyhow::Result<()> {
    let bus = app.hub.log.bus().clone();
    let mut ready = bus.client.subscribe(subjects::PRESENCE_READY).await?;
    loop {
        let mut link = bus.link();
        tokio::select! {
            () = last.triggered() => return Ok(()),
            Some(_) = ready.next() => {}
            _ = link.changed() => {}
            () = tokio::time::sleep(COMPARE) => {}
        }
        let rooms = stream::iter(app.hub.rooms.watched());
        let compared = rooms.for_each_concurrent(COMPARED_AT_ONCE, |(id, members)| {
            let app = &app;
            async move {
                match look(app, &id, &members).await {
                    Ok(sight) => app.hub.rooms.reconcile(&id, &members, &sight),
                    Err(error) => tracing::debug!(%error, "a room could not be compared"),
                }
            }
        });
        tokio::select! {
            () = last.triggered() => return Ok(()),
            () = compared => {}
        }
    }
}
