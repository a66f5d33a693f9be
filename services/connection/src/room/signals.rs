//! Hearing the live signals that go to all nodes, ending typing in time, and comparing now and then what subscribers were
//! told with what the presence service knows: signals may be lost.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bus::subjects;
use futures_util::{FutureExt, StreamExt, stream};
use lifecycle::Shutdown;
use protocol::ConversationId;
use protocol::signal::Signals;
use tokio::time::{Instant, MissedTickBehavior};

use super::Rooms;
use crate::app::App;

/// Between looks at who has stopped writing.
const TICK: Duration = Duration::from_millis(100);
/// Between comparisons where nothing gives a reason for one.
const COMPARE: Duration = Duration::from_secs(60);
/// Between comparisons of rooms that are doubtful.
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
                    tracing::debug!(error = %protocol::Quiet(&error), "skipped signals");
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
    let mut all_at = Instant::now() + COMPARE;
    loop {
        let all = tokio::select! {
            () = last.triggered() => return Ok(()),
            Some(_) = ready.next() => true,
            Ok(()) = link.changed() => true,
            () = tokio::time::sleep(AGAIN) => Instant::now() >= all_at,
        };
        let mut rooms = std::mem::take(&mut *app.hub.rooms.doubtful.lock());
        if all {
            all_at = Instant::now() + COMPARE;
            rooms.extend(app.hub.rooms.watched());
            // Whatever else gave a reason until now is served by this comparison.
            while let Some(Some(_)) = ready.next().now_or_never() {}
        }
        tokio::select! {
            () = last.triggered() => return Ok(()),
            () = compare_all(&app, rooms) => {}
        }
    }
}

/// Those that cannot be compared stay doubtful.
async fn compare_all(app: &Arc<App>, rooms: HashSet<ConversationId>) {
    let rooms = stream::iter(rooms);
    let compared = rooms.for_each_concurrent(COMPARED_AT_ONCE, |id| async move {
        if let Err(error) = Rooms::compare(app, &id).await {
            metrics::counter!("parley_room_comparisons_failed_total").increment(1);
            tracing::debug!(%error, "a room could not be compared");
            app.hub.rooms.doubt(&id);
        }
    });
    compared.await;
}
