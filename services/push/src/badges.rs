//! When a conversation is read on one device, the others' icons are told: a silent push with the new number.
//!
//! Only devices that are not connected: the others hear of the reading themselves. Providers slow down apps that push
//! silently all the time, so readings are taken together, and a user's devices are told at most twice a minute.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message as Entry};
use bus::Lane;
use bus::pull::Pull;
use bus::write::write_all;
use futures_util::StreamExt;
use lifecycle::Shutdown;
use protocol::push::Platform;
use protocol::rpc::ReadSessions;
use protocol::{ConversationId, Refusal, Timestamp, UserId, envelope};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::jobs::{Job, Task, VERSION};
use crate::planner::{ACK_WAIT, consumer, hand_over};
use crate::service::Service;
use crate::unread::unread;
use crate::users::User;

const CONSUMER: &str = "push";
const FILTER: &str = "chat.receipt.*.*.read";
/// Whoever reads reads on.
const GATHER: Duration = Duration::from_secs(2);
/// Between two updates of one user.
const APART: Duration = Duration::from_secs(30);
/// A number that is an hour old is told by nobody.
const TTL_MS: i64 = 60 * 60 * 1_000;
const TICK: Duration = Duration::from_millis(250);
const BATCH: usize = 256;
/// Readings in hand; more wait in the stream.
const HELD_MOST: usize = 20_000;
/// Users of one question to the presence service.
const USERS_TOGETHER: usize = 500;
const SESSIONS_WAIT: Duration = Duration::from_millis(1_500);
const PAUSE: Duration = Duration::from_millis(500);

/// What a user has read since his devices were last told.
#[derive(Default)]
struct Reading {
    entries: Vec<Entry>,
    conversations: HashSet<ConversationId>,
    /// Stream sequence of the last one.
    cause: u64,
    due: Option<Instant>,
}

/// Follows readings until the shutdown.
pub(crate) async fn run(service: Arc<Service>, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut told: HashMap<UserId, Instant> = HashMap::new();
    while !shutdown.is_triggered() {
        let mut link = service.bus.link();
        let reason = tokio::select! {
            reason = follow(&service, &mut told, &shutdown) => reason,
            _ = link.changed() => "the link changed".to_owned(),
        };
        if shutdown.is_triggered() {
            break;
        }
        tracing::info!(reason, "following readings again");
        tokio::select! {
            () = shutdown.triggered() => {}
            () = sleep(PAUSE) => {}
        }
    }
    Ok(())
}

/// Until something is doubtful, and says what.
async fn follow(service: &Service, told: &mut HashMap<UserId, Instant>, shutdown: &Shutdown) -> String {
    let mut entries = match open(service).await {
        Ok(entries) => entries,
        Err(reason) => return reason,
    };
    let mut readings: HashMap<UserId, Reading> = HashMap::new();
    let (mut tick, mut progress) = (interval(TICK), interval(ACK_WAIT / 3));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let held: usize = readings.values().map(|it| it.entries.len()).sum();
        tokio::select! {
            () = shutdown.triggered() => {
                for entry in readings.values().flat_map(|it| &it.entries) {
                    settle(entry, AckKind::Nak(Some(PAUSE))).await;
                }
                hand_over(entries).await;
                return "shutting down".to_owned();
            }
            entry = entries.next(), if held < HELD_MOST => match entry {
                Some(Ok(entry)) => note(&mut readings, told, entry).await,
                Some(Err(error)) => return error,
                None => return "stopped".to_owned(),
            },
            _ = progress.tick() => {
                for entry in readings.values().flat_map(|it| &it.entries) {
                    settle(entry, AckKind::Progress).await;
                }
            }
            _ = tick.tick() => {
                let now = Instant::now();
                told.retain(|_, at| now.saturating_duration_since(*at) < APART);
                let due: HashMap<UserId, Reading> = readings
                    .extract_if(|_, it| it.due.is_none_or(|due| due <= now))
                    .collect();
                if due.is_empty() {
                    continue;
                }
                if let Err(error) = tell(service, &due).await {
                    tracing::warn!(error, users = due.len(), "icons are told in a moment");
                    for entry in due.values().flat_map(|it| &it.entries) {
                        settle(entry, AckKind::Nak(Some(GATHER))).await;
                    }
                    continue;
                }
                for entry in due.values().flat_map(|it| &it.entries) {
                    settle(entry, AckKind::Ack).await;
                }
                told.extend(due.into_keys().map(|user| (user, now)));
            }
        }
    }
}

