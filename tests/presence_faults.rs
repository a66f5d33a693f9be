//! Presence when something dies: exactly those are gone who are gone, and nobody flickers.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Client, Deployment, Room, Start, process};
use crate::presence::GRACE;

/// So short that a test may wait for several of them.
const LEASE: Duration = Duration::from_secs(2);

fn separate(replicas: &str) -> Start {
    let start = Deployment::start().separate().replicas(replicas);
    start.env("PARLEY_PRESENCE__LEASE", "2s")
}

/// Ann at the first node, subscribed to a room; Bob, Eve and Joe, subscribed too at alternating nodes, are online to her.
struct Scene {
    room: Room<5>,
    ann: Client,
    others: Vec<Client>,
}

impl Scene {
    async fn of(deployment: &Deployment) -> Self {
        let room = deployment.group(["ann", "bob", "eve", "joe", "kim"]).await;
        let ann = room.users[0].connect().await;
        ann.subscribe(&room.id).await;
        let mut others = Vec::new();
        for (number, user) in room.users[1..4].iter().enumerate() {
            let socket = user.connect_at((number + 1) % 2).await;
            socket.subscribe(&room.id).await;
            ann.expect_status(&user.id, "online").await;
            ann.expect_signal("user:joined", &room.id, &user.id).await;
            others.push(socket);
        }
        Self { room, ann, others }
    }

    fn id(&self, user: usize) -> &str {
        &self.room.users[user].id
    }

    /// Everything that Ann was told of a user, by kind and status.
    fn told(&self, user: usize) -> Vec<String> {
        let mut signals = self.ann.signals();
        signals.retain(|it| it["user_id"] == self.id(user));
        let words = |it: &Value| it["status"].as_str().or(it["type"].as_str()).unwrap().to_owned();
        signals.iter().map(words).collect()
    }

    /// Of those who stayed Ann was told nothing since they came.
    fn assert_steady(&self, users: &[usize]) {
        for &user in users {
            let mut told = self.told(user);
            told.sort();
            assert_eq!(told, ["online", "user:joined"], "{}", self.id(user));
        }
    }

    /// Waits for a status of a user, however long it may take.
    async fn told_status(&self, user: usize, status: &str, patience: Duration) {
        let wanted = |it: &Value| it["type"] == "presence" && it["user_id"] == self.id(user) && it["status"] == status;
        let what = format!("{} to be {status}", self.id(user));
        self.ann.frames.frame_within(&what, patience, wanted).await;
    }

    /// Kim comes, is told to Ann, goes, and is told again: all goes on as it should.
    async fn assert_works(&self) {
        let kim = self.room.users[4].connect_at(1).await;
        self.told_status(4, "online", Duration::from_secs(15)).await;
        drop(kim);
        self.told_status(4, "offline", Duration::from_secs(15)).await;
    }
}

#[tokio::test]
async fn when_a_node_is_killed_exactly_its_users_are_offline_and_gone_within_thirty_seconds() {
    // The lease at its default.
    let deployment = Deployment::start().separate().replicas("connection=2").launch().await;
    let scene = Scene::of(&deployment).await;
    // Bob and Joe are at the node that dies, Eve is not, and Joe has another device elsewhere.
    let _elsewhere = scene.room.users[3].connect().await;
    _elsewhere.subscribe(&scene.room.id).await;
    deployment.kill("connection-1");
    let patience = Duration::from_secs(30);
    scene.told_status(1, "offline", patience).await;
    let left = |it: &Value| it["type"] == "user:left" && it["user_id"] == scene.id(1);
    scene.ann.frames.frame_within("user:left", patience, left).await;
    deployment.answers().await;
    scene.assert_works().await;
    scene.assert_steady(&[2, 3]);
    let seen = scene.room.users[0].api.presence(&[scene.id(1)]).await.ok();
    assert!(seen["presence"][0]["last_seen"].is_string(), "{seen}");
}

#[tokio::test]
async fn when_a_node_goes_away_who_resumes_elsewhere_does_not_flicker() {
    let deployment = separate("connection=2").launch().await;
    let scene = Scene::of(&deployment).await;
    let cursor = scene.others[0].cursor();
    let told = Instant::now();
    process::signal(deployment.pid("connection-1"), Signal::SIGTERM);
    scene.others[0].expect("draining").await;
    let again = scene.room.users[1].socket().node(0).resume(&cursor).connect().await;
    again.subscribe(&scene.room.id).await;
    let missing = told.elapsed();
    println!("back {missing:?} after the node was told to go");
    // Joe does not come back.
    scene.told_status(3, "offline", Duration::from_secs(20)).await;
    scene.assert_steady(&[2]);
    if missing < GRACE {
        scene.assert_steady(&[1]);
    }
}

