//! A deployment on three NATS servers and three MongoDB servers, some of which die, stand still or lag: the invariants hold.
//!
//! The long round, with figures:
//! `cargo test -p parley --test system clusters::every_fault -- --ignored --nocapture`

use std::time::{Duration, Instant};

use crate::harness::{Cluster, Deployment, Storm};

/// Acks to wait for between two faults.
const BETWEEN: usize = 100;
/// Messages at once, forty times a second: each is written to three disks.
const BURST: u32 = 2;
/// Longer than an election.
const STANDSTILL: Duration = Duration::from_secs(6);

async fn launch(cluster: &Cluster) -> Deployment {
    let start = Deployment::start().separate().replicas("connection=2,message=2");
    let start = cluster.under(start).env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0");
    start.env("PARLEY_STREAM__PARTITIONS", "2").launch().await
}

#[tokio::test]
async fn leaders_that_die_or_stand_still_and_a_primary_that_dies_lose_nothing() {
    let mut cluster = Cluster::start().await;
    let deployment = launch(&cluster).await;
    let storm = Storm::gather(&deployment).await.in_bursts_of(BURST);
    let faults = async {
        storm.acked(BETWEEN).await;
        let leader = cluster.leader("CHAT_0").await;
        cluster.kill_nats(leader);
        storm.acked(BETWEEN).await;
        cluster.start_nats(leader);
        cluster.whole().await;
        let primary = cluster.primary().await;
        cluster.kill_mongod(primary);
        let leader = cluster.leader("CHAT_1").await;
        cluster.pause_nats(leader);
        tokio::time::sleep(STANDSTILL).await;
        cluster.unpause_nats(leader);
        storm.acked(BETWEEN).await;
        cluster.start_mongod(primary);
        cluster.primary().await;
    };
    storm.during(faults).await;
    storm.check().await;
}

/// One fault: what is done, and what it meant for those who sent meanwhile.
struct Fault<'a> {
    storm: &'a Storm<'a>,
    name: String,
    began: Instant,
}

impl<'a> Fault<'a> {
    fn begin(storm: &'a Storm<'a>, name: &str) -> Self {
        Self {
            storm,
            name: name.into(),
            began: Instant::now(),
        }
    }

    /// Waits until work goes on, and says how long sends had to wait.
    async fn over(self) {
        self.storm.acked(BETWEEN).await;
        self.storm.settled().await;
        let waits = self.storm.waits_since(self.began);
        let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
        println!(
            "{}: {} sends, waited for their ack: median {:?}, p99 {:?}, worst {:?}",
            self.name,
            waits.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}

async fn kill_leaders(cluster: &mut Cluster, storm: &Storm<'_>) {
    for stream in ["CHAT_0", "CHAT_1"] {
        let leader = cluster.leader(stream).await;
        let fault = Fault::begin(storm, &format!("kill -9 of the leader of {stream}"));
        cluster.kill_nats(leader);
        fault.over().await;
        cluster.start_nats(leader);
        cluster.whole().await;
    }
}

async fn kill_own_server(cluster: &mut Cluster, storm: &Storm<'_>) {
    let server = cluster.server_of("parley-connection").await;
    let fault = Fault::begin(
        storm,
        "kill -9 of the NATS server that a connection node is connected to",
    );
    cluster.kill_nats(server);
    fault.over().await;
    cluster.start_nats(server);
    cluster.whole().await;
}

async fn kill_primary(cluster: &mut Cluster, storm: &Storm<'_>) {
    let primary = cluster.primary().await;
    let fault = Fault::begin(storm, "kill -9 of MongoDB's primary");
    cluster.kill_mongod(primary);
    fault.over().await;
    cluster.primary().await;
    cluster.start_mongod(primary);
}

async fn stand_still(cluster: &mut Cluster, storm: &Storm<'_>) {
    let leader = cluster.leader("CHAT_0").await;
    for (server, pause, name) in [
        (
            (leader + 1) % 3,
            Duration::from_millis(1_200),
            "a follower stands still for 1.2 s",
        ),
        (leader, STANDSTILL, "the leader of CHAT_0 stands still for 6 s"),
    ] {
        let fault = Fault::begin(storm, name);
        cluster.pause_nats(server);
        tokio::time::sleep(pause).await;
        cluster.unpause_nats(server);
        fault.over().await;
        cluster.whole().await;
    }
}

async fn lose_quorum(cluster: &mut Cluster, storm: &Storm<'_>) {
    let fault = Fault::begin(storm, "two of three NATS servers away for 6 s");
    cluster.kill_nats(0);
    cluster.kill_nats(1);
    // What was under way is answered by then.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let acked = storm.total_acked();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(storm.total_acked(), acked, "acked without a majority");
    cluster.start_nats(0);
    cluster.start_nats(1);
    fault.over().await;
    cluster.whole().await;
}

#[tokio::test]
#[ignore = "takes minutes: see the module"]
async fn every_fault_of_a_cluster_twice_loses_nothing() {
    let mut cluster = Cluster::start().await;
    let deployment = launch(&cluster).await;
    let storm = Storm::gather(&deployment).await.in_bursts_of(BURST);
    let faults = async {
        let fault = Fault::begin(&storm, "nothing, for comparison");
        fault.over().await;
        for _ in 0..2 {
            kill_leaders(&mut cluster, &storm).await;
            kill_own_server(&mut cluster, &storm).await;
            kill_primary(&mut cluster, &storm).await;
            stand_still(&mut cluster, &storm).await;
            lose_quorum(&mut cluster, &storm).await;
        }
    };
    storm.during(faults).await;
    storm.check().await;
}
