//! A connection node as the presence service knows it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use bus::subjects;
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use protocol::client_frame::AppState;
use protocol::signal::{Report, RoomPresence, SessionState, Snapshot, Subscribed, UserSessions};
use protocol::{ConversationId, UserId};
use tokio::task::JoinHandle;

/// A fifth of the lease that the tests configure.
const BEAT: Duration = Duration::from_millis(400);

#[derive(Debug)]
pub struct Node {
    client: Client,
    has: Arc<Mutex<Has>>,
    task: JoinHandle<()>,
}

/// What it has, as of its report.
#[derive(Debug)]
struct Has {
    name: String,
    number: u64,
    users: BTreeSet<UserId>,
    places: BTreeSet<(ConversationId, UserId)>,
}

impl Node {
    pub async fn start(client: Client) -> Self {
        let has = Arc::new(Mutex::new(Has {
            name: uuid::Uuid::new_v4().simple().to_string(),
            number: 0,
            users: BTreeSet::new(),
            places: BTreeSet::new(),
        }));
        let subject = subjects::presence_snapshot(&has.lock().name);
        let mut asked = client.subscribe(subject).await.unwrap();
        let mut hellos = client.subscribe(subjects::PRESENCE_HELLO).await.unwrap();
        let (beating, telling) = (has.clone(), client.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(question) = asked.next() => {
                        let snapshot = beating.lock().snapshot();
                        let payload = serde_json::to_vec(&snapshot).unwrap();
                        telling.publish(question.reply.unwrap(), payload.into()).await.unwrap();
                    }
                    Some(_) = hellos.next() => {}
                    () = tokio::time::sleep(BEAT) => {}
                }
                let beat = beating.lock().report();
                publish(&telling, &beat).await;
            }
        });
        Self { client, has, task }
    }

    pub async fn open(&self, user: &str) {
        let user = UserId::parse(user).unwrap();
        let report = self.has.lock().change(|has, report| {
            has.users.insert(user.clone());
            report.users.push(sessions(&user, 1));
        });
        publish(&self.client, &report).await;
    }

    pub async fn close(&self, user: &str) {
        let user = UserId::parse(user).unwrap();
        let report = self.has.lock().change(|has, report| {
            has.users.remove(&user);
            report.users.push(sessions(&user, 0));
        });
        publish(&self.client, &report).await;
    }

    pub async fn subscribe(&self, room: &ConversationId, user: &str) {
        let user = UserId::parse(user).unwrap();
        let report = self.has.lock().change(|has, report| {
            has.places.insert((room.clone(), user.clone()));
            report.rooms.push(here(room, &user));
        });
        publish(&self.client, &report).await;
    }

    /// The node and its last report, as a request names them.
    pub fn report(&self) -> Option<(String, u64)> {
        let has = self.has.lock();
        Some((has.name.clone(), has.number))
    }

    /// As by kill -9.
    pub fn kill(self) {
        self.task.abort();
    }
}

impl Has {
    fn report(&self) -> Report {
        Report {
            node: self.name.clone(),
            number: self.number,
            ..Report::default()
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Self, &mut Report)) -> Report {
        self.number += 1;
        let mut report = self.report();
        change(self, &mut report);
        report
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            report: Report {
                users: self.users.iter().map(|user| sessions(user, 1)).collect(),
                rooms: self.places.iter().map(|(room, user)| here(room, user)).collect(),
                ..self.report()
            },
            part: 0,
            more: false,
        }
    }
}

async fn publish(client: &Client, report: &Report) {
    let payload = Bytes::from(serde_json::to_vec(report).unwrap());
    let subject = subjects::presence_report(&report.node);
    client.publish(subject, payload).await.unwrap();
}

fn sessions(user: &UserId, count: usize) -> UserSessions {
    let session = SessionState {
        device_id: "phone".into(),
        state: AppState::Foreground,
        idle: false,
    };
    UserSessions {
        user_id: user.clone(),
        sessions: vec![session; count],
    }
}

fn here(room: &ConversationId, user: &UserId) -> RoomPresence {
    RoomPresence {
        conversation_id: room.clone(),
        user_id: user.clone(),
        now: Subscribed::Here,
    }
}
