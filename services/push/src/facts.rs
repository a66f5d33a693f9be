//! Gathers what a decision rests on, for many devices at once: who is connected, what is read, what is confirmed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bus::direct::last_of_each;
use bus::subjects::{self, DEVICES_STREAM, Lane};
use bus::{Bus, LogError, Record};
use protocol::client_frame::AppState;
use protocol::rpc::{ReadSessions, ReceiptKind, UserConnections};
use protocol::{ConversationId, Refusal, UserId, envelope};

const SESSIONS_WAIT: Duration = Duration::from_millis(1_500);
/// Users of one question to the presence service.
const USERS_TOGETHER: usize = 500;

/// A device and the message that it may be told of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) device: &'a str,
    pub(crate) conversation: &'a ConversationId,
    pub(crate) seq: u64,
}

/// What is so for one of them now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) session: Option<AppState>,
    /// On the screen of another of the user's devices, or about to be on one: he was connected until a moment ago.
    pub(crate) is_active_elsewhere: bool,
    pub(crate) is_dnd: bool,
    pub(crate) is_read: bool,
    pub(crate) is_confirmed: bool,
}

/// Why nothing can be decided yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("the log: {0}")]
    Log(#[from] LogError),
    #[error("presence: {0}")]
    Presence(Refusal),
}

/// Gathers, in the order of `places`. `blindly`: where nobody knows who is connected, nobody is taken to be: a phone that
/// rings once too often is better than one that does not.
///
/// # Errors
/// [`Unknown`].
pub(crate) async fn gather(bus: &Bus, places: &[Place<'_>], blindly: bool) -> Result<Vec<Now>, Unknown> {
    let (connections, read, confirmed) = tokio::join!(
        connections(bus, places),
        read_marks(bus, places),
        confirmed_marks(bus, places)
    );
    let (read, confirmed) = (read?, confirmed?);
    let connections = match connections {
        Ok(connections) => connections,
        Err(refusal) if blindly => {
            metrics::counter!("parley_push_blind_decisions_total").increment(places.len() as u64);
            tracing::warn!(%refusal, "deciding on pushes without knowing who is connected");
            HashMap::new()
        }
        Err(refusal) => return Err(Unknown::Presence(refusal)),
    };
    let now = |place: &Place<'_>| {
        let user = connections.get(place.user);
        let device = |it: &UserConnections| it.devices.iter().find(|it| it.0 == place.device).map(|it| it.1);
        let read = read.get(&read_subject(place)).copied().unwrap_or(0);
        let confirmed = confirmed.get(&confirmed_subject(place)).copied().unwrap_or(0);
        Now {
            session: user.and_then(device),
            is_active_elsewhere: user.is_some_and(|it| it.lately || is_active_elsewhere(it, place.device)),
            is_dnd: user.is_some_and(|it| it.dnd),
            is_read: read >= place.seq,
            is_confirmed: confirmed >= place.seq,
        }
    };
    Ok(places.iter().map(now).collect())
}

fn is_active_elsewhere(user: &UserConnections, device: &str) -> bool {
    let others = user.devices.iter().filter(|it| it.0 != device);
    others.into_iter().any(|it| it.1 == AppState::Foreground)
}

/// Which of the messages are read.
///
/// # Errors
/// NATS did not answer.
pub(crate) async fn are_read(bus: &Bus, places: &[Place<'_>]) -> Result<Vec<bool>, LogError> {
    let marks = read_marks(bus, places).await?;
    let is_read = |place: &Place<'_>| marks.get(&read_subject(place)).is_some_and(|mark| *mark >= place.seq);
    Ok(places.iter().map(is_read).collect())
}

async fn connections(bus: &Bus, places: &[Place<'_>]) -> Result<HashMap<UserId, UserConnections>, Refusal> {
    let users: HashSet<&UserId> = places.iter().map(|it| it.user).collect();
    let users: Vec<UserId> = users.into_iter().cloned().collect();
    let mut known = HashMap::new();
    for users in users.chunks(USERS_TOGETHER) {
        let request = ReadSessions { users: users.to_vec() };
        let answer = bus::rpc::call(bus, &request, SESSIONS_WAIT).await?;
        known.extend(answer.users.into_iter().map(|it| (it.user_id.clone(), it)));
    }
    Ok(known)
}

fn read_subject(place: &Place<'_>) -> String {
    subjects::receipt(place.conversation, place.user, ReceiptKind::Read)
}

fn confirmed_subject(place: &Place<'_>) -> String {
    subjects::confirmed(place.user, place.device, place.conversation)
}

/// By subject.
async fn read_marks(bus: &Bus, places: &[Place<'_>]) -> Result<HashMap<String, u64>, LogError> {
    let mark = |record: &Record| envelope::decode(&record.payload).ok().map(|(_, head)| head.seq);
    marks(bus, &Lane::Receipts.stream(), places.iter().map(read_subject), mark).await
}

async fn confirmed_marks(bus: &Bus, places: &[Place<'_>]) -> Result<HashMap<String, u64>, LogError> {
    let mark = |record: &Record| std::str::from_utf8(&record.payload).ok()?.parse().ok();
    marks(bus, DEVICES_STREAM, places.iter().map(confirmed_subject), mark).await
}

async fn marks(
    bus: &Bus,
    stream: &str,
    subjects: impl Iterator<Item = String>,
    mark: impl Fn(&Record) -> Option<u64>,
) -> Result<HashMap<String, u64>, LogError> {
    let subjects: HashSet<String> = subjects.collect();
    let subjects: Vec<String> = subjects.into_iter().collect();
    let records = last_of_each(bus, stream, &subjects).await?;
    let known = records.iter().filter_map(|it| Some((it.subject.clone(), mark(it)?)));
    Ok(known.collect())
}
