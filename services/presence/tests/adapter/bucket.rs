//! The bucket: read whole, made again.

use bus::subjects;
use protocol::client_frame::ChosenStatus;
use protocol::server_frame::Status;

use super::nats::Nats;
use super::replica::{Clients, Replica, until};

#[tokio::test]
async fn all_statuses_are_known_before_a_replica_is_ready() {
    let nats = Nats::start();
    let first = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    for n in 0..200 {
        node.open(&format!("user{n}")).await;
        clients.set_status(&format!("user{n}"), ChosenStatus::Invisible).await;
    }
    first.kill();
    let _second = Replica::ready(&nats).await;
    let users: Vec<String> = (0..200).map(|n| format!("user{n}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let sight = clients.look(None, &users, Some(&node)).await;
    assert!(sight.presence.iter().all(|it| it.status == Status::Offline));
}

#[tokio::test]
async fn a_bucket_that_is_gone_is_made_again_and_its_statuses_are_forgotten() {
    let nats = Nats::start();
    let _replica = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    node.open("ada").await;
    clients.set_status("ada", ChosenStatus::Dnd).await;
    let stream = format!("KV_{}", subjects::PRESENCE_BUCKET);
    clients.bus.jetstream.delete_stream(&stream).await.unwrap();
    clients.until_status("ada", Status::Online).await;
    until("the bucket is there", async || {
        clients.bus.jetstream.get_stream(&stream).await.is_ok()
    })
    .await;
    clients.set_status("ada", ChosenStatus::Away).await;
    clients.until_status("ada", Status::Away).await;
}

#[tokio::test]
async fn a_node_is_stored_for_as_long_as_it_lives() {
    let nats = Nats::start();
    let _replica = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    let (name, _) = node.report().unwrap();
    let bucket = clients.bus.jetstream.get_key_value(subjects::PRESENCE_BUCKET).await;
    let bucket = bucket.unwrap();
    let stored = async || bucket.get(subjects::node_key(&name)).await.unwrap().is_some();
    until("the node is stored", &stored).await;
    node.kill();
    until("the node is forgotten", async || !stored().await).await;
}