async fn open(service: &Service) -> Result<Pull, String> {
    let consumer = consumer(service, Lane::Receipts, CONSUMER, FILTER.to_owned()).await?;
    Ok(Pull::new(consumer, BATCH))
}

/// Takes a reading in.
async fn note(readings: &mut HashMap<UserId, Reading>, told: &HashMap<UserId, Instant>, entry: Entry) {
    let read = envelope::decode(&entry.payload).ok();
    let Some((user, id)) = read.and_then(|(_, head)| Some((head.user_id?, head.conversation_id))) else {
        settle(&entry, AckKind::Ack).await;
        return;
    };
    let now = Instant::now();
    let last = told.get(&user).copied();
    let reading = readings.entry(user).or_default();
    reading.conversations.insert(id);
    reading.cause = entry.info().map_or(reading.cause, |info| info.stream_sequence);
    reading.due = reading
        .due
        .or_else(|| Some(last.map_or(now + GATHER, |last| (last + APART).max(now + GATHER))));
    reading.entries.push(entry);
}

/// Queues the silent pushes.
async fn tell(service: &Service, due: &HashMap<UserId, Reading>) -> Result<(), String> {
    let users: Vec<&UserId> = due.keys().collect();
    let known = service.users.get(&users).await.map_err(|error| error.to_string())?;
    let with_icons: Vec<UserId> = users
        .into_iter()
        .filter(|user| {
            known
                .get(*user)
                .is_some_and(|it| it.devices.iter().any(|it| has_icon(it.1.platform)))
        })
        .cloned()
        .collect();
    if with_icons.is_empty() {
        return Ok(());
    }
    let connected = connected(service, &with_icons)
        .await
        .map_err(|error| error.to_string())?;
    let asleep: Vec<(&UserId, usize)> = with_icons
        .iter()
        .filter_map(|user| Some((user, known.get(user)?)))
        .flat_map(|(user, it)| asleep(user, it, &connected))
        .collect();
    let asked: HashSet<UserId> = asleep.iter().map(|it| it.0.clone()).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let conversations = due
        .iter()
        .filter(|(user, _)| asked.contains(*user))
        .flat_map(|(_, it)| it.conversations.iter().cloned())
        .collect();
    let counts = unread(service, asked, conversations).await;
    if counts.is_empty() {
        return Err("the number of unread messages is not known".to_owned());
    }
    let jobs = asleep.into_iter().filter_map(|(user, device)| {
        let (count, it) = counts.get(user).zip(known.get(user))?;
        job(service, user, it, device, due.get(user)?.cause, *count)
    });
    let entries = jobs.map(|job| service.lanes.entry(&job)).collect();
    for written in write_all(&service.bus, entries).await {
        written.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Browsers have none that could be set without showing something.
fn has_icon(platform: Platform) -> bool {
    platform != Platform::Webpush
}

async fn connected(service: &Service, users: &[UserId]) -> Result<HashSet<(UserId, String)>, Refusal> {
    let mut devices = HashSet::new();
    for users in users.chunks(USERS_TOGETHER) {
        let request = ReadSessions { users: users.to_vec() };
        let answer = bus::rpc::call(&service.bus, &request, SESSIONS_WAIT).await?;
        for user in answer.users {
            devices.extend(user.devices.into_iter().map(|it| (user.user_id.clone(), it.0)));
        }
    }
    Ok(devices)
}

/// The user's devices with icons that are not connected.
fn asleep<'a>(user: &'a UserId, it: &User, connected: &HashSet<(UserId, String)>) -> Vec<(&'a UserId, usize)> {
    let devices = it.devices.iter().enumerate();
    devices
        .filter(|(_, (device, registration))| {
            has_icon(registration.platform) && !connected.contains(&(user.clone(), device.clone()))
        })
        .map(|(index, _)| (user, index))
        .collect()
}

fn job(service: &Service, user: &UserId, it: &User, device: usize, cause: u64, count: u32) -> Option<Job> {
    let (device_id, registration) = it.devices.get(device)?;
    let now = Timestamp::now();
    Some(Job {
        v: VERSION,
        user_id: user.clone(),
        device_id: device_id.clone(),
        platform: registration.platform,
        app: service.app_of(registration)?,
        sandbox: registration.is_sandbox(),
        made_at: now,
        expires_at: Timestamp::from_millis(now.as_millis() + TTL_MS),
        attempts: 0,
        not_before: None,
        task: Task::Badge { cause, count },
    })
}

async fn settle(entry: &Entry, kind: AckKind) {
    if let Err(error) = entry.ack_with(kind).await {
        tracing::debug!(%error, "a reading may come again");
    }
}