/// Kim comes and Joe goes while the presence service is not there; then it is again.
async fn assert_told_afterwards(scene: &mut Scene, deployment: &Deployment, signal: Signal) {
    let old = deployment.pid("presence-0");
    process::signal(old, signal);
    let kim = scene.room.users[4].connect_at(1).await;
    drop(scene.others.remove(2));
    deployment.restarted("presence-0", old).await;
    scene.told_status(4, "online", Duration::from_secs(15)).await;
    scene.told_status(3, "offline", Duration::from_secs(15)).await;
    // Whoever would be given up wrongly would be by now.
    tokio::time::sleep(2 * LEASE).await;
    scene.assert_steady(&[1, 2]);
    drop(kim);
    scene.told_status(4, "offline", Duration::from_secs(15)).await;
}

#[tokio::test]
async fn over_a_kill_of_the_presence_service_nobody_flickers_and_what_changed_meanwhile_is_told() {
    let deployment = separate("connection=2").launch().await;
    let mut scene = Scene::of(&deployment).await;
    assert_told_afterwards(&mut scene, &deployment, Signal::SIGKILL).await;
}

#[tokio::test]
async fn over_a_restart_of_the_presence_service_nobody_flickers_and_what_changed_meanwhile_is_told() {
    let deployment = separate("connection=2").launch().await;
    let mut scene = Scene::of(&deployment).await;
    assert_told_afterwards(&mut scene, &deployment, Signal::SIGTERM).await;
}

#[tokio::test]
async fn a_presence_service_that_was_paused_takes_nobody_for_dead() {
    let deployment = separate("connection=2").launch().await;
    let scene = Scene::of(&deployment).await;
    deployment.pause("presence-0");
    tokio::time::sleep(2 * LEASE).await;
    deployment.unpause("presence-0");
    tokio::time::sleep(2 * LEASE).await;
    scene.assert_works().await;
    scene.assert_steady(&[1, 2, 3]);
}

#[tokio::test]
async fn over_a_loss_of_nats_longer_than_a_lease_nobody_flickers() {
    let deployment = separate("connection=2,presence=2").no_restart().launch().await;
    let scene = Scene::of(&deployment).await;
    let nats = deployment.kill_for_good("nats");
    tokio::time::sleep(2 * LEASE).await;
    let _nats = nats.revive();
    deployment.answers().await;
    tokio::time::sleep(2 * LEASE).await;
    scene.assert_works().await;
    scene.assert_steady(&[1, 2, 3]);
}

#[tokio::test]
async fn two_replicas_tell_each_change_once_and_one_goes_on_when_the_other_dies() {
    let deployment = separate("connection=2,presence=2").launch().await;
    let scene = Scene::of(&deployment).await;
    let statuses = ["dnd", "away", "online"];
    for round in 0..4 {
        // With both, without one, with both again, without the other.
        let victim = ["", "presence-0", "", "presence-1"][round];
        let old = (!victim.is_empty()).then(|| deployment.kill(victim));
        for status in statuses {
            for (user, socket) in scene.others.iter().enumerate() {
                socket.set_status(status).await;
                scene.told_status(user + 1, status, Duration::from_secs(15)).await;
            }
        }
        if let Some(old) = old {
            deployment.restarted(victim, old).await;
            deployment.answers().await;
        }
    }
    // A second telling would come from the replica that was not the one to tell, after two seconds.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for user in 1..4 {
        let told: Vec<String> = scene.told(user).into_iter().filter(|it| it != "user:joined").collect();
        let mut expected = vec!["online"];
        expected.extend(statuses.repeat(4));
        assert_eq!(told, expected, "{}", scene.id(user));
    }
}

#[tokio::test]
async fn a_chosen_status_and_when_one_was_last_seen_outlive_a_restart_of_everything() {
    let mut deployment = separate("connection=2").launch().await;
    let room = deployment.group(["ann", "bob", "eve"]).await;
    let [ann, bob, eve] = &room.users;
    let anns = ann.connect().await;
    anns.subscribe(&room.id).await;
    let (bobs, eves) = (bob.connect().await, eve.connect_at(1).await);
    bobs.set_status("dnd").await;
    anns.expect_status(&bob.id, "dnd").await;
    anns.expect_status(&eve.id, "online").await;
    drop(eves);
    let gone = anns.expect_status(&eve.id, "offline").await;
    drop((anns, bobs));
    deployment.restart().await;

    let anns = ann.connect().await;
    anns.subscribe(&room.id).await;
    let seen = ann.api.presence(&[&eve.id]).await.ok();
    assert_eq!(seen["presence"][0]["last_seen"], gone["last_seen"]);
    let _bob = bob.connect_at(1).await;
    let told = anns
        .frames
        .frame("bob's status", |it| {
            it["type"] == "presence" && it["user_id"] == bob.id.as_str()
        })
        .await;
    assert_eq!(told["status"], "dnd");
}
