//! Telling the presence service what this node has: numbered reports of what changed, beats, and snapshots on request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bus::subjects;
use futures_util::StreamExt;
use lifecycle::Shutdown;
use protocol::UserId;
use protocol::client_frame::AppState;
use protocol::signal::{Report, RoomPresence, SessionState, Snapshot, Subscribed, UserSessions};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, timeout};

use crate::app::App;
use crate::session::Session;

/// What changes within this time goes into one report.
const PACE: Duration = Duration::from_millis(50);
/// Beats within a lease.
const BEATS: u32 = 5;
/// Users or subscriptions of one message, and their bytes: far below what NATS takes.
const PART: usize = 500;
const PART_BYTES: usize = 256 * 1024;
/// Devices of one user that are told of, the most active ones, each by its most active session: more say nothing new of how
/// he appears.
const SESSIONS_MOST: usize = 16;
/// A publish that takes longer is given up.
const PUBLISH: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Reporter {
    /// This process, among all connection nodes.
    node: String,
    /// The number of the last report; held while one is made and sent.
    number: Mutex<u64>,
}

impl Reporter {
    /// Of a new node.
    pub fn new() -> Self {
        Self {
            node: uuid::Uuid::new_v4().simple().to_string(),
            number: Mutex::new(0),
        }
    }

    /// This process's id.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Reports what has changed until now, if anything. Returns the node and the number of its last report.
    pub async fn flush(&self, app: &App) -> (String, u64) {
        let mut number = self.number.lock().await;
        let (users, rooms) = app.hub.rooms.changes.take();
        let users = users
            .into_iter()
            .map(|user| sessions_of(app.hub.sessions_of(&user), user));
        let rooms = rooms.into_iter().map(|(conversation_id, user_id, now)| RoomPresence {
            conversation_id,
            user_id,
            now,
        });
        let (mut users, mut rooms) = (parts(users).into_iter(), parts(rooms).into_iter());
        loop {
            let (users, rooms) = (users.next(), rooms.next());
            if users.is_none() && rooms.is_none() {
                return (self.node.clone(), *number);
            }
            *number += 1;
            let report = Report {
                node: self.node.clone(),
                number: *number,
                users: users.unwrap_or_default(),
                rooms: rooms.unwrap_or_default(),
                last: false,
            };
            self.publish(app, &report).await;
        }
    }

    async fn beat(&self, app: &App, last: bool) {
        let mut number = self.number.lock().await;
        if last {
            *number += 1;
        }
        let report = Report {
            node: self.node.clone(),
            number: *number,
            last,
            ..Report::default()
        };
        self.publish(app, &report).await;
    }

    /// What is lost is noticed by its number.
    async fn publish(&self, app: &App, report: &Report) {
        send(app, subjects::presence_report(&self.node), report).await;
    }

    /// All that this node has, in parts.
    async fn snapshot(&self, app: &App) -> Vec<Snapshot> {
        // Not while a report is being made: what the snapshot says is at least as new as its number.
        let number = self.number.lock().await;
        let mut by_user: HashMap<UserId, Vec<Arc<Session>>> = HashMap::new();
        for session in app.hub.sessions().into_iter().filter(|it| it.is_present) {
            by_user.entry(session.user_id.clone()).or_default().push(session);
        }
        let users = by_user.into_iter().map(|(user, sessions)| sessions_of(sessions, user));
        let rooms = app.hub.rooms.subscriptions().into_iter();
        let rooms = rooms.map(|(conversation_id, user_id)| RoomPresence {
            conversation_id,
            user_id,
            now: Subscribed::Here,
        });
        let (users, rooms) = (parts(users), parts(rooms));
        let count = users.len().max(rooms.len()).max(1);
        let (mut users, mut rooms) = (users.into_iter(), rooms.into_iter());
        let part = |index: usize| Snapshot {
            report: Report {
                node: self.node.clone(),
                number: *number,
                users: users.next().unwrap_or_default(),
                rooms: rooms.next().unwrap_or_default(),
                last: false,
            },
            part: u32::try_from(index).unwrap_or(u32::MAX),
            more: index + 1 < count,
        };
        (0..count).map(part).collect()
    }
}

