//! The child processes of a deployment: started, watched, started again, ended.
//!
//! What a child is for, and when it is ready, its callers know. A child never outlives this process, see [`spawn`].

mod exit;
pub mod leftovers;
pub mod ports;
pub mod spawn;

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::data_dir::DataDir;

/// Between the death of a child and its next start.
const RESTART: Duration = Duration::from_secs(1);

/// How to start a child, the first time and again.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name in `pids`, `ports` and `logs`.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments; one of them lies in the deployment's folder, so that a leftover is recognised.
    pub arguments: Vec<OsString>,
    /// Added to this process's own environment.
    pub environment: Vec<(Cow<'static, str>, String)>,
    /// The port to write down.
    pub port: u16,
}

/// All children of this process.
#[derive(Debug)]
pub struct Processes {
    shared: Arc<Shared>,
    running: Mutex<Vec<Process>>,
}

#[derive(Debug)]
struct Shared {
    data: DataDir,
    restart: bool,
    settled: AtomicBool,
    failure: watch::Sender<Option<exit::Exit>>,
}

#[derive(Debug)]
struct Process {
    name: String,
    /// Set to the moment at which patience ends, to ask the child to end.
    stop: watch::Sender<Option<Instant>>,
    watcher: JoinHandle<()>,
}

impl Processes {
    /// None yet. `restart`: whether a child that dies once all is settled is started again.
    pub fn new(data: DataDir, restart: bool) -> Self {
        let shared = Shared {
            data,
            restart,
            settled: AtomicBool::new(false),
            failure: watch::channel(None).0,
        };
        Self {
            shared: Arc::new(shared),
            running: Mutex::default(),
        }
    }

    /// Starts a child and watches over it until [`Processes::stop`].
    ///
    /// # Errors
    /// It cannot be started. That it ended at once is told by [`Processes::failure`].
    pub async fn start(&self, spec: Spec) -> anyhow::Result<()> {
        let child = self.shared.spawn(&spec, true).await?;
        let (stop, stopped) = watch::channel(None);
        let name = spec.name.clone();
        let watcher = tokio::spawn(self.shared.clone().watch(spec, child, stopped));
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Process { name, stop, watcher });
        Ok(())
    }

    /// From now on a child that ends is no failure: it is started again, or left, as was asked for.
    pub fn settle(&self) {
        self.shared.settled.store(true, Ordering::Release);
    }

    /// Waits for a child that ends before all is settled, and tells what it said last.
    pub async fn failure(&self) -> anyhow::Error {
        let mut failure = self.shared.failure.subscribe();
        let exit = failure
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|exit| exit.clone());
        exit.map_or_else(
            || anyhow::anyhow!("nobody watches the child processes"),
            |exit| exit.into_error(),
        )
    }

    /// Asks the children whose name `which` picks to end, kills at the deadline, and returns when they are gone.
    pub async fn stop(&self, which: impl Fn(&str) -> bool, deadline: Instant) {
        let chosen: Vec<_> = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.extract_if(.., |process| which(&process.name)).collect()
        };
        for process in &chosen {
            process.stop.send_replace(Some(deadline));
        }
        for process in chosen {
            if process.watcher.await.is_err() {
                eprintln!("parley: nobody watched over {}", process.name);
            }
            self.shared.data.remove_child(&process.name);
        }
    }
}

impl Shared {
    async fn spawn(&self, spec: &Spec, first: bool) -> anyhow::Result<Child> {
        let path = self.data.log(&spec.name);
        let log = File::options()
            .create(true)
            .write(true)
            .truncate(first)
            .append(!first)
            .open(&path);
        let log = log.with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.arguments)
            .envs(spec.environment.iter().map(|(name, value)| (&**name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A group of its own: Ctrl-C in a terminal is for `up`, which ends its children in the right order.
        command.process_group(0);
        let child = spawn::spawn(command)
            .await
            .with_context(|| format!("cannot start {}", spec.program.display()))?;
        self.data
            .write_child(&spec.name, child.id().unwrap_or_default(), spec.port)?;
        Ok(child)
    }

    async fn watch(self: Arc<Self>, spec: Spec, mut child: Child, mut stopped: watch::Receiver<Option<Instant>>) {
        loop {
            let status = tokio::select! {
                status = child.wait() => status,
                deadline = asked(&mut stopped) => return end(&spec.name, child, deadline).await,
            };
            let exit = exit::Exit::new(&spec.name, status, self.data.log(&spec.name));
            if !self.settled.load(Ordering::Acquire) {
                self.failure.send_replace(Some(exit));
                return;
            }
            if !self.restart {
                eprintln!("parley: {exit}; it stays so, as asked for");
                return;
            }
            eprintln!("parley: {exit}; starting it again in 1 s");
            child = loop {
                tokio::select! {
                    () = sleep(RESTART) => {}
                    _ = asked(&mut stopped) => return,
                }
                match self.spawn(&spec, false).await {
                    Ok(child) => break child,
                    Err(error) => eprintln!("parley: {error:#}; trying again in 1 s"),
                }
            };
        }
    }
}

/// Waits until the child is to end; gives the moment at which patience ends.
async fn asked(stopped: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match stopped.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_else(Instant::now),
        Err(_) => Instant::now(),
    }
}

async fn end(name: &str, mut child: Child, deadline: Instant) {
    // Not waited for yet, so the id is still this child's.
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if timeout_at(deadline, child.wait()).await.is_err() {
        eprintln!("parley: {name} did not end in time and is killed");
        if let Err(error) = child.kill().await {
            eprintln!("parley: cannot kill {name}: {error}");
        }
    }
}
