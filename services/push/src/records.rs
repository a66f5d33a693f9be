//! What was decided for each device and message, and what came of it: kept for as long as the log, for a message's
//! timeline. Also what tells a message that comes again after the stream of jobs has forgotten it.

use std::collections::HashSet;

use bus::direct::{self, Query, Reach};
use bus::subjects::{self, PUSH_RECORDS_STREAM};
use bus::write::Entry;
use bus::{Bus, LogError, streams};
use protocol::push::Platform;
use protocol::{ConversationId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::decide::Reason;

/// Devices of one record: a large group's are in several.
const TOGETHER: usize = 500;
const PAGE: usize = 500;

/// One entry.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) v: u32,
    pub(crate) at: Timestamp,
    pub(crate) devices: Vec<Fate>,
}

/// What became of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fate {
    pub(crate) user_id: UserId,
    pub(crate) device_id: String,
    pub(crate) platform: Platform,
    #[serde(flatten)]
    pub(crate) step: Step,
}

/// How far a push has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Step {
    /// It is to be made.
    Queued,
    /// It is not to be made.
    Suppressed { reason: Reason },
    /// The provider has it.
    Sent { attempt: u32 },
    /// The token is dead.
    Gone { reason: String },
    /// It was given up.
    Dead { reason: String, attempt: u32 },
}

/// A step of one device, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// When it was decided, or came about.
    pub at: Timestamp,
    /// Whose device.
    pub user_id: UserId,
    /// Which.
    pub device_id: String,
    /// `apns`, `fcm`, `webpush`.
    pub provider: &'static str,
    /// `queued`, `suppressed`, `sent`, `gone` or `dead`.
    pub step: &'static str,
    /// Why, of all but `queued` and `sent`.
    pub reason: Option<String>,
    /// Which attempt, of `sent` and `dead`.
    pub attempt: Option<u32>,
}

/// What was decided of a message and what came of it, oldest first. Empty also where nobody has a device, and where it is
/// older than the log.
///
/// # Errors
/// NATS did not answer.
pub async fn decisions(bus: &Bus, id: &ConversationId, seq: u64) -> Result<Vec<Decision>, LogError> {
    let records = read(bus, id, seq).await?;
    let all = records
        .into_iter()
        .flat_map(|record| record.devices.into_iter().map(move |fate| shown(record.at, fate)));
    Ok(all.collect())
}

fn shown(at: Timestamp, fate: Fate) -> Decision {
    let (step, reason, attempt) = match fate.step {
        Step::Queued => ("queued", None, None),
        Step::Suppressed { reason } => ("suppressed", Some(reason.as_str().to_owned()), None),
        Step::Sent { attempt } => ("sent", None, Some(attempt)),
        Step::Gone { reason } => ("gone", Some(reason), None),
        Step::Dead { reason, attempt } => ("dead", Some(reason), Some(attempt)),
    };
    Decision {
        at,
        user_id: fate.user_id,
        device_id: fate.device_id,
        provider: fate.platform.as_str(),
        step,
        reason,
        attempt,
    }
}

/// The entries that say what became of devices.
pub(crate) fn entries(id: &ConversationId, seq: u64, devices: Vec<Fate>) -> Vec<Entry> {
    let at = Timestamp::now();
    let record = |devices: &[Fate]| Record {
        v: 1,
        at,
        devices: devices.to_vec(),
    };
    let entry = |devices: &[Fate]| Entry {
        subject: subjects::push_record(id, seq),
        payload: serde_json::to_vec(&record(devices)).unwrap_or_default().into(),
        message_id: None,
    };
    devices.chunks(TOGETHER).map(entry).collect()
}

/// All that is recorded of a message, oldest first.
///
/// # Errors
/// NATS did not answer.
pub(crate) async fn read(bus: &Bus, id: &ConversationId, seq: u64) -> Result<Vec<Record>, LogError> {
    let end = streams::recent_end(bus, PUSH_RECORDS_STREAM).await?;
    let (mut all, mut from) = (Vec::new(), 1);
    loop {
        let query = Query {
            seq: Some(from),
            next_by_subj: Some(subjects::push_record(id, seq)),
            batch: Some(PAGE),
            ..Query::default()
        };
        let page = direct::entries(bus, PUSH_RECORDS_STREAM, &query, Reach::Position(end)).await?;
        let Some(last) = page.records.last() else {
            return Ok(all);
        };
        from = last.position + 1;
        let pending = page.pending;
        all.extend(
            page.records
                .iter()
                .filter_map(|it| serde_json::from_slice(&it.payload).ok()),
        );
        if pending == 0 {
            return Ok(all);
        }
    }
}

/// The devices for which a message is decided.
///
/// # Errors
/// NATS did not answer.
pub(crate) async fn decided(bus: &Bus, id: &ConversationId, seq: u64) -> Result<HashSet<(UserId, String)>, LogError> {
    let records = read(bus, id, seq).await?;
    let fates = records.into_iter().flat_map(|it| it.devices);
    Ok(fates.map(|it| (it.user_id, it.device_id)).collect())
}

/// The devices that a message was sent to.
///
/// # Errors
/// NATS did not answer.
pub(crate) async fn sent(bus: &Bus, id: &ConversationId, seq: u64) -> Result<HashSet<(UserId, String)>, LogError> {
    let records = read(bus, id, seq).await?;
    let fates = records.into_iter().flat_map(|it| it.devices);
    let sent = fates.filter(|it| matches!(it.step, Step::Sent { .. }));
    Ok(sent.map(|it| (it.user_id, it.device_id)).collect())
}
