//! Replicas and NATS that go away.

use std::time::Duration;

use protocol::client_frame::ChosenStatus;
use protocol::server_frame::Status;

use super::nats::Nats;
use super::replica::{Clients, Replica, room};

#[tokio::test]
async fn a_replica_that_starts_again_tells_nothing_new_and_knows_everything() {
    let nats = Nats::start();
    let replica = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    node.open("ada").await;
    node.subscribe(&room(), "ada").await;
    clients.until_told("ada", &["online", "joined"]).await;
    clients.set_status("ada", ChosenStatus::Dnd).await;
    clients.until_told("ada", &["online", "joined", "dnd"]).await;
    replica.kill();
    let _again = Replica::ready(&nats).await;
    let sight = clients.look(Some(&room()), &["ada"], None).await;
    assert_eq!((sight.present.len(), sight.presence[0].status), (1, Status::Dnd));
    assert_eq!(clients.told("ada"), ["online", "joined", "dnd"]);
}

#[tokio::test]
async fn when_a_replica_is_killed_the_other_one_tells_what_happens() {
    let nats = Nats::start();
    let (one, _other) = (Replica::ready(&nats).await, Replica::ready(&nats).await);
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    one.kill();
    for n in 0..10 {
        node.open(&format!("user{n}")).await;
    }
    for n in 0..10 {
        clients.until_told(&format!("user{n}"), &["online"]).await;
    }
}

#[tokio::test]
async fn nobody_goes_offline_because_nats_was_away() {
    let mut nats = Nats::start();
    let _replica = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    node.open("ada").await;
    clients.until_told("ada", &["online"]).await;
    // Longer than the lease, and after it more than another one.
    nats.restart_after(Duration::from_secs(3)).await;
    clients.until_status("ada", Status::Online).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(clients.told("ada"), ["online"]);
}

#[tokio::test]
async fn statuses_are_heard_after_nats_was_away() {
    let mut nats = Nats::start();
    let _replica = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    node.open("ada").await;
    nats.restart_after(Duration::from_millis(500)).await;
    clients.until_status("ada", Status::Online).await;
    clients.set_status("ada", ChosenStatus::Dnd).await;
    clients.until_status("ada", Status::Dnd).await;
}
