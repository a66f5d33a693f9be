//! How a deployment is started, and those that tests share.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OnceCell, Semaphore};

use super::deployment::Deployment;
use super::{ports, process};

/// Two cores carry two deployments beside the shared ones.
static HEAVY: Semaphore = Semaphore::const_new(2);
/// Held while the servers' cache is filled, so that only one deployment fetches.
static FETCHING: Mutex<()> = Mutex::const_new(());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Options of `parley up`.
#[derive(Default, Clone)]
pub struct Start {
    args: Vec<String>,
    env: Vec<(String, String)>,
    listen: Option<u16>,
    replicas: u16,
    own_permit: Option<bool>,
}

/// An `up` that ended before it was ready.
pub struct Refused {
    pub code: Option<i32>,
    pub stderr: String,
    pub stdout: String,
    root: PathBuf,
}

impl Refused {
    /// The lines of stderr that are not empty.
    pub fn lines(&self) -> Vec<&str> {
        self.stderr.lines().filter(|it| !it.trim().is_empty()).collect()
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

impl Start {
    /// One operating system process per service replica.
    pub fn separate(self) -> Self {
        self.arg("--separate")
    }

    /// `connection=2,message=2,…`
    pub fn replicas(mut self, replicas: &str) -> Self {
        let connections = replicas.split(',').find_map(|it| it.strip_prefix("connection="));
        self.replicas = connections.map_or(1, |it| it.parse().expect("a number of replicas"));
        self.arg("--replicas").arg(replicas)
    }

    /// Dead children stay dead.
    pub fn no_restart(self) -> Self {
        self.arg("--no-restart")
    }

    /// One more argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// One more setting.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.set_env(name, value);
        self
    }

    /// The value of an option that was given as two arguments.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let at = self.args.iter().position(|it| it == name)?;
        self.args.get(at + 1).map(String::as_str)
    }

