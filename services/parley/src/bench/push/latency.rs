//! How long after a message was written to its sender's socket its push is at the provider's, at a modest rate: one push
//! for each message, to a device that is not connected.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fake_push::Shown;
use serde::Serialize;
use serde_json::Value;

use super::Options;
use super::played::Played;
use super::senders::Senders;
use crate::bench::pacer::Pacer;
use crate::bench::tally::{Latency, Percentiles};
use crate::bench::target::Target;
use crate::bench::usage::{CpuSpan, Snapshot};

/// The first seconds, in which connections are made, are not measured.
const WARM_UP: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Latencies {
    /// Messages a second, each of one push.
    pub(super) rate: u64,
    /// Messages, without those of the warm-up.
    pub(super) messages: u64,
    pub(super) ms: Percentiles,
    /// Messages without a push, warm-up included.
    pub(super) lost: u64,
    /// Pushes beyond one for each message.
    pub(super) doubled: u64,
    pub(super) cpu: CpuSpan,
}

/// # Errors
/// The deployment does not answer.
pub(super) async fn measure(
    options: &Options,
    target: &Target,
    played: &Played,
    senders: &mut Senders,
) -> anyhow::Result<Latencies> {
    eprintln!(
        "parley: {} messages a second for {} s",
        options.rate, options.latency_seconds
    );
    let warm_up = send(options.rate, WARM_UP, senders).await?;
    let (before, start) = (Snapshot::take(&target.data), Instant::now());
    let count = send(options.rate, Duration::from_secs(options.latency_seconds), senders).await?;
    let cpu = Snapshot::take(&target.data).since(&before, start.elapsed().as_secs_f64());
    senders.settle(PATIENCE).await?;
    let expected = warm_up + count;
    // The last one is waited for; whatever is missing then is counted.
    let enough = |shown: &[Shown]| shown.len() >= expected;
    let shown = match played.fake()?.wait(PATIENCE, enough).await {
        Ok(shown) => shown,
        Err(missed) => missed.found,
    };

    let arrived: HashMap<(String, u64), Duration> = shown.iter().filter_map(arrival).collect();
    let mut latency = Latency::new()?;
    let mut lost = 0;
    for (number, sent) in senders.messages.iter().enumerate() {
        let id = senders.conversation(sent.crowd).to_owned();
        let Some(at) = sent.seq.and_then(|seq| arrived.get(&(id, seq))) else {
            lost += 1;
            continue;
        };
        if number >= warm_up {
            latency.record(at.saturating_sub(sent.at));
        }
    }
    Ok(Latencies {
        rate: options.rate,
        messages: count as u64,
        ms: latency.percentiles(),
        lost,
        doubled: (shown.len() - arrived.len()) as u64,
        cpu,
    })
}

/// Sends at an even rate; returns how many.
async fn send(rate: u64, length: Duration, senders: &mut Senders) -> anyhow::Result<usize> {
    let (pacer, start, mut count) = (Pacer::new()?, Instant::now(), 0);
    loop {
        let due = Duration::from_secs_f64(count as f64 / rate as f64);
        if due >= length {
            return Ok(count);
        }
        pacer.until(start + due).await?;
        senders.send().await?;
        senders.hear()?;
        count += 1;
    }
}

/// Which message a push is of, and when it was there, since 1970.
fn arrival(shown: &Shown) -> Option<((String, u64), Duration)> {
    let id = shown.data.get("conversation_id").and_then(Value::as_str)?;
    let seq = shown.data.get("seq").and_then(Value::as_u64)?;
    let at = u64::try_from(shown.at.as_millis()).ok()?;
    Some(((id.to_owned(), seq), Duration::from_millis(at)))
}
