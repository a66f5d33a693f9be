//! What the load goes to: a running deployment that is named, or one of our own, with one process for each service so
//! that each one's work can be told apart.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::data_dir::DataDir;
use crate::processes::spawn::spawn;
use crate::service::Kind;
use crate::up::Replicas;

/// A fetch of the servers may be part of the first start.
const START: Duration = Duration::from_secs(300);
/// `up` promises ten seconds.
const STOP: Duration = Duration::from_secs(15);

/// Which deployment.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Use this running deployment, one URL for each connection replica; its folder must be named with --data
    #[arg(long, value_name = "URL", value_delimiter = ',', requires = "data")]
    server: Vec<String>,
    /// The deployment's folder: its key mints the tokens, its files name its processes. Without --server a deployment
    /// is started there and its data stays [default: a folder that is removed at the end]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Replicas of the deployment that is started
    #[arg(long, value_name = "SERVICE=N,…", default_value = "", hide_default_value = true)]
    pub(super) replicas: Replicas,
    /// Run all services of the deployment that is started in one process, as `parley up` does by default
    #[arg(long)]
    one_process: bool,
    /// For the processes of the deployment that is started.
    #[arg(skip)]
    environment: Vec<(String, String)>,
}

impl Options {
    /// The same with these variables in the environment of the deployment that is started.
    ///
    /// # Errors
    /// A running one is named, which is not told anything any more.
    pub(super) fn with_environment(&self, environment: Vec<(String, String)>) -> anyhow::Result<Self> {
        ensure!(
            self.server.is_empty(),
            "this needs a deployment of its own: leave --server out"
        );
        Ok(Self {
            environment,
            ..self.clone()
        })
    }

    /// The same with two connection replicas at least, where a deployment is to be started.
    ///
    /// # Errors
    /// None.
    pub(super) fn with_two_nodes(&self) -> anyhow::Result<Self> {
        let count = |kind: Kind| match kind {
            Kind::Connection => self.replicas.of(kind).max(2),
            _ => self.replicas.of(kind),
        };
        let replicas = Kind::ALL.map(|kind| format!("{}={}", kind.name(), count(kind)));
        let replicas = replicas.join(",").parse().map_err(anyhow::Error::msg)?;
        Ok(Self {
            replicas,
            ..self.clone()
        })
    }
}

/// A deployment that is ready.
#[derive(Debug)]
pub(super) struct Target {
    /// `http://HOST:PORT` of each connection replica.
    pub(super) servers: Vec<String>,
    pub(super) data: DataDir,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    child: Child,
    /// Kept open: what `up` prints must go somewhere.
    _lines: Lines<BufReader<ChildStdout>>,
    temporary: Option<PathBuf>,
}

impl Target {
    /// Starts a deployment, unless one was named.
    ///
    /// # Errors
    /// It does not become ready.
    pub(super) async fn start(options: &Options) -> anyhow::Result<Self> {
        if let (false, Some(folder)) = (options.server.is_empty(), &options.data) {
            ensure!(folder.is_dir(), "there is no folder {}", folder.display());
            let data = DataDir::create(folder)?;
            return Ok(Self {
                servers: options.server.clone(),
                data,
                own: None,
            });
        }
        let temporary = match options.data {
            Some(_) => None,
            None => Some(std::env::temp_dir().join(format!("parley-bench-{}", std::process::id()))),
        };
        let folder = options.data.as_ref().or(temporary.as_ref()).context("no folder")?;
        let data = DataDir::create(folder)?;
        let started = up(options, data.path()).await;
        match started {
            Ok((servers, child, lines)) => Ok(Self {
                servers,
                data,
                own: Some(Own {
                    child,
                    _lines: lines,
                    temporary,
                }),
            }),
            Err(error) => {
                remove(temporary.as_deref());
                Err(error)
            }
        }
    }

    /// Ends what was started.
    ///
    /// # Errors
    /// It did not end well.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let Some(mut own) = self.own else { return Ok(()) };
        let pid = own.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        }
        let ended = timeout(STOP, own.child.wait()).await;
        remove(own.temporary.as_deref());
        let status = ended.context("the deployment did not end in time")??;
        ensure!(status.success(), "the deployment ended badly: {status}");
        Ok(())
    }
}

fn remove(folder: Option<&Path>) {
    if let Some(folder) = folder {
        // What stays behind is in the temporary folder.
        let _ = std::fs::remove_dir_all(folder);
    }
}

async fn up(options: &Options, data: &Path) -> anyhow::Result<(Vec<String>, Child, Lines<BufReader<ChildStdout>>)> {
    let log = data.join("up.log");
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("up")
        .arg("--data")
        .arg(data)
        .args(["--listen", "127.0.0.1:0"]);
    if !options.one_process {
        command.arg("--separate");
    }
    let replicas = |kind: Kind| format!("{}={}", kind.name(), options.replicas.of(kind));
    command.arg("--replicas").arg(Kind::ALL.map(replicas).join(","));
    // The limit protects against one flood; the load here is a crowd, and a group's one sender is faster than it.
    command.env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0");
    command.envs(options.environment.iter().cloned());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log)?);
    let mut child = spawn(command).await.context("cannot start `parley up`")?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let wanted = options.replicas.of(Kind::Connection);
    let ready = async {
        let mut servers = Vec::new();
        while servers.len() < wanted {
            let Some(line) = lines.next_line().await? else {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("`parley up` ended before it was ready: {}", said.trim());
            };
            servers.extend(line.strip_prefix("ready ").map(str::to_owned));
        }
        Ok(servers)
    };
    let servers = timeout(START, ready)
        .await
        .context("`parley up` did not become ready")??;
    Ok((servers, child, lines))
}
