//! Passing typing on: any one replica hears of it, and tells all nodes unless the user is invisible.
//!
//! Nothing is kept: when typing ends is for each node to decide.

use std::sync::Arc;

use bus::subjects;
use futures_util::StreamExt;
use lifecycle::Shutdown;
use protocol::signal::{Signal, Signals};

use crate::service::Service;

/// The replicas share the work.
const GROUP: &str = "presence";
/// Signals of one message; what waits meanwhile goes with the next.
const BATCH: usize = 256;

/// Passes typing on until the shutdown.
pub(crate) async fn run(service: Arc<Service>, shutdown: Shutdown) -> anyhow::Result<()> {
    let client = &service.bus.client;
    let mut heard = client
        .queue_subscribe(subjects::TYPING_SIGNALS, GROUP.into())
        .await?
        .ready_chunks(BATCH);
    loop {
        let messages = tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            messages = heard.next() => messages,
        };
        let Some(messages) = messages else { return Ok(()) };
        let signals = messages
            .iter()
            .filter_map(|message| visible(&service, &message.payload));
        let signals: Vec<Signal> = signals.collect();
        if signals.is_empty() {
            continue;
        }
        metrics::counter!("parley_presence_signals_total", "kind" => "typing").increment(signals.len() as u64);
        let payload = serde_json::to_vec(&Signals { signals }).unwrap_or_default();
        if let Err(error) = client.publish(subjects::PRESENCE_SIGNALS, payload.into()).await {
            tracing::debug!(%error, "typing was not passed on");
        }
    }
}

fn visible(service: &Service, payload: &[u8]) -> Option<Signal> {
    let signal: Signal = serde_json::from_slice(payload)
        .inspect_err(|error| {
            metrics::counter!("parley_unreadable_total", "what" => "typing").increment(1);
            tracing::debug!(error = %protocol::Quiet(error), "skipped an unreadable signal");
        })
        .ok()?;
    let Signal::Typing { user_id, .. } = &signal else {
        // A newer version's.
        metrics::counter!("parley_unreadable_total", "what" => "typing").increment(1);
        return None;
    };
    let invisible = service.core.lock().is_invisible(user_id);
    (!invisible).then_some(signal)
}
