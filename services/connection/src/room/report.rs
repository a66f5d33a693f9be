//! Telling the presence service what this node has: numbered reports of what changed, beats, and snapshots on request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus::subjects;
use futures_util::StreamExt;
use lifecycle::Shutdown;
use protocol::UserId;
use protocol::signal::{Report, RoomPresence, SessionState, Snapshot, Subscribed, UserSessions};
use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::session::Session;

/// What changes within this time goes into one report.
const PACE: Duration = Duration::from_millis(50);
/// Beats within a lease.
const BEATS: u32 = 5;
/// Users and subscriptions of one message.
const PART: usize = 500;

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

    /// Reports what has changed until now, if anything. Returns the node and the number of its last report.
    pub async fn flush(&self, app: &App) -> (String, u64) {
        let mut number = self.number.lock().await;
        let (users, rooms) = app.hub.rooms.changes.take();
        let mut users = users
            .chunks(PART)
            .map(<[UserId]>::to_vec)
            .collect::<Vec<_>>()
            .into_iter();
        let mut rooms = rooms.chunks(PART).map(<[_]>::to_vec).collect::<Vec<_>>().into_iter();
        loop {
            let (users, rooms) = (users.next(), rooms.next());
            if users.is_none() && rooms.is_none() {
                return (self.node.clone(), *number);
            }
            *number += 1;
            let report = Report {
                node: self.node.clone(),
                number: *number,
                users: users
                    .unwrap_or_default()
                    .into_iter()
                    .map(|user| sessions_of(app, user))
                    .collect(),
                rooms: rooms
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(conversation_id, user_id, now)| RoomPresence {
                        conversation_id,
                        user_id,
                        now,
                    })
                    .collect(),
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

    async fn publish(&self, app: &App, report: &Report) {
        let payload = serde_json::to_vec(report).unwrap_or_default();
        let client = &app.hub.log.bus().client;
        // What is lost is noticed by its number.
        if let Err(error) = client
            .publish(subjects::presence_report(&self.node), payload.into())
            .await
        {
            tracing::debug!(%error, "a report was not sent");
        }
    }

    /// All that this node has, in parts.
    async fn snapshot(&self, app: &App) -> Vec<Snapshot> {
        // Not while a report is being made: what the snapshot says is at least as new as its number.
        let number = self.number.lock().await;
        let mut by_user: HashMap<UserId, Vec<Arc<Session>>> = HashMap::new();
        for session in app.hub.sessions().into_iter().filter(|it| it.is_present) {
            by_user.entry(session.user_id.clone()).or_default().push(session);
        }
        let users: Vec<UserSessions> = by_user
            .into_iter()
            .map(|(user_id, sessions)| UserSessions {
                user_id,
                sessions: sessions.iter().map(|it| session_state(it)).collect(),
            })
            .collect();
        let here = |(conversation_id, user_id)| RoomPresence {
            conversation_id,
            user_id,
            now: Subscribed::Here,
        };
        let rooms: Vec<RoomPresence> = app.hub.rooms.subscriptions().into_iter().map(here).collect();
        let parts = users.len().div_ceil(PART).max(rooms.len().div_ceil(PART)).max(1);
        let part = |index: usize| {
            let of = |len: usize| (index * PART).min(len)..((index + 1) * PART).min(len);
            Snapshot {
                report: Report {
                    node: self.node.clone(),
                    number: *number,
                    users: users[of(users.len())].to_vec(),
                    rooms: rooms[of(rooms.len())].to_vec(),
                    last: false,
                },
                part: u32::try_from(index).unwrap_or(u32::MAX),
                more: index + 1 < parts,
            }
        };
        (0..parts).map(part).collect()
    }
}

fn sessions_of(app: &App, user_id: UserId) -> UserSessions {
    let sessions = app.hub.sessions_of(&user_id);
    let present = sessions.iter().filter(|it| it.is_present);
    UserSessions {
        sessions: present.map(|it| session_state(it)).collect(),
        user_id,
    }
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
            _ = beat.tick() => app.reporter.beat(&app, false).await,
            Some(_) = hello.next() => app.reporter.beat(&app, false).await,
            Some(message) = asked.next() => {
                let Some(reply) = message.reply else { continue };
                for part in app.reporter.snapshot(&app).await {
                    let payload = serde_json::to_vec(&part).unwrap_or_default();
                    bus.client.publish(reply.clone(), payload.into()).await?;
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
