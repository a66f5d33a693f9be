//! `parley up`: what it promises to operators while it starts and runs.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Broker, Deployment, process, until};

const SERVICES: [&str; 4] = ["connection-0", "connection-1", "message-0", "message-1"];

async fn separate() -> Deployment {
    Deployment::start()
        .separate()
        .replicas("connection=2,message=2")
        .launch()
        .await
}

#[tokio::test]
async fn every_connection_replica_has_its_ready_line_with_ports_counting_up() {
    let deployment = separate().await;
    let port = |node: &String| node.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let ports: Vec<u16> = deployment.nodes().iter().map(port).collect();
    assert_eq!(ports.len(), 2, "{}", deployment.stdout());
    assert_eq!(ports[1], ports[0] + 1);
    assert!(
        deployment
            .stdout()
            .lines()
            .all(|it| it.starts_with("ready http://127.0.0.1:")),
        "{}",
        deployment.stdout()
    );
}

#[tokio::test]
async fn every_process_has_its_id_and_its_port_in_a_file() {
    let deployment = separate().await;
    let mut ids = vec![deployment.up_pid()];
    for name in ["nats", "mongod"].iter().chain(&SERVICES) {
        let pid = deployment.pid(name);
        assert!(process::is_alive(pid), "{name}: {pid}");
        assert!(!ids.contains(&pid), "{name} is no process of its own");
        ids.push(pid);
        let port = deployment.port(name);
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[tokio::test]
async fn a_service_answers_its_probes_on_its_private_port() {
    let deployment = separate().await;
    for name in SERVICES {
        for probe in ["healthz", "readyz", "metrics"] {
            let url = format!("http://127.0.0.1:{}/{probe}", deployment.port(name));
            assert_eq!(reqwest::get(&url).await.unwrap().status(), 200, "{name} {probe}");
        }
    }
    let public = reqwest::get(format!("{}/metrics", deployment.nodes()[0]))
        .await
        .unwrap();
    assert_eq!(public.status(), 404, "what is private is not on the public port");
}

#[tokio::test]
async fn ctrl_c_leaves_nothing_running() {
    let mut deployment = separate().await;
    let room = deployment.direct().await;
    let socket = room.users[0].connect().await;
    deployment.stop_with(Signal::SIGINT).await;
    socket.expect_close(1001, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn all_in_one_process_ctrl_c_leaves_nothing_running() {
    let mut deployment = Deployment::start().launch().await;
    deployment.stop_with(Signal::SIGINT).await;
}

#[tokio::test]
async fn killing_up_itself_leaves_nothing_running() {
    let mut deployment = separate().await;
    process::signal(deployment.up_pid(), Signal::SIGKILL);
    deployment.ended(Duration::from_secs(5)).await;
    deployment.assert_nothing_left(Duration::from_secs(5));
}

#[tokio::test]
async fn after_up_was_killed_it_starts_again_with_its_data() {
    let mut deployment = Deployment::start().launch().await;
    let room = deployment.direct().await;
    room.users[0].api.say(&room.id, "before").await;
    process::signal(deployment.up_pid(), Signal::SIGKILL);
    deployment.ended(Duration::from_secs(5)).await;
    deployment.start_again().await;
    assert_eq!(room.users[0].api.say(&room.id, "after").await["seq"], 3);
    let history = room.users[0].api.history_forwards(&room.id, 50).await;
    let texts: Vec<_> = history.iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["before", "after"]);
}

#[tokio::test]
async fn data_and_tokens_survive_a_restart() {
    let mut deployment = separate().await;
    let room = deployment.direct().await;
    let before = room.users[0].api.say(&room.id, "before").await;
    deployment.restart().await;
    // The same tokens as before.
    let history = room.users[1].api.history_forwards(&room.id, 50).await;
    assert_eq!(history[0]["server_id"], before["server_id"]);
    assert_eq!(room.users[1].api.say(&room.id, "after").await["seq"], 3);
    deployment.verify().await;
}

#[tokio::test]
async fn the_log_of_a_version_without_users_of_nats_is_kept() {
    let mut deployment = Deployment::start().launch().await;
    let room = deployment.direct().await;
    room.users[0].api.say(&room.id, "before").await;
    let before = Broker::of(&deployment).await.last_entry(&room.id).await;
    deployment.stop_with(Signal::SIGTERM).await;
    let accounts = deployment.data().join("nats/jetstream/jetstream");
    std::fs::rename(accounts.join("PARLEY"), accounts.join("$G")).unwrap();
    deployment.start_again().await;
    assert_eq!(Broker::of(&deployment).await.last_entry(&room.id).await, before);
}

#[tokio::test]
async fn a_second_up_on_the_same_data_is_refused_and_harms_nothing() {
    let deployment = Deployment::start().launch().await;
    let (nats, mongod) = (deployment.pid("nats"), deployment.pid("mongod"));
    let second = Deployment::start()
        .refused_on(&deployment.data(), Duration::from_secs(20))
        .await;
    assert!(matches!(second.code, Some(1..)), "{:?} {}", second.code, second.stderr);
    assert!(!second.stderr.is_empty(), "it says why");
    assert_eq!((deployment.pid("nats"), deployment.pid("mongod")), (nats, mongod));
    let room = deployment.direct().await;
    assert_eq!(room.users[0].api.say(&room.id, "still here").await["seq"], 2);
}

#[tokio::test]
async fn two_deployments_never_meet() {
    let one = Deployment::start().launch().await;
    let other = Deployment::start().beside().launch().await;
    let room = one.direct().await;
    room.users[0].api.say(&room.id, "here").await;
    let foreign = crate::harness::Api::new(&other.nodes()[0], &room.users[0].token);
    foreign
        .history(&room.id, "")
        .await
        .assert_problem(401, "unauthenticated");
    let namesake = other.user_named(&room.users[0].id).await;
    namesake
        .api
        .history(&room.id, "")
        .await
        .assert_problem(404, "not_found");
}

#[tokio::test]
async fn given_servers_are_used_instead_of_own_ones() {
    let one = Deployment::start().launch().await;
    let nats = format!("nats://127.0.0.1:{}", one.port("nats"));
    let mongodb = format!(
        "mongodb://127.0.0.1:{}/?replicaSet=rs0&directConnection=true",
        one.port("mongod")
    );
    let start = Deployment::start()
        .beside()
        .arg("--nats")
        .arg(&nats)
        .arg("--mongodb")
        .arg(&mongodb);
    let other = start.launch().await;
    assert!(!other.data().join("pids/nats").exists() && !other.data().join("pids/mongod").exists());
    let room = other.direct().await;
    room.users[0].api.say(&room.id, "through the other's servers").await;
    let neighbour = one.user_named(&room.users[1].id).await;
    assert_eq!(neighbour.api.history_forwards(&room.id, 50).await.len(), 1);
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let refused = Deployment::start().listen(port).refused().await;
    assert!(matches!(refused.code, Some(1..)), "{:?}", refused.code);
    assert!(refused.stderr.contains(&port.to_string()), "{}", refused.stderr);
    assert!(!refused.stdout.contains("ready"), "{}", refused.stdout);
}

#[tokio::test]
async fn a_child_that_dies_is_started_again_on_its_port() {
    let deployment = separate().await;
    let names = ["nats", "mongod", "message-0", "connection-1"];
    let before = names.map(|it| deployment.port(it));
    for name in names {
        let old = deployment.kill(name);
        deployment.restarted(name, old).await;
    }
    assert_eq!(names.map(|it| deployment.port(it)), before);
    let [user, other] = deployment.users(["ann", "bob"]).await;
    until("all to work again", Duration::from_secs(20), async || {
        let body = serde_json::json!({"type": "direct", "members": [other.id]});
        (user.api.post("/v1/conversations", &body).await.status < 300).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_restart_a_dead_child_stays_dead() {
    let deployment = Deployment::start().separate().no_restart().launch().await;
    let pid = deployment.kill("message-0");
    // The contract's one second, and a half: the absence of a restart has no other sign.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!process::is_alive(pid));
    let file = std::fs::read_to_string(deployment.data().join("pids/message-0")).unwrap_or_default();
    assert!(
        file.trim().is_empty() || file.trim() == pid.to_string(),
        "started again as {file}"
    );
    assert!(process::is_alive(deployment.up_pid()));
}

#[tokio::test]
async fn servers_on_the_path_are_used_and_nothing_is_fetched() {
    let first = Deployment::start().launch().await;
    let home = first.data().join("home");
    let path = first.data().join("path");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::create_dir_all(&path).unwrap();
    for (name, file) in [("nats", "nats-server"), ("mongod", "mongod")] {
        let program = std::fs::read_link(format!("/proc/{}/exe", first.pid(name))).unwrap();
        std::os::unix::fs::symlink(program, path.join(file)).unwrap();
    }
    // No shell, no Python: only these two.
    let start = Deployment::start()
        .env("PATH", path.to_str().unwrap())
        .env("HOME", home.to_str().unwrap());
    let second = start
        .env("XDG_CACHE_HOME", home.to_str().unwrap())
        .beside()
        .launch()
        .await;
    let room = second.direct().await;
    assert_eq!(room.users[0].api.say(&room.id, "hello").await["seq"], 2);
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0, "nothing was fetched");
}