/// Cuts a list into what fits into a message each.
fn parts<T: Serialize>(items: impl Iterator<Item = T>) -> Vec<Vec<T>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for item in items {
        let more = serde_json::to_vec(&item).map_or(0, |it| it.len());
        if part.len() == PART || (bytes + more > PART_BYTES && !part.is_empty()) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += more;
        part.push(item);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Publishes, or counts that it could not. While NATS is away nothing waits for it: what has changed meanwhile is asked for
/// when it is back.
async fn send(app: &App, subject: String, what: &impl Serialize) {
    let bus = app.hub.log.bus();
    let payload = serde_json::to_vec(what).unwrap_or_default();
    let sent = async { bus.is_up() && bus.client.publish(subject, payload.into()).await.is_ok() };
    if !timeout(PUBLISH, sent).await.unwrap_or(false) {
        metrics::counter!("parley_reports_unsent_total").increment(1);
    }
}

fn sessions_of(sessions: Vec<Arc<Session>>, user_id: UserId) -> UserSessions {
    let present = sessions.iter().filter(|it| it.is_present);
    let mut sessions: Vec<SessionState> = present.map(|it| session_state(it)).collect();
    sessions.sort_by_key(|it| (it.idle, it.state != AppState::Foreground));
    let mut devices = HashSet::new();
    sessions.retain(|it| devices.len() < SESSIONS_MOST && devices.insert(it.device_id.clone()));
    UserSessions { user_id, sessions }
}

fn session_state(session: &Session) -> SessionState {
    let (state, idle) = session.activity();
    SessionState {
        device_id: session.device_id.clone(),
        state,
        idle,
    }
}

/// Reports and beats until `last` fires, and then says goodbye.
pub async fn run(app: Arc<App>, lease: Duration, last: Shutdown) -> anyhow::Result<()> {
    let bus = app.hub.log.bus().clone();
    let mut hello = bus.client.subscribe(subjects::PRESENCE_HELLO).await?;
    let mut asked = bus
        .client
        .subscribe(subjects::presence_snapshot(&app.reporter.node))
        .await?;
    let mut beat = tokio::time::interval(lease / BEATS);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = last.triggered() => break,
            // The first change at once, what follows it together.
            () = app.hub.rooms.changes.some() => {
                app.reporter.flush(&app).await;
                tokio::time::sleep(PACE).await;
            }
            _ = beat.tick() => {
                app.hub.rooms.measure();
                app.reporter.beat(&app, false).await;
            }
            Some(_) = hello.next() => app.reporter.beat(&app, false).await,
            Some(message) = asked.next() => {
                let Some(reply) = message.reply else { continue };
                for part in app.reporter.snapshot(&app).await {
                    send(&app, reply.to_string(), &part).await;
                }
            }
            else => break,
        }
    }
    app.reporter.flush(&app).await;
    app.reporter.beat(&app, true).await;
    let _ = tokio::time::timeout(Duration::from_millis(500), bus.client.flush()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::start::Who;

    fn session(number: usize) -> Arc<Session> {
        let who = Who {
            user_id: UserId::parse("ann").unwrap(),
            device_id: format!("{}{:03}", "\u{1}".repeat(125), number / 2),
            state: if number < 3 {
                AppState::Background
            } else {
                AppState::Foreground
            },
            is_present: number != 7,
        };
        Session::new(who, &[0], 0)
    }

    #[test]
    fn of_a_user_with_thousands_of_sockets_the_most_active_are_told() {
        let sessions: Vec<_> = (0..2_000).map(session).collect();
        sessions[3].set_idle();
        let told = sessions_of(sessions, UserId::parse("ann").unwrap()).sessions;
        assert_eq!(told.len(), SESSIONS_MOST);
        assert!(told.iter().all(|it| !it.idle && it.state == AppState::Foreground));
    }

    #[test]
    fn a_device_with_many_sockets_takes_the_place_of_no_other() {
        let mut sessions: Vec<_> = (10..12).map(session).collect();
        sessions.extend((0..100).map(|_| session(20)));
        let told = sessions_of(sessions, UserId::parse("ann").unwrap()).sessions;
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn parts_fit_into_a_message_and_leave_nothing_out() {
        let all = (0..5_000).map(|_| sessions_of((3..30).map(session).collect(), UserId::parse("ann").unwrap()));
        let parts = parts(all);
        let bytes = |part: &Vec<UserSessions>| serde_json::to_vec(part).unwrap().len();
        assert!(parts.iter().all(|part| bytes(part) <= PART_BYTES + part.len() + 2));
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 5_000);
    }
}
