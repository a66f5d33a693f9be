//! A NATS server of the test's own. `cargo test --workspace` runs the whole-system tests before these, and they fetch one.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[derive(Debug)]
pub struct Nats {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl Nats {
    /// # Panics
    /// There is no server program.
    pub fn start() -> Self {
        let program =
            program().expect("no nats-server on PATH or in the cache: run `parley up` or `cargo test -p parley` once");
        let folder = std::env::temp_dir().join(format!("presence-{}", uuid::Uuid::new_v4().simple()));
        let port = free_port();
        let child = spawn(&program, &folder, port);
        Self {
            program,
            folder,
            port,
            child,
        }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Killed, and away for so long.
    pub async fn restart_after(&mut self, away: Duration) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        tokio::time::sleep(away).await;
        self.child = spawn(&self.program, &self.folder, self.port);
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Below the ports that the kernel gives to outgoing connections, so that none of those takes it before the server does.
fn free_port() -> u16 {
    let random = || 20_000 + (uuid::Uuid::new_v4().as_u128() % 10_000) as u16;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(random).find(free).unwrap()
}

fn spawn(program: &PathBuf, folder: &PathBuf, port: u16) -> Child {
    Command::new(program)
        .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    let caches = [
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from),
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")),
    ];
    let cached = caches.into_iter().flatten().flat_map(|cache| {
        let packages = std::fs::read_dir(cache.join("parley")).into_iter().flatten();
        packages.flatten().map(|package| package.path().join("nats-server"))
    });
    on_path.chain(cached).find(|program| program.is_file())
}
