//! Hearing the live signals that go to all nodes, ending typing in time, and comparing now and then what subscribers were
//! told with what the presence service knows: signals may be lost.

use std::sync::Arc;
use std::time::Duration;

use bus::subjects;
use futures_util::{FutureExt, StreamExt, stream};
use lifecycle::Shutdown;
use protocol::ConversationId;
use protocol::signal::Signals;
use tokio::time::MissedTickBehavior;

use super::Rooms;
use crate::app::App;

/// Between looks at who has stopped writing.
const TICK: Duration = Duration::from_millis(100);
/// Between comparisons where nothing gives a reason for one.
const COMPARE: Duration = Duration::from_secs(60);
/// Before rooms are compared again that could not be.
const AGAIN: Duration = Duration::from_secs(1);
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
    let mut link = bus.link();
    let mut rooms = Vec::new();
    loop {
        let again = if rooms.is_empty() { COMPARE } else { AGAIN };
        tokio::select! {
            () = last.triggered() => return Ok(()),
            Some(_) = ready.next() => rooms = app.hub.rooms.watched(),
            Ok(()) = link.changed() => rooms = app.hub.rooms.watched(),
            () = tokio::time::sleep(again) => if rooms.is_empty() {
                rooms = app.hub.rooms.watched();
            },
        }
        // Whatever else gave a reason until now is served by this comparison.
        while let Some(Some(_)) = ready.next().now_or_never() {}
        tokio::select! {
            () = last.triggered() => return Ok(()),
            failed = compare_all(&app, std::mem::take(&mut rooms)) => rooms = failed,
        }
    }
}

/// Returns the rooms that could not be compared.
async fn compare_all(app: &Arc<App>, rooms: Vec<ConversationId>) -> Vec<ConversationId> {
    let compared = stream::iter(rooms).map(|id| async move {
        let error = Rooms::compare(app, &id).await.err()?;
        metrics::counter!("parley_room_comparisons_failed_total").increment(1);
        tracing::debug!(%error, "a room could not be compared");
        Some(id)
    });
    let failed = compared
        .buffer_unordered(COMPARED_AT_ONCE)
        .filter_map(std::future::ready);
    failed.collect().await
}
