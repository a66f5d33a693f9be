//! One running Parley: `parley up` with a data directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::SemaphorePermit;

use super::process;
use super::start::Start;
use super::wait::{PATIENCE, until};

/// The contract's ten seconds for draining, and one for the machine.
const STOP_PATIENCE: Duration = Duration::from_secs(11);

/// A running deployment. Dropping it ends it with SIGTERM and asserts that nothing is left.
pub struct Deployment {
    pub(super) start: Start,
    pub(super) root: PathBuf,
    pub(super) up: Option<Child>,
    pub(super) nodes: Vec<String>,
    pub(super) _permit: Option<SemaphorePermit<'static>>,
}

impl Deployment {
    /// Describes a deployment to be launched.
    pub fn start() -> Start {
        Start::default()
    }

    /// `http://HOST:PORT` of every connection replica, in their order.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// The directory given as `--data`.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// What `up` and its children wrote to stderr.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.root.join("stderr")).unwrap_or_default()
    }

    /// What `up` wrote to stdout.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.root.join("stdout")).unwrap_or_default()
    }

    /// The text that every process of this deployment carries in its environment.
    pub fn mark(&self) -> &Path {
        &self.root
    }

    /// Process id of `up` itself.
    pub fn up_pid(&self) -> i32 {
        self.up.as_ref().expect("up is running").id() as i32
    }

    /// The process id in DIR/pids/NAME.
    pub fn pid(&self, name: &str) -> i32 {
        self.number("pids", name)
    }

    /// The port in DIR/ports/NAME.
    pub fn port(&self, name: &str) -> u16 {
        self.number("ports", name)
    }

    fn number<T: std::str::FromStr>(&self, kind: &str, name: &str) -> T {
        let path = self.data().join(kind).join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim()
            .parse()
            .ok()
            .unwrap_or_else(|| panic!("{} holds {text:?}, no number", path.display()))
    }

    /// kill -9.
    pub fn kill(&self, name: &str) -> i32 {
        let pid = self.pid(name);
        assert!(
            process::is_alive(pid),
            "{name}, process {pid}, should have been running"
        );
        process::signal(pid, Signal::SIGKILL);
        pid
    }

    /// Stops a process in its tracks (SIGSTOP): it holds its connections and answers nothing.
    /// On a busy machine its threads go on for a moment after the signal: waits until each of them stands still.
    pub fn pause(&self, name: &str) {
        let pid = self.pid(name);
        process::signal(pid, Signal::SIGSTOP);
        let deadline = Instant::now() + PATIENCE;
        while !process::stands_still(pid) {
            assert!(Instant::now() < deadline, "{name} should have stopped");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets a paused process go on.
    pub fn unpause(&self, name: &str) {
        process::signal(self.pid(name), Signal::SIGCONT);
    }

    /// Waits until `up` has started a process anew after `old` died.
    pub async fn restarted(&self, name: &str, old: i32) -> i32 {
        let path = self.data().join("pids").join(name);
        until(
            &format!("{name} to be started again"),
            Duration::from_secs(15),
            async || {
                let pid = std::fs::read_to_string(&path).ok()?.trim().parse().ok()?;
                (pid != old && process::is_alive(pid)).then_some(pid)
            },
        )
        .await
    }

    /// Runs another command of `parley` against this deployment's data.
    pub async fn parley(&self, args: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_parley"));
        command.args(args).arg("--data").arg(self.data()).kill_on_drop(true);
        command.output().await.expect("parley starts")
    }

    /// A token for a user.
    pub async fn token(&self, user: &str) -> String {
        self.token_with(user, &[]).await
    }

    /// A token with more options, such as `--ttl 1s`.
    pub async fn token_with(&self, user: &str, options: &[&str]) -> String {
        let output = self.parley(&[&["token", "--user", user], options].concat()).await;
        assert!(
            output.status.success(),
            "parley token: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .expect("a token is text")
            .trim()
            .to_owned()
    }

    /// Asserts that `parley verify` finds MongoDB equal to the log.
    pub async fn verify(&self) {
        let servers = ["--nats", "--mongodb"].into_iter();
        let servers = servers.filter_map(|it| Some([it, self.start.option(it)?]));
        let args: Vec<&str> = ["verify"].into_iter().chain(servers.flatten()).collect();
        let output = self.parley(&args).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "parley verify: {out}{err}");
    }

    /// Waits until `up` has ended by itself.
    pub async fn ended(&mut self, patience: Duration) -> ExitStatus {
        let up = self.up.as_mut().expect("up is running");
        let status = until("up to end", patience, async || up.try_wait().expect("up is our child")).await;
        self.up = None;
        status
    }

    /// Ends everything with a signal to `up`, checks the promise, and keeps the data.
    pub async fn stop_with(&mut self, signal: Signal) {
        process::signal(self.up_pid(), signal);
        let status = self.ended(STOP_PATIENCE).await;
        assert_eq!(status.code(), Some(0), "up after {signal}: {}", self.stderr());
        self.assert_nothing_left(Duration::ZERO);
    }

    /// Adds or changes a setting for the next start.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.start.set_env(name, value);
    }

    /// Ends everything and starts it again on the same data.
    pub async fn restart(&mut self) {
        self.stop_with(Signal::SIGTERM).await;
        self.start_again().await;
    }

    /// Starts again what has ended, on the same data and ports.
    pub async fn start_again(&mut self) {
        assert!(self.up.is_none(), "up is still running");
        let (up, nodes) = self.start.run(&self.root).await;
        (self.up, self.nodes) = (Some(up), nodes);
    }

    /// Asserts that no process of this deployment lives.
    pub fn assert_nothing_left(&self, patience: Duration) {
        let left = process::wait_until_none_marked(self.mark(), patience);
        assert!(left.is_empty(), "left running: {left:?}");
    }

    /// What a service was not allowed to say: none of it, whatever a test does.
    fn denied(&self) -> Vec<String> {
        let logs = std::fs::read_dir(self.data().join("logs"))
            .into_iter()
            .flatten()
            .flatten();
        let files = logs.map(|it| it.path()).chain([self.root.join("stderr")]);
        let text = files.filter_map(|file| std::fs::read(file).ok());
        text.flat_map(|text| {
            let text = String::from_utf8_lossy(&text);
            let lines = text.lines().filter(|it| it.contains("NATS denied a subject"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
    }

    fn report(&self) {
        let all = self.stderr();
        let lines: Vec<&str> = all.lines().collect();
        let tail = &lines[lines.len().saturating_sub(40)..];
        eprintln!(
            "--- {} kept; the end of up's stderr:\n{}\n---",
            self.root.display(),
            tail.join("\n")
        );
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        let mut exit = None;
        if let Some(mut up) = self.up.take() {
            for (pid, _) in process::marked(&self.root) {
                process::signal(pid, Signal::SIGCONT);
            }
            process::signal(up.id() as i32, Signal::SIGTERM);
            let deadline = Instant::now() + STOP_PATIENCE;
            while exit.is_none() && Instant::now() < deadline {
                exit = up.try_wait().ok().flatten();
                std::thread::sleep(Duration::from_millis(20));
            }
            if exit.is_none() {
                let _ = up.kill();
                let _ = up.wait();
            }
        }
        let left = process::marked(&self.root);
        for (pid, _) in &left {
            process::signal(*pid, Signal::SIGKILL);
        }
        if std::thread::panicking() {
            return self.report();
        }
        assert!(
            left.is_empty(),
            "left running after SIGTERM: {left:?}; up ended with {exit:?}"
        );
        let denied = self.denied();
        assert!(denied.is_empty(), "{}", denied.join("\n"));
        let _ = std::fs::remove_dir_all(&self.root);
    }
}
