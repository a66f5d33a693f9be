//! What the service answers: who is there, how users appear; and how they want to.

use std::collections::HashMap;
use std::time::Duration;

use bus::direct::{self, Query};
use bus::{Bus, streams, subjects};
use parking_lot::Mutex;
use protocol::rpc::{Connections, LookAround, ReadSessions, SetStatus, Sight};
use protocol::server_frame::Status;
use protocol::{Refusal, Timestamp, UserId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::bucket::Stored;
use crate::core::{Core, Now};
use crate::writer::Writer;

/// How long an answer waits for the asking node's report.
const REPORT_WAIT: Duration = Duration::from_millis(500);
/// How long it then waits for the times of being last seen that NATS keeps.
const SEEN_WAIT: Duration = Duration::from_millis(300);
/// Users whose times are read at once.
const SEEN_BATCH: usize = 500;
/// How long a status has to be stored.
const STORE_WAIT: Duration = Duration::from_millis(600);
/// How long an answer then waits until it has come back.
const WATCH_WAIT: Duration = Duration::from_millis(250);
/// Answers with more entries are measured before they are sent.
const ENTRIES_UNMEASURED: usize = 2_000;
/// The same of devices, whose names may be long.
const DEVICES_UNMEASURED: usize = 1_000;

/// What the loop and the endpoints share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) bus: Bus,
    pub(crate) stream: config::Stream,
    /// This replica's name.
    pub(crate) name: String,
    pub(crate) core: Mutex<Core>,
    /// Told whenever the core may have changed.
    pub(crate) changed: watch::Sender<()>,
    pub(crate) writer: Writer,
}

