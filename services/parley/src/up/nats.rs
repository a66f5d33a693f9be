//! The NATS server of a deployment: its configuration, and when it is ready.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::nats_users::{OPERATOR, Users};
use super::ready;
use crate::data_dir::DataDir;
use crate::processes::{Processes, Spec, ports};

/// Its name in `pids`, `ports` and `logs`.
pub(super) const NAME: &str = "nats";

/// Starts it on a free port and gives its URL and its users once JetStream can be used.
pub(super) async fn start(program: PathBuf, processes: &Processes, data: &DataDir) -> anyhow::Result<(String, Users)> {
    let users = Users::write(data)?;
    adopt(data).context("cannot move the streams of an earlier version")?;
    let port = ports::free().context("cannot choose a port for NATS")?;
    let file = data.join("nats/nats.conf");
    std::fs::write(&file, configuration(port, data)?).with_context(|| format!("cannot write {}", file.display()))?;
    let arguments = vec!["-c".into(), file.into()];
    processes
        .start(Spec {
            name: NAME.to_owned(),
            program,
            arguments,
            environment: Vec::new(),
            port,
        })
        .await?;
    ready::until("NATS", || greets(port)).await?;
    Ok((format!("nats://127.0.0.1:{port}"), users))
}

/// Earlier versions had no account of their own: their streams lie in the folder of NATS' common one.
fn adopt(data: &DataDir) -> std::io::Result<()> {
    let accounts = data.join("nats/jetstream/jetstream");
    let (before, now) = (accounts.join("$G"), accounts.join("PARLEY"));
    if before.exists() && !now.exists() {
        std::fs::rename(before, now)?;
    }
    Ok(())
}

/// Services log in as themselves. Whoever else is on this machine, such as this tool and scripts, need not log in to be
/// an operator: that much trust there is on a workstation, and nowhere else is it configured.
fn configuration(port: u16, data: &DataDir) -> anyhow::Result<String> {
    let store = serde_json::to_string(&data.join("nats/jetstream"))?;
    Ok(format!(
        "# Written by `parley up` at each start.\n\
         listen: \"127.0.0.1:{port}\"\n\
         server_name: parley\n\
         jetstream {{ store_dir: {store} }}\n\
         max_payload: 8MB\n\
         # What a node that tails the log may lag behind before it is cut off.\n\
         max_pending: 256MB\n\
         include \"permissions.conf\"\n\
         no_auth_user: {OPERATOR}\n"
    ))
}

/// The server accepts clients once JetStream has recovered its files, and greets them first.
async fn greets(port: u16) -> anyhow::Result<bool> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut line = String::new();
    timeout(Duration::from_secs(2), BufReader::new(stream).read_line(&mut line)).await??;
    Ok(line.starts_with("INFO ") && line.contains("\"jetstream\":true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_odd_characters_stays_one_string() {
        let folder = std::env::temp_dir().join(format!("parley \"odd\" {}", std::process::id()));
        let data = DataDir::create(&folder).unwrap();
        assert!(configuration(1, &data).unwrap().contains("/parley \\\"odd\\\" "));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
