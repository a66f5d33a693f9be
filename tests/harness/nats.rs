//! A NATS server alone, with the permissions of every deployment, and what it says to those who log in.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::start::new_root;
use super::wait::until;
use super::{ports, process};

/// The users, the operator last.
pub const USERS: [&str; 5] = ["connection", "message", "presence", "push", "operator"];

const PATIENCE: Duration = Duration::from_secs(10);

/// The permissions of every deployment.
pub fn permissions() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/nats/permissions.conf");
    std::fs::read_to_string(path).expect("the permissions are there")
}

/// See the module. It ends when it is dropped.
pub struct Nats {
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl Nats {
    /// Starts it in a folder of [`new_folder`]; `more` is added to its configuration.
    pub async fn start(folder: &Path, more: &str) -> Self {
        let program = parley::servers::NATS.find().await.expect("nats-server");
        let port = ports::free(1);
        write_users(folder);
        let configuration = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {} }}\ninclude \"permissions.conf\"\n{more}",
            json!(folder.join("jetstream"))
        );
        let file = folder.join("nats.conf");
        std::fs::write(&file, configuration).expect("a file");
        let mut command = Command::new(program);
        command.arg("-c").arg(file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = process::spawn(command).expect("nats-server starts");
        until("NATS to listen", PATIENCE, async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Self {
            folder: folder.to_owned(),
            port,
            child,
        }
    }

    /// The same without more.
    pub async fn plain() -> Self {
        Self::start(&new_folder(), "").await
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Gives all users other passwords, of which `suffix` is the end.
    pub fn change_passwords(&self, suffix: &str) {
        write_passwords(&self.folder, suffix);
        process::signal(self.child.id() as i32, Signal::SIGHUP);
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A folder for [`Nats::start`], which goes with it.
pub fn new_folder() -> PathBuf {
    new_root()
}

/// The password of a user of [`Nats`].
pub fn password(user: &str) -> String {
    format!("the password of {user}")
}

/// Writes what a server's configuration includes: the permissions and the passwords.
pub fn write_users(folder: &Path) {
    std::fs::write(folder.join("permissions.conf"), permissions()).expect("a file");
    write_passwords(folder, "");
}

fn write_passwords(folder: &Path, suffix: &str) {
    let lines = USERS.map(|it| format!("{}_PASSWORD: \"{}{suffix}\"\n", it.to_uppercase(), password(it)));
    std::fs::write(folder.join("passwords.conf"), lines.concat()).expect("a file");
}

/// A client that says what a test tells it to, line by line.
pub struct RawNats(BufReader<TcpStream>);

impl RawNats {
    /// Logs in.
    pub async fn log_in(port: u16, user: &str, password: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("NATS listens");
        let mut client = Self(BufReader::new(stream));
        let who = json!({"verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "user": user, "pass": password});
        assert_eq!(client.errors(&format!("CONNECT {who}\r\n")).await, Vec::<String>::new());
        client
    }

    /// Says `lines`, and what the server objects to in them.
    pub async fn errors(&mut self, lines: &str) -> Vec<String> {
        self.say(lines)
            .await
            .into_iter()
            .filter_map(|it| Some(it.strip_prefix("-ERR ")?.to_owned()))
            .collect()
    }

    /// Says `lines`, and all that the server says until it has heard them.
    async fn say(&mut self, lines: &str) -> Vec<String> {
        let said = format!("{lines}PING\r\n");
        self.0.get_mut().write_all(said.as_bytes()).await.expect("NATS reads");
        let mut answers = Vec::new();
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.0.read_line(&mut line))
                .await
                .expect("NATS answers");
            assert!(
                read.expect("NATS answers") > 0,
                "NATS has closed the connection: {answers:?}"
            );
            match line.trim_end() {
                "PONG" => return answers,
                other => answers.push(other.to_owned()),
            }
        }
    }

    /// Whether it may publish to a subject.
    pub async fn may_publish(&mut self, subject: &str) -> bool {
        let errors = self.errors(&format!("PUB {subject} 0\r\n\r\n")).await;
        denied(&errors, &format!("Publish to \"{subject}\""))
    }

    /// Whether it may subscribe to a subject.
    pub async fn may_subscribe(&mut self, subject: &str) -> bool {
        let errors = self.errors(&format!("SUB {subject} 1\r\nUNSUB 1\r\n")).await;
        denied(&errors, &format!("Subscription to \"{subject}\""))
    }
}

fn denied(errors: &[String], what: &str) -> bool {
    match errors {
        [] => true,
        [one] if one.contains("Permissions Violation") && one.contains(what) => false,
        other => panic!("{what}: {other:?}"),
    }
}
