//! A replica of the service in this process, requests to it, and everything that is signalled.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use bus::{Bus, rpc, subjects};
use config::Config;
use futures_util::StreamExt;
use lifecycle::Shutdown;
use parking_lot::Mutex;
use protocol::client_frame::ChosenStatus;
use protocol::rpc::{Connections, LookAround, ReadSessions, Request, SetStatus, Sight};
use protocol::server_frame::{Presence, Status};
use protocol::signal::{Signal, Signals};
use protocol::{ConversationId, UserId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::nats::Nats;
use super::node::Node;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Replica {
    admin: std::net::SocketAddr,
    shutdown: Shutdown,
    task: Option<JoinHandle<anyhow::Result<()>>>,
    /// Its own, so that nothing of it outlives a kill.
    runtime: Option<Runtime>,
}

fn config(nats: &Nats) -> Config {
    let mut config = Config::default();
    config.nats.url = nats.url();
    config.presence.lease = Duration::from_secs(2);
    config
}

impl Replica {
    pub async fn start(nats: &Nats) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let runtime = Runtime::new().unwrap();
        let listener = listener.into_std().unwrap();
        let (config, told) = (config(nats), shutdown.clone());
        let task = runtime.spawn(async move {
            let listener = TcpListener::from_std(listener)?;
            presence::run(config, listener, told).await
        });
        Self {
            admin,
            shutdown,
            task: Some(task),
            runtime: Some(runtime),
        }
    }

    pub async fn ready(nats: &Nats) -> Self {
        let replica = Self::start(nats).await;
        until("the replica is ready", async || replica.missing().await.is_empty()).await;
        replica
    }

    /// What it waits for, in its own words.
    pub async fn missing(&self) -> String {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = "GET /readyz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let missing = answer.split_once("not ready: ").map(|(_, missing)| missing.trim());
        missing.unwrap_or_default().to_owned()
    }

    /// As by kill -9: not a word.
    pub fn kill(self) {
        drop(self);
    }

    /// Drained; how long that took.
    pub async fn stop(mut self) -> Duration {
        let started = Instant::now();
        self.shutdown.trigger();
        self.task.take().unwrap().await.unwrap().unwrap();
        started.elapsed()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Requests, and what all nodes are told.
#[derive(Debug)]
pub struct Clients {
    pub bus: Bus,
    signals: Arc<Mutex<Vec<String>>>,
}

impl Clients {
    pub async fn connect(nats: &Nats) -> Self {
        let bus = Bus::connect(&config(nats).nats, "test").await.unwrap();
        let signals = Arc::new(Mutex::new(Vec::new()));
        collect(&bus.client, signals.clone()).await;
        Self { bus, signals }
    }

    pub async fn node(&self) -> Node {
        Node::start(self.bus.client.clone()).await
    }

    pub async fn look(&self, room: Option<&ConversationId>, users: &[&str], node: Option<&Node>) -> Sight {
        let request = LookAround {
            conversation_id: room.cloned(),
            users: users.iter().map(|user| UserId::parse(user).unwrap()).collect(),
            last_seen: true,
            report: node.and_then(Node::report),
        };
        self.call(&request).await
    }

    /// Asks until there is an answer: NATS may be away.
    async fn call<R: Request>(&self, request: &R) -> R::Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match rpc::call(&self.bus, request, PATIENCE).await {
                Ok(value) => return value,
                Err(refusal) => assert!(Instant::now() < deadline, "{refusal}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn sessions(&self, users: &[&str]) -> Connections {
        let users = users.iter().map(|user| UserId::parse(user).unwrap()).collect();
        self.call(&ReadSessions { users }).await
    }

    pub async fn presence(&self, user: &str) -> Presence {
        self.look(None, &[user], None).await.presence.remove(0)
    }

    pub async fn until_status(&self, user: &str, status: Status) {
        until(&format!("{user} is {status:?}"), async || {
            self.presence(user).await.status == status
        })
        .await;
    }

    pub async fn set_status(&self, user: &str, status: ChosenStatus) {
        let request = SetStatus {
            user_id: UserId::parse(user).unwrap(),
            status,
            session_id: "session".into(),
        };
        self.call(&request).await;
    }

    /// Everything told of a user, in order.
    pub fn told(&self, user: &str) -> Vec<String> {
        let prefix = format!("{user} ");
        let signals = self.signals.lock();
        let of = signals.iter().filter_map(|it| it.strip_prefix(&prefix));
        of.map(str::to_owned).collect()
    }

    pub async fn until_told(&self, user: &str, what: &[&str]) {
        until(&format!("{user} {what:?}"), async || self.told(user) == what).await;
    }
}

async fn collect(client: &Client, signals: Arc<Mutex<Vec<String>>>) {
    let mut told = client.subscribe(subjects::PRESENCE_SIGNALS).await.unwrap();
    client.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(message) = told.next().await {
            let message: Signals = serde_json::from_slice(&message.payload).unwrap();
            signals.lock().extend(message.signals.iter().map(describe));
        }
    });
}

fn describe(signal: &Signal) -> String {
    match signal {
        Signal::Presence { presence, .. } => {
            format!("{} {:?}", presence.user_id.as_str(), presence.status).to_lowercase()
        }
        Signal::Joined { user_id, .. } => format!("{} joined", user_id.as_str()),
        Signal::Left { user_id, .. } => format!("{} left", user_id.as_str()),
        Signal::Typing { user_id, .. } => format!("{} typing", user_id.as_str()),
        Signal::Unknown => "unknown".to_owned(),
    }
}

/// Waits for a condition.
pub async fn until(what: &str, ask: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn room() -> ConversationId {
    ConversationId::parse("g00000000000000000000000000000001").unwrap()
}
