//! A rolling deploy as an orchestrator does it: a replica is asked to end, ends, is started again, and is ready before
//! the next one's turn.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::deployment::Deployment;
use super::process;
use super::wait::until;

/// How long a replica may take to be back and ready.
const BACK: Duration = Duration::from_secs(20);

impl Deployment {
    /// Asks a replica to end, as an orchestrator does.
    pub fn ask_to_end(&self, name: &str) -> i32 {
        let pid = self.pid(name);
        process::signal(pid, Signal::SIGTERM);
        pid
    }

    /// Ends a replica and waits until it is back and ready. Returns how long it took to end.
    ///
    /// # Panics
    /// If it has not ended with exit code 0 by the deadline.
    pub async fn roll(&self, name: &str, deadline: Duration) -> Duration {
        let asked = Instant::now();
        let old = self.ask_to_end(name);
        let gone = async || (!process::is_alive(old)).then_some(());
        until(&format!("{name} to end by its deadline"), deadline, gone).await;
        let took = asked.elapsed();
        self.restarted(name, old).await;
        self.ready(name).await;
        let line = format!("{name} ended with exit code 0; starting it again");
        assert!(self.stderr().contains(&line), "{name}: {}", self.stderr());
        took
    }

    /// Waits until a replica is ready.
    pub async fn ready(&self, name: &str) {
        until(&format!("{name} to be ready"), BACK, async || {
            (self.readiness(name).await == Some(200)).then_some(())
        })
        .await;
    }

    /// What `/readyz` of a replica answers; nothing, if it does not.
    pub async fn readiness(&self, name: &str) -> Option<u16> {
        let url = format!("http://127.0.0.1:{}/readyz", self.port(name));
        reqwest::get(url).await.ok().map(|it| it.status().as_u16())
    }

    /// The sum of a counter of a replica, over all its labels.
    pub async fn counter(&self, name: &str, counter: &str) -> f64 {
        let url = format!("http://127.0.0.1:{}/metrics", self.port(name));
        let answer = reqwest::get(url).await.expect("the private port answers");
        let text = answer.text().await.expect("metrics are text");
        let lines = text.lines().filter(|it| {
            it.strip_prefix(counter)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        lines.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}
