//! Another number of partitions, by the procedure of docs/operators-guide.md: all is projected, everything is stopped, the log is
//! deleted with the number that it was made with, and MongoDB carries over what was said.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::harness::{Broker, Deployment, Room, client_id, message, until};

const SETTING: &str = "PARLEY_STREAM__PARTITIONS";
/// A send that is repeated sooner is JetStream's to know, and it forgets with the stream: the guide has the operator wait for so long.
const WINDOW: Duration = Duration::from_secs(1);

/// The NATS server of a stopped deployment, alone on its data. It is killed when dropped.
struct Alone {
    server: Child,
    broker: Broker,
}

impl Alone {
    async fn start(deployment: &Deployment, program: &Path) -> Self {
        let file = deployment.data().join("nats/nats.conf");
        let conf = std::fs::read_to_string(&file).unwrap();
        let address = conf
            .split("listen: \"")
            .nth(1)
            .and_then(|it| it.split('"').next())
            .unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).kill_on_drop(true);
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let connect = async || Broker::at(address).await;
        let broker = until("NATS alone", Duration::from_secs(10), connect).await;
        Self { server, broker }
    }

    async fn stop(mut self) {
        let pid = Pid::from_raw(self.server.id().expect("it runs") as i32);
        nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
        self.server.wait().await.unwrap();
    }
}

/// The guide's procedure, from a deployment that runs to one that runs with another number.
async fn change_partitions(deployment: &mut Deployment, partitions: &str) {
    let program: PathBuf = std::fs::read_link(format!("/proc/{}/exe", deployment.pid("nats"))).unwrap();
    deployment.verify().await;
    deployment.stop_with(Signal::SIGTERM).await;
    let alone = Alone::start(deployment, &program).await;
    for stream in alone.broker.log_streams().await {
        alone.broker.delete(&stream).await;
    }
    alone.broker.purge_subject("KV_PARLEY", "$KV.PARLEY.partitions").await;
    alone.stop().await;
    deployment.set_env(SETTING, partitions);
    deployment.start_again().await;
}

fn texts(history: &[Value]) -> Vec<(u64, &str)> {
    let text = |it: &Value| it["text"].as_str().map(str::to_owned);
    let said = history.iter().filter(|it| text(it).is_some());
    said.map(|it| (it["seq"].as_u64().unwrap(), it["text"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn with_another_number_of_partitions_everything_goes_on_where_it_was() {
    let start = Deployment::start().env("PARLEY_STREAM__DUPLICATE_WINDOW", "1s");
    let mut deployment = start.env(SETTING, "2").launch().await;
    // Enough of them that some are in another partition afterwards.
    let rooms: [Room<2>; 6] = futures_util::future::join_all((0..6).map(|_| deployment.direct()))
        .await
        .try_into()
        .unwrap_or_else(|_| panic!("six rooms"));
    for room in &rooms {
        room.users[0].api.say(&room.id, "before").await;
    }
    let group = deployment.group(["ann", "bob", "eve"]).await;
    let [ann, _, eve] = &group.users;
    assert_eq!(ann.api.remove(&group.id, &eve.id).await.status, 204);
    let socket = rooms[0].users[0].connect().await;
    let id = client_id();
    socket.send(message(&id, &rooms[0].id, "once")).await;
    let original = socket.wait_ack(&id).await;
    let open_again = Instant::now() + WINDOW;
    let cursor = socket.settled_cursor().await;
    socket.kill().await;

    change_partitions(&mut deployment, "5").await;
    tokio::time::sleep_until(open_again).await;

    // Whoever comes with a cursor of before is told to read history, and is live.
    let again = rooms[0].users[0].socket().resume(&cursor).connect().await;
    assert_eq!(again.ready["resumed"], false, "{}", again.ready);
    again.expect("resync").await;
    // A repetition of before is known, and the conversation goes on with the next number.
    let mut repeated = message(&id, &rooms[0].id, "once");
    repeated["retry"] = json!(true);
    let ack = again.send_patiently(repeated).await;
    assert_eq!((&ack["seq"], &ack["duplicate"]), (&original["seq"], &json!(true)));
    for room in &rooms {
        let [ann, bob] = &room.users;
        let bob_socket = bob.connect().await;
        ann.connect().await.say_patiently(&room.id, "after").await;
        bob_socket.expect_text("after").await;
        let history = bob.api.history_forwards(&room.id, 50).await;
        let expected: &[(u64, &str)] = match room.id == rooms[0].id {
            true => &[(2, "before"), (3, "once"), (4, "after")],
            false => &[(2, "before"), (3, "after")],
        };
        assert_eq!(texts(&history), expected);
    }
    let refused = eve
        .api
        .send(&group.id, &json!({"client_id": client_id(), "text": "?"}))
        .await;
    refused.assert_problem(404, "not_found");
    deployment.verify().await;
    let broker = Broker::of(&deployment).await;
    assert_eq!(broker.log_streams().await.len(), 5);
}