    /// Adds or changes a setting for the next start.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.retain(|(it, _)| it != name);
        self.env.push((name.into(), value.into()));
    }

    /// Listens exactly there instead of on a free port.
    pub fn listen(mut self, port: u16) -> Self {
        self.listen = Some(port);
        self
    }

    /// Runs beside another deployment of the same test, under that one's permit.
    pub fn beside(mut self) -> Self {
        self.own_permit = Some(false);
        self
    }

    /// Starts it and waits until it is ready.
    pub async fn launch(mut self) -> Deployment {
        let permit = match self.own_permit {
            Some(false) => None,
            _ => Some(HEAVY.acquire().await.expect("never closed")),
        };
        let root = new_root();
        let (up, nodes) = self.run(&root).await;
        Deployment {
            start: self,
            root,
            up: Some(up),
            nodes,
            _permit: permit,
        }
    }

    /// Starts it on the given data directory's deployment and expects it to end by itself.
    pub async fn refused_on(mut self, data: &Path, patience: Duration) -> Refused {
        let root = new_root();
        let mut up = self.spawn(&root, data);
        let deadline = Instant::now() + patience;
        let read = |name| std::fs::read_to_string(root.join(name)).unwrap_or_default();
        let status = loop {
            if let Some(status) = up.try_wait().expect("up is our child") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = up.kill();
                let _ = up.wait();
                panic!(
                    "up should have refused within {patience:?}: {}{}",
                    read("stdout"),
                    read("stderr")
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let left = process::wait_until_none_marked(&root, Duration::from_secs(1));
        assert!(left.is_empty(), "a refused up left running: {left:?}");
        Refused {
            code: status.code(),
            stderr: read("stderr"),
            stdout: read("stdout"),
            root: root.clone(),
        }
    }

    /// Starts it on empty data and expects it to end by itself.
    pub async fn refused(self) -> Refused {
        let data = new_root().join("data");
        let refused = self.refused_on(&data, Duration::from_secs(60)).await;
        let _ = std::fs::remove_dir_all(data.parent().expect("made with a parent"));
        refused
    }

    fn spawn(&mut self, root: &Path, data: &Path) -> Child {
        let port = *self.listen.get_or_insert_with(|| ports::free(self.replicas.max(1)));
        let file = |name| std::fs::File::create(root.join(name)).expect("a file for the output");
        let mut command = Command::new(env!("CARGO_BIN_EXE_parley"));
        command
            .arg("up")
            .arg("--data")
            .arg(data)
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"))
            .args(&self.args);
        command
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"));
        command.env("TEST_DEPLOYMENT", root).envs(self.env.iter().cloned());
        process::spawn(command).expect("parley starts")
    }

    /// Starts `up` under `root` and reads the ready lines.
    pub(super) async fn run(&mut self, root: &Path) -> (Child, Vec<String>) {
        let cached = cache_is_filled();
        let _fetching = if cached { None } else { Some(FETCHING.lock().await) };
        let patience = Duration::from_secs(if cached { 60 } else { 300 });
        let expected = usize::from(self.replicas.max(1));
        let mut up = self.spawn(root, &root.join("data"));
        let deadline = Instant::now() + patience;
        loop {
            let read = |name| std::fs::read_to_string(root.join(name)).unwrap_or_default();
            let stdout = read("stdout");
            let whole = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
            let nodes: Vec<String> = whole
                .lines()
                .filter_map(|it| Some(it.strip_prefix("ready ")?.to_owned()))
                .collect();
            if nodes.len() >= expected {
                return (up, nodes);
            }
            let ended = up.try_wait().expect("up is our child");
            if ended.is_some() || Instant::now() > deadline {
                let _ = up.kill();
                let _ = up.wait();
                panic!(
                    "not ready ({ended:?}) in {}: {stdout}{}",
                    root.display(),
                    read("stderr")
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn cache_is_filled() -> bool {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    std::fs::read_dir(home.join(".cache/parley")).is_ok_and(|mut it| it.next().is_some())
}

/// A fresh directory; those of test processes that have ended are removed first.
pub(super) fn new_root() -> PathBuf {
    let all = std::env::temp_dir().join("parley-system-tests");
    let own = all.join(std::process::id().to_string());
    if !own.exists() {
        for entry in std::fs::read_dir(&all).into_iter().flatten().flatten() {
            let owner = entry.file_name().to_str().and_then(|it| it.parse().ok());
            if owner.is_none_or(|pid| !process::is_alive(pid)) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
    let test = std::thread::current().name().unwrap_or("test").replace("::", ".");
    let root = own.join(format!("{}-{test}", COUNT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&root).expect("a directory for the test");
    root
}

/// The deployment for tests that disturb nobody: all in one process, two nodes, every setting at its default.
pub async fn shared() -> &'static Deployment {
    static SHARED: OnceCell<Deployment> = OnceCell::const_new();
    SHARED
        .get_or_init(|| Deployment::start().replicas("connection=2,message=2").beside().launch())
        .await
}

/// The other shared one, where time runs fast and nobody counts sends.
pub async fn tuned() -> &'static Deployment {
    static TUNED: OnceCell<Deployment> = OnceCell::const_new();
    TUNED
        .get_or_init(|| {
            Deployment::start()
                .replicas("connection=2,message=2")
                .env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0")
                .env("PARLEY_STREAM__DUPLICATE_WINDOW", "2s")
                .env("PARLEY_PRESENCE__AWAY_AFTER", "4s")
                .env("PARLEY_HTTP__QUERY_TOKEN", "true")
                .env(
                    "PARLEY_HTTP__ALLOWED_ORIGINS",
                    "https://app.example,https://other.example",
                )
                .beside()
                .launch()
        })
        .await
}

/// One with a quick heartbeat, and yet so slow that nobody is taken for dead who stalls for three seconds.
pub async fn lively() -> &'static Deployment {
    static LIVELY: OnceCell<Deployment> = OnceCell::const_new();
    LIVELY
        .get_or_init(|| {
            Deployment::start()
                .replicas("connection=1,message=2")
                .env("PARLEY_CONNECTION__HEARTBEAT_MS", "6000")
                .env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0")
                .beside()
                .launch()
        })
        .await
}

/// Another one: its log forgets after four seconds.
pub async fn forgetful() -> &'static Deployment {
    static FORGETFUL: OnceCell<Deployment> = OnceCell::const_new();
    FORGETFUL
        .get_or_init(|| {
            Deployment::start()
                .replicas("connection=2,message=2")
                .env("PARLEY_STREAM__DUPLICATE_WINDOW", "2s")
                .env("PARLEY_STREAM__MAX_AGE", "4s")
                .beside()
                .launch()
        })
        .await
}