impl Service {
    pub(crate) fn new(bus: Bus, stream: config::Stream, lease: Duration) -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        Self {
            core: Mutex::new(Core::new(name.clone(), lease, Now::real())),
            bus,
            stream,
            name,
            changed: watch::Sender::new(()),
            writer: Writer::default(),
        }
    }

    /// Waits until every node and every status is known.
    pub(crate) async fn ready(&self) {
        let _ = self.until(|core| core.is_ready().then_some(())).await;
    }

    /// Looks around.
    ///
    /// # Errors
    /// None: what is not known in time is left out, and said to be late.
    pub(crate) async fn look(&self, request: LookAround) -> Result<Sight, Refusal> {
        let started = Instant::now();
        let report = request.report.as_ref();
        let current = self.until(|core| core.is_current(report, Now::real()).then_some(()));
        let late = timeout(REPORT_WAIT, current).await.is_err();
        if late {
            metrics::counter!("parley_presence_looks_late_total").increment(1);
        }
        let mut sight = self.core.lock().look_around(&request);
        sight.late = late;
        if request.last_seen {
            self.add_last_seen(&mut sight).await;
        }
        fit(&mut sight, self.bus.payload_bytes_most());
        metrics::histogram!("parley_presence_look_seconds").record(started.elapsed().as_secs_f64());
        Ok(sight)
    }

    /// Which devices users are connected from.
    ///
    /// # Errors
    /// `unavailable` while this replica cannot be sure that it knows.
    pub(crate) async fn sessions(&self, request: ReadSessions) -> Result<Connections, Refusal> {
        let current = self.until(|core| {
            let current = core.is_current(None, Now::real());
            current.then(|| core.connections(&request.users))
        });
        let Ok(mut connections) = timeout(REPORT_WAIT, current).await else {
            metrics::counter!("parley_presence_sessions_late_total").increment(1);
            return Err(Refusal::unavailable("it is not known for sure who is connected"));
        };
        fit_devices(&mut connections, self.bus.payload_bytes_most());
        Ok(connections)
    }

    /// Stores how a user wants to appear; when it is answered, it is so for whoever asks this replica.
    ///
    /// # Errors
    /// `unavailable`: it may be stored or not; it is safe to repeat.
    pub(crate) async fn set_status(&self, request: SetStatus) -> Result<(), Refusal> {
        let stored = timeout(STORE_WAIT, self.store_status(&request)).await;
        let Ok(Ok(revision)) = stored else {
            metrics::counter!("parley_presence_status_failures_total").increment(1);
            return Err(Refusal::unavailable("the status could not be stored in time"));
        };
        let seen = self.until(|core| (core.revision() >= revision).then_some(()));
        if timeout(WATCH_WAIT, seen).await.is_err() {
            metrics::counter!("parley_presence_status_late_total").increment(1);
        }
        Ok(())
    }

    async fn store_status(&self, request: &SetStatus) -> Result<u64, String> {
        let stored = Stored {
            status: request.status,
            session_id: Some(request.session_id.clone()),
        };
        let value = bytes::Bytes::from(serde_json::to_vec(&stored).unwrap_or_default());
        let subject = format!(
            "$KV.{}.{}",
            subjects::PRESENCE_BUCKET,
            subjects::status_key(&request.user_id)
        );
        let first = put(&self.bus, &subject, &value).await;
        let Err(error) = first else { return first };
        tracing::debug!(error, "a status could not be stored; the bucket may be gone");
        let made = streams::presence_bucket(&self.bus, &self.stream).await;
        made.map_err(|error| error.to_string())?;
        put(&self.bus, &subject, &value).await
    }

    /// Adds what NATS keeps to what is remembered here: the later one is right.
    async fn add_last_seen(&self, sight: &mut Sight) {
        let offline = sight.presence.iter().filter(|it| it.status == Status::Offline);
        let users: Vec<UserId> = offline.map(|it| it.user_id.clone()).collect();
        if users.is_empty() {
            return;
        }
        let Ok(Ok(stored)) = timeout(SEEN_WAIT, self.read_seen(&users)).await else {
            metrics::counter!("parley_presence_seen_failures_total").increment(1);
            return;
        };
        for presence in &mut sight.presence {
            if presence.status == Status::Offline {
                let time = stored.get(&subjects::seen_key(&presence.user_id)).copied();
                presence.last_seen = presence.last_seen.max(time);
            }
        }
    }

    /// By key.
    async fn read_seen(&self, users: &[UserId]) -> Result<HashMap<String, Timestamp>, bus::LogError> {
        let stream = format!("KV_{}", subjects::PRESENCE_BUCKET);
        let prefix = format!("$KV.{}.", subjects::PRESENCE_BUCKET);
        let mut times = HashMap::new();
        for users in users.chunks(SEEN_BATCH) {
            let keys = users.iter().map(subjects::seen_key);
            let query = Query {
                multi_last: keys.map(|key| format!("{prefix}{key}")).collect(),
                batch: Some(SEEN_BATCH),
                ..Query::default()
            };
            let batch = direct::batch(&self.bus, &stream, &query).await?;
            times.extend(batch.records.iter().filter_map(|record| {
                let key = record.subject.strip_prefix(&prefix)?.to_owned();
                let millis = std::str::from_utf8(&record.payload).ok()?.parse().ok()?;
                Some((key, Timestamp::from_millis(millis)))
            }));
        }
        Ok(times)
    }

    /// Waits until the core gives an answer.
    async fn until<T>(&self, mut ask: impl FnMut(&Core) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(answer) = ask(&self.core.lock()) {
                return answer;
            }
            if changed.changed().await.is_err() {
                // The sender is this service's own: it cannot be gone.
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn put(bus: &Bus, subject: &str, value: &bytes::Bytes) -> Result<u64, String> {
    if !bus.is_up() {
        return Err("not connected".into());
    }
    let sent = bus.jetstream.publish(subject.to_owned(), value.clone()).await;
    let ack = sent.map_err(|error| error.to_string())?.await;
    ack.map(|ack| ack.sequence).map_err(|error| error.to_string())
}

/// A room so full that its list fits no message is listed in part, and says so.
fn fit(sight: &mut Sight, bytes_most: usize) {
    while sight.present.len() + sight.presence.len() > ENTRIES_UNMEASURED {
        let bytes = serde_json::to_vec(&sight).map_or(0, |bytes| bytes.len());
        if bytes <= bytes_most {
            return;
        }
        metrics::counter!("parley_presence_looks_cut_total").increment(1);
        sight.cut = true;
        sight.present.truncate(sight.present.len() * 3 / 4);
    }
}

/// Of users with so many devices that they fit no message only the first are told of: those in the foreground.
fn fit_devices(connections: &mut Connections, bytes_most: usize) {
    while connections.users.iter().map(|it| it.devices.len()).sum::<usize>() > DEVICES_UNMEASURED {
        let bytes = serde_json::to_vec(&connections).map_or(0, |bytes| bytes.len());
        if bytes <= bytes_most {
            return;
        }
        metrics::counter!("parley_presence_sessions_cut_total").increment(1);
        for user in &mut connections.users {
            user.devices.truncate(user.devices.len().div_ceil(2));
        }
        if connections.users.iter().all(|it| it.devices.len() <= 1) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::UserId;
    use protocol::client_frame::AppState;
    use protocol::rpc::UserConnections;

    use super::*;

    #[test]
    fn a_list_that_fits_no_message_is_cut_and_says_so() {
        let user = |number: usize| UserId::parse(&format!("{number:0>120}")).unwrap();
        let mut sight = Sight {
            present: (0..10_000).map(user).collect(),
            ..Sight::default()
        };
        fit(&mut sight, 1_000_000);
        assert!(sight.cut && sight.present.len() > 5_000);
        assert!(serde_json::to_vec(&sight).unwrap().len() <= 1_000_000);
        let mut small = Sight {
            present: (0..5_000).map(user).collect(),
            ..Sight::default()
        };
        fit(&mut small, 1_000_000);
        assert!(!small.cut && small.present.len() == 5_000);
    }

    #[test]
    fn of_users_with_too_many_devices_those_in_the_foreground_are_told_of() {
        let devices = |user: usize| {
            let device = |number| (format!("{user}-{number:0>120}"), AppState::Background);
            let foreground = (format!("{user}-phone"), AppState::Foreground);
            [foreground].into_iter().chain((0..99).map(device)).collect()
        };
        let user = |number: usize| UserConnections {
            user_id: UserId::parse(&number.to_string()).unwrap(),
            dnd: false,
            devices: devices(number),
            lately: false,
        };
        let mut connections = Connections {
            users: (0..200).map(user).collect(),
        };
        fit_devices(&mut connections, 1_000_000);
        assert!(serde_json::to_vec(&connections).unwrap().len() <= 1_000_000);
        assert!(
            connections
                .users
                .iter()
                .all(|it| it.devices[0].1 == AppState::Foreground)
        );
        assert!(connections.users.iter().all(|it| it.devices.len() > 10));
    }
}
