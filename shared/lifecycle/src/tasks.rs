//! The long-lived tasks of a service. None may end unnoticed.

use std::future::Future;
use std::sync::Arc;

use anyhow::anyhow;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use crate::Shutdown;

/// A set of named tasks. One that panics or fails fires the shutdown, so that the process ends with an error instead
/// of limping on with a part missing.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: Shutdown,
    failure: Arc<Mutex<Option<anyhow::Error>>>,
}

impl Tasks {
    /// An empty set that fires `shutdown` when a task fails.
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            tracker: TaskTracker::new(),
            shutdown,
            failure: Arc::default(),
        }
    }

    /// Runs `task` until it returns; it must watch the shutdown itself. `name` is for the error and the log.
    pub fn spawn<F>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let name = name.into();
        let watched = tokio::spawn(task);
        let tasks = self.clone();
        self.tracker.spawn(async move {
            let error = match watched.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.context(format!("task {name} failed")),
                Err(error) => anyhow!("task {name} crashed: {}", crash(error)),
            };
            tasks.fail(error);
        });
    }

    /// The first failure is the cause and is told by whoever waits; later ones are most likely its consequences.
    fn fail(&self, error: anyhow::Error) {
        let mut failure = self.failure.lock();
        if failure.is_some() {
            tracing::warn!("{error:#}");
        }
        failure.get_or_insert(error);
        self.shutdown.trigger();
    }

    /// Waits until every task has returned. Bounds nothing: a drain with a deadline wraps this in a timeout.
    ///
    /// # Errors
    /// The first failure of a task.
    pub async fn wait(&self) -> anyhow::Result<()> {
        self.tracker.close();
        self.tracker.wait().await;
        self.failure.lock().take().map_or(Ok(()), Err)
    }
}

/// Why a task crashed, if that is known since the program was written: what was put together at run time may quote what
/// a client sent. Where it happened is in the log.
fn crash(error: tokio::task::JoinError) -> &'static str {
    let panic = error.try_into_panic().ok();
    let known = panic.and_then(|panic| panic.downcast_ref::<&'static str>().copied());
    known.unwrap_or("it panicked, or was cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_fails_ends_the_others_and_is_the_error() {
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        tasks.spawn("waiting", async move {
            shutdown.triggered().await;
            Ok(())
        });
        tasks.spawn("failing", async { Err(anyhow!("no more")) });
        assert_eq!(
            format!("{:#}", tasks.wait().await.unwrap_err()),
            "task failing failed: no more"
        );
    }

    #[tokio::test]
    async fn a_task_that_panics_is_an_error_too() {
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        tasks.spawn("broken", async { panic!("by intent") });
        let error = tasks.wait().await.unwrap_err().to_string();
        assert!(
            error.contains("task broken crashed") && error.contains("by intent"),
            "{error}"
        );
        assert!(shutdown.is_triggered());
    }

    #[tokio::test]
    async fn tasks_that_end_well_are_no_error() {
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        tasks.spawn("short", async { Ok(()) });
        tasks.wait().await.unwrap();
        assert!(!shutdown.is_triggered());
    }
}
