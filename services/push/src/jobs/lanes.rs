//! The queues of jobs: one for each app at each provider, so that what one cannot take holds up no other.
//!
//! A queue exists where a job was ever put into it. Every replica works on all of them: on those it fills itself at once,
//! on others when it next looks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bus::LogError;
use bus::subjects::PUSH_JOBS_STREAM;
use bus::write::Entry;
use futures_util::TryStreamExt;
use lifecycle::Shutdown;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::job::{Job, Lane};
use super::worker;
use crate::service::Service;

/// Between looks for queues that others fill.
const LOOK: Duration = Duration::from_secs(2);
/// Most queues: apps are settings, so that there are never many.
const LANES_MOST: usize = 256;

/// The queues that this replica knows of.
#[derive(Debug)]
pub(crate) struct Lanes {
    known: Mutex<HashSet<Lane>>,
    more: Notify,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            known: Mutex::default(),
            more: Notify::new(),
        }
    }

    /// The entry that queues a job; one that is queued already is not queued again.
    pub(crate) fn entry(&self, job: &Job) -> Entry {
        let lane = job.lane();
        let subject = lane.subject();
        self.note(lane);
        Entry {
            subject,
            payload: serde_json::to_vec(job).unwrap_or_default().into(),
            message_id: Some(job.key()),
        }
    }

    fn note(&self, lane: Lane) {
        let mut known = self.known.lock();
        if known.len() < LANES_MOST && known.insert(lane) {
            self.more.notify_one();
        }
    }

    fn known(&self) -> Vec<Lane> {
        self.known.lock().iter().cloned().collect()
    }
}

/// Works on all queues until the shutdown.
pub(crate) async fn run(service: Arc<Service>, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut workers = JoinSet::new();
    let mut working: HashSet<Lane> = HashSet::new();
    loop {
        if let Err(error) = look(&service).await {
            tracing::debug!(%error, "the queues of jobs could not be listed");
        }
        for lane in service.lanes.known() {
            if working.insert(lane.clone()) {
                tracing::info!(provider = lane.platform.as_str(), app = lane.name, "working on pushes");
                workers.spawn(worker::run(service.clone(), lane, shutdown.clone()));
            }
        }
        tokio::select! {
            () = shutdown.triggered() => break,
            () = service.lanes.more.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    while let Some(ended) = workers.join_next().await {
        ended?;
    }
    Ok(())
}

/// Looks for queues that others have filled.
async fn look(service: &Service) -> Result<(), LogError> {
    let away = |error: &dyn std::fmt::Display| LogError::Away(error.to_string());
    let stream = service.bus.jetstream.get_stream_no_info(PUSH_JOBS_STREAM).await;
    let stream = stream.map_err(|error| away(&error))?;
    let info = stream.info_with_subjects("push.job.*.*").await;
    let info = info.map_err(|error| away(&error))?;
    let subjects: Vec<(String, usize)> = info.try_collect().await.map_err(|error| away(&error))?;
    let counts: HashMap<Lane, usize> = subjects
        .into_iter()
        .filter_map(|(subject, count)| Some((Lane::of_subject(&subject)?, count)))
        .collect();
    counts.keys().for_each(|lane| service.lanes.note(lane.clone()));
    for lane in service.lanes.known() {
        let count = counts.get(&lane).copied().unwrap_or(0);
        metrics::gauge!("parley_push_jobs_waiting", "provider" => lane.platform.as_str(), "app" => lane.name)
            .set(count as f64);
    }
    Ok(())
}
