//! One replica and what it answers.

use std::time::Duration;

use protocol::client_frame::{AppState, ChosenStatus};
use protocol::server_frame::Status;

use super::nats::Nats;
use super::replica::{Clients, Replica, room, until};

#[tokio::test]
async fn a_subscriber_is_present_in_the_answer_that_asks_for_his_report() {
    let nats = Nats::start();
    let _replica = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    node.open("ada").await;
    node.subscribe(&room(), "ada").await;
    let sight = clients.look(Some(&room()), &["ada", "bob"], Some(&node)).await;
    let statuses: Vec<_> = sight
        .presence
        .iter()
        .map(|it| (it.user_id.as_str(), it.status))
        .collect();
    assert_eq!(statuses, [("ada", Status::Online), ("bob", Status::Offline)]);
    assert_eq!(sight.present.iter().map(|it| it.as_str()).collect::<Vec<_>>(), ["ada"]);
}

#[tokio::test]
async fn coming_and_going_is_told() {
    let nats = Nats::start();
    let _replica = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    node.open("ada").await;
    node.subscribe(&room(), "ada").await;
    clients.until_told("ada", &["online", "joined"]).await;
    node.close("ada").await;
    clients.until_told("ada", &["online", "joined", "offline"]).await;
}

#[tokio::test]
async fn a_killed_nodes_users_go_and_nobody_else() {
    let nats = Nats::start();
    let _replica = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let (one, other) = (clients.node().await, clients.node().await);
    one.open("ada").await;
    other.open("bob").await;
    clients.until_told("ada", &["online"]).await;
    one.kill();
    clients.until_told("ada", &["online", "offline"]).await;
    assert_eq!(clients.told("bob"), ["online"]);
}

#[tokio::test]
async fn a_status_is_so_once_it_is_answered() {
    let nats = Nats::start();
    let _replica = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    node.open("ada").await;
    clients.look(None, &["ada"], Some(&node)).await;
    for (chosen, status) in [
        (ChosenStatus::Dnd, Status::Dnd),
        (ChosenStatus::Invisible, Status::Offline),
        (ChosenStatus::Away, Status::Away),
        (ChosenStatus::Online, Status::Online),
    ] {
        clients.set_status("ada", chosen).await;
        assert_eq!(clients.presence("ada").await.status, status);
    }
}

#[tokio::test]
async fn connected_devices_and_who_is_not_to_be_disturbed_are_told() {
    let nats = Nats::start();
    let _replica = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    node.open("ada").await;
    clients.set_status("bob", ChosenStatus::Dnd).await;
    until("both are told of", async || {
        clients.sessions(&["ada", "bob", "eve"]).await.users.len() == 2
    })
    .await;
    let told = clients.sessions(&["ada", "bob", "eve"]).await.users;
    let phone = vec![("phone".to_owned(), AppState::Foreground)];
    assert_eq!(
        (told[0].user_id.as_str(), told[0].dnd, &told[0].devices),
        ("ada", false, &phone)
    );
    assert_eq!(
        (told[1].user_id.as_str(), told[1].dnd, &told[1].devices),
        ("bob", true, &Vec::new())
    );
}

#[tokio::test]
async fn another_replica_knows_when_somebody_was_last_seen() {
    let nats = Nats::start();
    let replica = Replica::ready(&nats).await;
    let clients = Clients::connect(&nats).await;
    let node = clients.node().await;
    node.open("ada").await;
    clients.until_told("ada", &["online"]).await;
    node.close("ada").await;
    clients.until_told("ada", &["online", "offline"]).await;
    let known = clients.presence("ada").await.last_seen;
    replica.stop().await;
    let _other = Replica::ready(&nats).await;
    assert!(known.is_some());
    assert_eq!(clients.presence("ada").await.last_seen, known);
}

#[tokio::test]
async fn a_shutdown_ends_within_seconds() {
    let nats = Nats::start();
    let replica = Replica::ready(&nats).await;
    let took = replica.stop().await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}
