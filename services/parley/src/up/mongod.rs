//! The MongoDB server of a deployment: a replica set of one node, because transactions and majority writes need a set.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use tokio::net::TcpStream;

use super::ready;
use crate::data_dir::DataDir;
use crate::processes::{Processes, Spec, ports};

/// Its name in `pids`, `ports` and `logs`.
pub(super) const NAME: &str = "mongod";

/// MongoDB's code of "this replica set has never been set up".
const NOT_YET_INITIALIZED: i32 = 94;

/// Starts it and gives its URI once it takes writes.
pub(super) async fn start(program: PathBuf, processes: &Processes, data: &DataDir) -> anyhow::Result<String> {
    let port = port(data)?;
    processes.start(spec(program, data, port)).await?;
    // Its driver would look again only after half a second.
    ready::until("mongod's port", || async {
        Ok(TcpStream::connect(("127.0.0.1", port)).await.is_ok())
    })
    .await?;
    let mut options = ClientOptions::parse(format!("mongodb://127.0.0.1:{port}/?directConnection=true")).await?;
    options.server_selection_timeout = Some(Duration::from_secs(5));
    let admin = Client::with_options(options)?.database("admin");
    ready::until("MongoDB", || become_primary(&admin, port)).await?;
    std::fs::write(port_file(data), format!("{port}\n"))?;
    Ok(format!("mongodb://127.0.0.1:{port}/?replicaSet=rs0"))
}

fn spec(program: PathBuf, data: &DataDir, port: u16) -> Spec {
    let port_text = port.to_string();
    let settings = [
        "--replSet=rs0",
        "--bind_ip=127.0.0.1",
        // A gigabyte by default, or half the machine.
        "--wiredTigerCacheSizeGB=0.5",
        // A workstation has more disk than processor to spare.
        "--wiredTigerJournalCompressor=none",
        "--oplogSize=512",
        "--quiet",
        "--nounixsocket",
        "--setParameter=diagnosticDataCollectionEnabled=false",
        // Nobody to hand over to: no need to wait before ending.
        "--setParameter=shutdownTimeoutMillisForSignaledShutdown=100",
    ];
    let mut arguments: Vec<_> = settings.into_iter().map(Into::into).collect();
    arguments.extend([
        "--port".into(),
        port_text.into(),
        "--dbpath".into(),
        data.join("mongod").into(),
    ]);
    Spec {
        name: NAME.to_owned(),
        program,
        arguments,
        environment: Vec::new(),
        port,
    }
}

/// The port of the last time where it is free: the set's configuration names it.
fn port(data: &DataDir) -> anyhow::Result<u16> {
    let last = std::fs::read_to_string(port_file(data))
        .ok()
        .and_then(|text| text.trim().parse().ok());
    match last.filter(|port| ports::is_free(*port)) {
        Some(port) => Ok(port),
        None => ports::free().context("cannot choose a port for MongoDB"),
    }
}

fn port_file(data: &DataDir) -> PathBuf {
    data.join("mongod.port")
}

/// One step towards a node that takes writes; true when it does.
async fn become_primary(admin: &Database, port: u16) -> anyhow::Result<bool> {
    let hello = admin.run_command(doc! { "hello": 1 }).await?;
    if hello.get_bool("isWritablePrimary").unwrap_or(false) {
        return Ok(true);
    }
    match admin.run_command(doc! { "replSetGetConfig": 1 }).await {
        Err(error) if matches!(&*error.kind, ErrorKind::Command(command) if command.code == NOT_YET_INITIALIZED) => {
            let set = doc! { "_id": "rs0", "version": 1, "members": [member(port)] };
            admin.run_command(doc! { "replSetInitiate": set }).await?;
        }
        Err(error) => return Err(error.into()),
        Ok(answer) => {
            let mut set = answer.get_document("config")?.clone();
            if !is_at(&set, port) {
                let version = set.get_i32("version").unwrap_or(1).saturating_add(1);
                set.insert("version", version);
                set.insert("members", vec![member(port)]);
                admin
                    .run_command(doc! { "replSetReconfig": set, "force": true })
                    .await?;
            }
        }
    }
    Ok(false)
}

fn member(port: u16) -> Document {
    doc! { "_id": 0, "host": format!("127.0.0.1:{port}") }
}

fn is_at(set: &Document, port: u16) -> bool {
    let members = set.get_array("members").map(Vec::as_slice).unwrap_or_default();
    let hosts = members
        .iter()
        .filter_map(|member| member.as_document()?.get_str("host").ok());
    hosts.eq([format!("127.0.0.1:{port}")])
}
