//! Breaking things that come back later.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;

use super::api::Api;
use super::deployment::Deployment;
use super::process;
use super::wait::until;

/// How long it may take until everything answers once nothing breaks any more.
const RETURN: Duration = Duration::from_secs(30);

/// A server of a deployment that was killed, and can be started again as it was.
pub struct Killed {
    line: Vec<String>,
    mark: std::path::PathBuf,
}

/// The same server, started again by the test; ends with this value.
pub struct Revived(Child);

/// What was killed and is to be started again by `up`: each process and the last id under which it was killed.
#[derive(Default)]
pub struct Victims(BTreeMap<String, i32>);

impl Victims {
    /// kill -9, also of what is not back yet from the time before.
    pub fn kill(&mut self, deployment: &Deployment, name: &str) {
        let pid = deployment.pid(name);
        process::signal(pid, Signal::SIGKILL);
        self.0.insert(name.into(), pid);
    }

    /// Waits until each of them runs again.
    pub async fn back(&self, deployment: &Deployment) {
        for (name, pid) in &self.0 {
            deployment.restarted(name, *pid).await;
        }
    }
}

impl Deployment {
    /// Waits until every service says that it is ready and every node answers a read, which takes all the servers: what
    /// a test asks afterwards is not asked of something that is still coming back from a fault.
    pub async fn answers(&self) {
        let api = Api::new(&self.nodes()[0], &self.token("prober").await);
        let nodes = self.nodes().iter().map(|it| (it.clone(), "/v1/conversations"));
        let services = std::fs::read_dir(self.data().join("ports"))
            .expect("DIR/ports")
            .flatten();
        let services = services.filter_map(|it| it.file_name().into_string().ok());
        let services = services.filter(|it| !matches!(it.as_str(), "nats" | "mongod"));
        let services = services.map(|it| (format!("http://127.0.0.1:{}", self.port(&it)), "/readyz"));
        join_all(nodes.chain(services).map(async |(base, path)| {
            let api = api.at(&base);
            until(&format!("{base}{path} to answer"), RETURN, async || {
                api.try_get(path).await.filter(|it| it.status == 200)
            })
            .await
        }))
        .await;
    }

    /// kill -9 of a server that `up` will not start again (`--no-restart`).
    pub fn kill_for_good(&self, name: &str) -> Killed {
        let line = process::command_line(self.pid(name));
        self.kill(name);
        Killed {
            line,
            mark: self.mark().into(),
        }
    }
}

impl Killed {
    /// Starts it as it was: same program, arguments, ports and data.
    pub fn revive(&self) -> Revived {
        let mut command = Command::new(&self.line[0]);
        command.args(&self.line[1..]).env("TEST_DEPLOYMENT", &self.mark);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Revived(process::spawn(command).expect("it started before"))
    }
}

impl Drop for Revived {
    fn drop(&mut self) {
        process::signal(self.0.id() as i32, Signal::SIGKILL);
        let _ = self.0.wait();
    }
}
