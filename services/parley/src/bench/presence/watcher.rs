//! The watchers' sockets: subscribed to all rooms, each with its [`Watch`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use protocol::server_frame::Status;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::LOOK;
use super::report::Report;
use super::watch::{Cast, Watch};
use crate::bench::crew::Seat;
use crate::bench::socket::{self, Socket};
use crate::bench::tally::Latency;

/// Until all rooms are subscribed to.
const SUBSCRIBED: Duration = Duration::from_secs(60);

/// What matters of a frame.
#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    frame_type: &'a str,
    #[serde(borrow, default)]
    user_id: Option<&'a str>,
    #[serde(default)]
    status: Option<Status>,
}

/// See the module.
pub(super) struct Watchers {
    watches: Vec<Arc<Mutex<Watch>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Watchers {
    /// Opens the sockets and subscribes them.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn start(seats: &[Seat], rooms: &[String], run: &str, cast: &Cast) -> anyhow::Result<Self> {
        let mut watchers = Self {
            watches: Vec::new(),
            readers: Vec::new(),
        };
        for seat in seats {
            let mut socket = socket::open(&seat.server, &seat.token).await?;
            timeout(SUBSCRIBED, subscribe(&mut socket, rooms))
                .await
                .context("the rooms were not subscribed to in time")??;
            let watch = Arc::new(Mutex::new(Watch::new(cast.clone())));
            let prefix = format!("bench-{run}-");
            watchers.readers.push(tokio::spawn(read(socket, watch.clone(), prefix)));
            watchers.watches.push(watch);
        }
        Ok(watchers)
    }

    /// Waits until it is so for all; false if it is not in time.
    pub(super) async fn wait(&self, patience: Duration, is_so: impl Fn(&Watch) -> bool) -> bool {
        let start = Instant::now();
        while !self.watches.iter().all(|it| is_so(&locked(it))) {
            if start.elapsed() > patience {
                return false;
            }
            sleep(LOOK).await;
        }
        true
    }

    /// Tells all that the node is killed now.
    pub(super) fn killed(&self, at: Instant) {
        self.watches.iter().for_each(|it| locked(it).killed(at));
    }

    /// What all were told.
    ///
    /// # Errors
    /// A watcher's socket has ended.
    pub(super) fn end(self) -> anyhow::Result<Report> {
        let mut report = Report::default();
        let mut offline = Latency::new()?;
        for (watch, reader) in self.watches.iter().zip(self.readers) {
            if reader.is_finished() {
                bail!("a watcher's socket has ended");
            }
            reader.abort();
            let watch = locked(watch);
            watch.offline_after.iter().for_each(|it| offline.record(*it));
            report.untold += watch.untold();
            report.frames += watch.frames;
            report.flickers += watch.flickers;
            report.false_starts += watch.false_starts;
            report.repeated += watch.repeated;
        }
        report.offline_after_ms = offline.percentiles();
        Ok(report)
    }
}

fn locked(watch: &Mutex<Watch>) -> std::sync::MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn subscribe(socket: &mut Socket, rooms: &[String]) -> anyhow::Result<()> {
    for room in rooms {
        let frame = format!(r#"{{"type":"subscribe","conversation_id":"{room}"}}"#);
        socket.send(Message::text(frame)).await?;
    }
    let mut open = rooms.len();
    while open > 0 {
        let Message::Text(text) = socket.next().await.context("a watcher's socket has ended")?? else {
            continue;
        };
        match serde_json::from_str::<Frame<'_>>(&text) {
            Ok(frame) if frame.frame_type == "subscribed" => open -= 1,
            Ok(frame) if frame.frame_type == "error" => bail!("the server said {text}"),
            _ => {}
        }
    }
    Ok(())
}

/// Writes down every presence frame until the socket ends.
async fn read(mut socket: Socket, watch: Arc<Mutex<Watch>>, prefix: String) {
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(&text) else {
            continue;
        };
        let number = frame.user_id.and_then(|it| it.strip_prefix(&prefix)?.parse().ok());
        if let ("presence", Some(number), Some(status)) = (frame.frame_type, number, frame.status) {
            locked(&watch).on_presence(number, status, Instant::now());
        }
    }
}
