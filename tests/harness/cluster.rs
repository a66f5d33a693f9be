//! Three NATS servers and three MongoDB servers as real processes: a cluster and a replica set on loopback.
//!
//! Their programs are found as `parley up` finds them. What runs on them is a [`Deployment`](super::Deployment) like any
//! other, started with the addresses of [`Cluster::under`].

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::cluster_files::{mongod_arguments, nats_configuration};
use super::start::{Start, new_root};
use super::wait::until;
use super::{nats, ports, process};

const MEMBERS: usize = 3;
/// For an election, and for a server to come back: on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// One server of the six.
struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    child: Option<Child>,
}

/// See the module. All of it ends when it is dropped.
pub struct Cluster {
    root: PathBuf,
    nats: Vec<Server>,
    /// Ports on which the NATS servers tell about themselves.
    monitors: Vec<u16>,
    mongod: Vec<Server>,
}

impl Server {
    fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(process::spawn(command).expect("a server starts"));
    }

    fn pid(&self) -> i32 {
        self.child.as_ref().expect("it runs").id() as i32
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            process::signal(child.id() as i32, Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

impl Cluster {
    /// Starts all six and waits until NATS has a leader for everything and MongoDB a primary.
    pub async fn start() -> Self {
        let root = new_root();
        let (programs, folder) = (
            (
                parley::servers::NATS.find().await.expect("nats-server"),
                parley::servers::MONGOD.find().await.expect("mongod"),
            ),
            |name: String| {
                let folder = root.join(name);
                std::fs::create_dir_all(&folder).expect("a folder for a server");
                folder
            },
        );
        let first = ports::free(4 * MEMBERS as u16);
        let port = |kind: usize, number: usize| first + (kind * MEMBERS + number) as u16;
        let routes: Vec<String> = (0..MEMBERS)
            .map(|it| format!("nats://127.0.0.1:{}", port(1, it)))
            .collect();
        let nats = (0..MEMBERS).map(|number| {
            let folder = folder(format!("nats-{number}"));
            let ports = [port(0, number), port(1, number), port(2, number)];
            let file = folder.join("nats.conf");
            std::fs::write(&file, nats_configuration(number, &folder, ports, &routes)).expect("a configuration");
            nats::write_users(&folder);
            Server {
                program: programs.0.clone(),
                arguments: vec!["-c".into(), file.display().to_string()],
                port: ports[0],
                child: None,
            }
        });
        let mongod = (0..MEMBERS).map(|number| Server {
            program: programs.1.clone(),
            arguments: mongod_arguments(&folder(format!("mongod-{number}")), port(3, number)),
            port: port(3, number),
            child: None,
        });
        let (nats, mongod) = (nats.collect(), mongod.collect());
        let monitors = (0..MEMBERS).map(|it| port(2, it)).collect();
        let mut cluster = Self {
            root: root.clone(),
            nats,
            monitors,
            mongod,
        };
        cluster
            .nats
            .iter_mut()
            .chain(&mut cluster.mongod)
            .for_each(Server::start);
        cluster.initiate().await;
        until("JetStream to have a leader", PATIENCE, async || {
            cluster.meta_leader().await
        })
        .await;
        cluster.primary().await;
        cluster
    }

    /// A deployment on these servers, with three copies of each stream, and a login for each service.
    pub fn under(&self, start: Start) -> Start {
        let start = start.arg("--nats").arg(&self.nats_urls());
        let passwords = self.root.join("nats-0").join("passwords.conf");
        let start = start.arg("--nats-passwords").arg(&passwords.display().to_string());
        let start = start.arg("--mongodb").arg(&self.mongodb_uri());
        start.env("PARLEY_STREAM__REPLICAS", "3")
    }

    fn nats_urls(&self) -> String {
        let urls: Vec<String> = self
            .nats
            .iter()
            .map(|it| format!("nats://127.0.0.1:{}", it.port))
            .collect();
        urls.join(",")
    }

    fn mongodb_uri(&self) -> String {
        let hosts: Vec<String> = self.mongod.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
        format!("mongodb://{}/?replicaSet=rs0", hosts.join(","))
    }

    /// Kills a NATS server with signal 9.
    pub fn kill_nats(&mut self, number: usize) {
        self.nats[number].kill();
    }

    /// Starts a killed NATS server again, on its files.
    pub fn start_nats(&mut self, number: usize) {
        self.nats[number].start();
    }

    /// Stops a NATS server in its tracks: it holds its connections and answers nothing.
    pub fn pause_nats(&self, number: usize) {
        process::signal(self.nats[number].pid(), Signal::SIGSTOP);
    }

    /// Lets a paused NATS server go on.
    pub fn unpause_nats(&self, number: usize) {
        process::signal(self.nats[number].pid(), Signal::SIGCONT);
    }

    /// Kills a MongoDB server with signal 9.
    pub fn kill_mongod(&mut self, number: usize) {
        self.mongod[number].kill();
    }

    /// Starts a killed MongoDB server again, on its files.
    pub fn start_mongod(&mut self, number: usize) {
        self.mongod[number].start();
    }

    /// What a NATS server says about itself.
    async fn monitor(&self, number: usize, path: &str) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}/{path}", self.monitors[number]);
        let answer = tokio::time::timeout(Duration::from_secs(2), reqwest::get(url)).await;
        answer.ok()?.ok()?.json().await.ok()
    }

    /// What the first running server says that says anything.
    async fn ask(&self, path: &str) -> Option<Value> {
        for number in (0..MEMBERS).filter(|it| self.nats[*it].child.is_some()) {
            if let Some(answer) = self.monitor(number, path).await {
                return Some(answer);
            }
        }
        None
    }

    async fn meta_leader(&self) -> Option<usize> {
        let answer = self.ask("jsz").await?;
        let cluster = &answer["meta_cluster"];
        let whole = cluster["cluster_size"].as_u64() == Some(MEMBERS as u64);
        number_of(cluster["leader"].as_str().filter(|_| whole)?)
    }

    /// The NATS server that leads a stream.
    pub async fn leader(&self, stream: &str) -> usize {
        until(&format!("a leader of {stream}"), PATIENCE, async || {
            let answer = self.ask("jsz?accounts=true&streams=true").await?;
            let streams = answer["account_details"][0]["stream_detail"].as_array()?;
            let found = streams.iter().find(|it| it["name"] == stream)?;
            let leader = number_of(found["cluster"]["leader"].as_str()?)?;
            self.nats[leader].child.as_ref().map(|_| leader)
        })
        .await
    }

    /// Waits until every stream has a leader and all its copies are equal again.
    pub async fn whole(&self) {
        until("all copies of all streams", PATIENCE, async || {
            for number in 0..MEMBERS {
                let health = self.monitor(number, "healthz").await?;
                if health["status"] != "ok" {
                    return None;
                }
            }
            let meta = self.meta_leader().await?;
            let answer = self.monitor(meta, "jsz?accounts=true&streams=true").await?;
            let streams = answer["account_details"][0]["stream_detail"].as_array()?;
            let led = streams.iter().all(|it| it["cluster"]["leader"].is_string());
            (led && !streams.is_empty()).then_some(())
        })
        .await;
    }

    /// The NATS server that a client of this name is connected to, as the user of its own.
    pub async fn server_of(&self, client: &str) -> usize {
        until(&format!("the connection of {client}"), PATIENCE, async || {
            for number in (0..MEMBERS).filter(|it| self.nats[*it].child.is_some()) {
                let answer = self.monitor(number, "connz?limit=1000&auth=true").await?;
                let connections = answer["connections"].as_array()?;
                if let Some(it) = connections.iter().find(|it| it["name"] == client) {
                    assert_eq!(it["authorized_user"], client.trim_start_matches("parley-"));
                    return Some(number);
                }
            }
            None
        })
        .await
    }

    async fn command(&self, number: usize, command: Document) -> Option<Document> {
        let uri = format!(
            "mongodb://127.0.0.1:{}/?directConnection=true&serverSelectionTimeoutMS=1000",
            self.mongod[number].port
        );
        let client = mongodb::Client::with_uri_str(uri).await.ok()?;
        let admin = client.database("admin");
        let answer = tokio::time::timeout(Duration::from_secs(3), admin.run_command(command)).await;
        answer.ok()?.ok()
    }

    async fn initiate(&self) {
        let hosts = self.mongod.iter().enumerate();
        let members: Vec<Document> = hosts
            .map(|(number, it)| doc! { "_id": number as i32, "host": format!("127.0.0.1:{}", it.port) })
            .collect();
        // The default of ten seconds is for networks with longer ways.
        let settings = doc! { "electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 500 };
        let set = doc! { "_id": "rs0", "version": 1, "members": members, "settings": settings };
        until("the replica set to be made", PATIENCE, async || {
            self.command(0, doc! { "replSetInitiate": set.clone() }).await
        })
        .await;
    }

    /// The MongoDB server that takes writes.
    pub async fn primary(&self) -> usize {
        until("a primary", PATIENCE, async || {
            for number in (0..MEMBERS).filter(|it| self.mongod[*it].child.is_some()) {
                let hello = self.command(number, doc! { "hello": 1 }).await;
                if hello.is_some_and(|it| it.get_bool("isWritablePrimary").unwrap_or(false)) {
                    return Some(number);
                }
            }
            None
        })
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in self.nats.iter_mut().chain(&mut self.mongod) {
            server.kill();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

fn number_of(name: &str) -> Option<usize> {
    name.strip_prefix("n")?.parse().ok()
}
