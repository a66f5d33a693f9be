//! A deployment on three NATS servers and three MongoDB servers, some of which die: the invariants hold.

use std::time::Duration;

use crate::harness::{Cluster, Deployment, Storm};

/// Acks to wait for between two faults.
const BETWEEN: usize = 100;
/// Messages at once, forty times a second.
const BURST: u32 = 2;

async fn launch(cluster: &Cluster) -> Deployment {
    let start = Deployment::start().separate().replicas("connection=2,message=2");
    let start = cluster.under(start).env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0");
    start.env("PARLEY_STREAM__PARTITIONS", "2").launch().await
}

#[tokio::test]
async fn killing_the_leaders_of_the_log_and_the_primary_loses_nothing() {
    let mut cluster = Cluster::start().await;
    let deployment = launch(&cluster).await;
    let storm = Storm::gather(&deployment).await.in_bursts_of(BURST);
    let faults = async {
        storm.acked(BETWEEN).await;
        for stream in ["CHAT_0", "CHAT_1"] {
            let leader = cluster.leader(stream).await;
            cluster.kill_nats(leader);
            storm.acked(BETWEEN).await;
            cluster.start_nats(leader);
            cluster.whole().await;
            storm.acked(BETWEEN).await;
        }
        let primary = cluster.primary().await;
        cluster.kill_mongod(primary);
        storm.acked(BETWEEN).await;
        cluster.start_mongod(primary);
        cluster.primary().await;
        storm.acked(BETWEEN).await;
    };
    storm.during(faults).await;
    storm.check().await;
}

/// A follower that stood still and goes on answers reads from what it knew then, until it has caught up.
#[tokio::test]
async fn a_server_that_stood_still_skips_nothing() {
    let cluster = Cluster::start().await;
    let deployment = launch(&cluster).await;
    let storm = Storm::gather(&deployment).await.in_bursts_of(BURST);
    let faults = async {
        storm.acked(BETWEEN).await;
        for stream in ["CHAT_0", "CHAT_1"] {
            let leader = cluster.leader(stream).await;
            for (server, pause) in [((leader + 1) % 3, 1_200), (leader, 6_000)] {
                cluster.pause_nats(server);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                cluster.unpause_nats(server);
                storm.acked(BETWEEN).await;
            }
        }
    };
    storm.during(faults).await;
    storm.check().await;
}
