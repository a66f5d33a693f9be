//! Whether each device was pushed each message once.
//!
//! The provider counts pushes and the push service records each that was accepted, per device and message. If every
//! device has such a record of every message, and the provider accepted as many as there are, none was pushed twice.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bus::Bus;
use fake_push::Counts;
use futures_util::{StreamExt, TryStreamExt, stream};
use protocol::UserId;
use serde::Serialize;
use tokio::time::sleep;

use super::crowd::Crowd;
use super::senders::Senders;

/// Messages whose records are read at once.
const ABREAST: usize = 8;
/// Records are not waited for by who writes them.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Proof {
    pub(super) messages: u64,
    /// Devices times messages.
    pub(super) expected: u64,
    /// By the provider.
    pub(super) accepted: u64,
    /// By the provider, by reason.
    pub(super) refused: BTreeMap<String, u64>,
    /// Messages that were not taken, by code.
    pub(super) unsent: BTreeMap<String, u64>,
    /// Devices and messages without a record of a push.
    pub(super) lost: u64,
    /// With more than one.
    pub(super) doubled: u64,
    /// Pushes that took more than one attempt.
    pub(super) again: u64,
    /// Records of anything but a push, by reason.
    pub(super) suppressed: BTreeMap<String, u64>,
}

impl Proof {
    pub(super) fn holds(&self) -> bool {
        let is_exact = self.accepted == self.expected && self.lost == 0 && self.doubled == 0;
        is_exact && self.refused.is_empty() && self.unsent.is_empty() && self.suppressed.is_empty()
    }
}

/// # Errors
/// NATS does not answer.
pub(super) async fn prove(
    bus: &Bus,
    crowds: &[Crowd],
    senders: &Senders,
    before: &Counts,
    after: &Counts,
) -> anyhow::Result<Proof> {
    let acked = senders
        .messages
        .iter()
        .filter_map(|it| Some((&crowds[it.crowd], it.seq?)));
    let mut proof = Proof {
        accepted: after.accepted - before.accepted,
        refused: after.refused.clone(),
        unsent: senders.refused.clone(),
        ..Proof::default()
    };
    let parts: Vec<Proof> = stream::iter(acked)
        .map(|(crowd, seq)| message(bus, crowd, seq))
        .buffer_unordered(ABREAST)
        .try_collect()
        .await?;
    for part in parts {
        proof.messages += 1;
        proof.expected += part.expected;
        proof.lost += part.lost;
        proof.doubled += part.doubled;
        proof.again += part.again;
        for (reason, count) in part.suppressed {
            *proof.suppressed.entry(reason).or_default() += count;
        }
    }
    Ok(proof)
}

/// Of one message.
async fn message(bus: &Bus, crowd: &Crowd, seq: u64) -> anyhow::Result<Proof> {
    let start = Instant::now();
    loop {
        let proof = recorded(bus, crowd, seq).await?;
        if proof.lost == 0 || start.elapsed() >= PATIENCE {
            return Ok(proof);
        }
        sleep(PAUSE).await;
    }
}

async fn recorded(bus: &Bus, crowd: &Crowd, seq: u64) -> anyhow::Result<Proof> {
    let mut pushed: HashMap<UserId, u64> = HashMap::new();
    let mut proof = Proof {
        expected: crowd.users.len() as u64,
        ..Proof::default()
    };
    for it in push::decisions::decisions(bus, &crowd.conversation_id, seq).await? {
        match it.step {
            "queued" => {}
            "sent" => {
                proof.again += u64::from(it.attempt.is_some_and(|attempt| attempt > 1));
                *pushed.entry(it.user_id).or_default() += 1;
            }
            step => {
                let reason = it.reason.unwrap_or_else(|| step.to_owned());
                *proof.suppressed.entry(reason).or_default() += 1;
            }
        }
    }
    for user in &crowd.users {
        match pushed.get(user).copied().unwrap_or(0) {
            0 => proof.lost += 1,
            times => proof.doubled += times - 1,
        }
    }
    Ok(proof)
}
