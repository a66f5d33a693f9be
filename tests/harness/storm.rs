//! A storm: apps that talk in several conversations while something breaks, and the check afterwards.

use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;

use super::deployment::Deployment;
use super::frames::is_durable;
use super::invariants::{Stored, View, assert_all_hold};
use super::people::User;
use super::reliable::Reliable;
use super::wait::until;

/// How long recovery may take once the last fault is over.
const RECOVERY: Duration = Duration::from_secs(25);

/// Forty bursts a second: whatever dies, dies with work in its hands.
const BURST: u32 = 10;

/// Users with their apps, and conversations that all of them saw being created.
pub struct Storm<'a> {
    deployment: &'a Deployment,
    users: Vec<User>,
    apps: Vec<(usize, Reliable)>,
    rooms: Vec<(String, Vec<usize>)>,
    /// Of the first user, who is in every room: from before everything.
    origin: String,
}

impl<'a> Storm<'a> {
    /// Five users, the first with two devices; one group of all, one of three, and a direct conversation.
    pub async fn gather(deployment: &'a Deployment) -> Self {
        let users = deployment.users(["ann", "bob", "eve", "joe", "kim"]).await;
        let users: Vec<User> = users.into();
        let origin = users[0].connect().await.settled_cursor().await;
        let mut apps = Vec::new();
        for (node, user) in [0, 0, 1, 2, 3, 4].into_iter().enumerate() {
            apps.push((user, Reliable::start(&users[user], node).await));
        }
        let id = |user: usize| users[user].id.as_str();
        let all = users[0].api.group(&[id(1), id(2), id(3), id(4)]).await;
        let three = users[2].api.group(&[id(0), id(3)]).await;
        let pair = users[1].api.direct(id(0)).await;
        let rooms = vec![(all, vec![0, 1, 2, 3, 4]), (three, vec![0, 2, 3]), (pair, vec![0, 1])];
        Self {
            deployment,
            users,
            apps,
            rooms,
            origin,
        }
    }

    /// Sends bursts of messages, from everybody to everywhere, until `faults` is over.
    pub async fn during<T>(&self, faults: impl Future<Output = T>) -> T {
        let mut timer = tokio::time::interval(Duration::from_millis(25));
        let mut count = 0;
        tokio::pin!(faults);
        loop {
            tokio::select! {
                result = &mut faults => return result,
                _ = timer.tick() => {
                    for _ in 0..BURST {
                        count += 1;
                        self.send_one(count);
                    }
                }
            }
        }
    }

    fn send_one(&self, number: u32) {
        let mut rng = rand::rng();
        let (room, members) = self.rooms.choose(&mut rng).expect("there are rooms");
        let here: Vec<_> = self.apps.iter().filter(|(user, _)| members.contains(user)).collect();
        let (_, app) = here.choose(&mut rng).expect("every room has members");
        app.send(room, format!("message {number}"));
    }

    /// Waits until so many more messages are acked: work that a fault is to hit.
    pub async fn acked(&self, more: usize) {
        let goal = self.total_acked() + more;
        let reached = async || (self.total_acked() >= goal).then_some(());
        until(&format!("{more} more acks"), RECOVERY, reached).await;
    }

    pub fn total_acked(&self) -> usize {
        self.apps.iter().map(|(_, app)| app.acked()).sum()
    }

    /// Waits until all is calm, and checks everything.
    pub async fn check(self) {
        let deadline = Instant::now() + RECOVERY;
        for (_, app) in &self.apps {
            app.all_acked(deadline.saturating_duration_since(Instant::now())).await;
        }
        let mut stored = Vec::new();
        for (room, members) in &self.rooms {
            stored.push(self.read_back(room, members).await);
        }
        for ((room, members), stored) in self.rooms.iter().zip(&stored) {
            let head = stored.log.iter().filter_map(|it| it["seq"].as_u64()).max().unwrap_or(0);
            for (_, app) in self.apps.iter().filter(|(user, _)| members.contains(user)) {
                app.caught_up(room, head, deadline.saturating_duration_since(Instant::now()))
                    .await;
            }
        }
        let views: Vec<View> = self.apps.into_iter().map(|(_, app)| app.finish()).collect();
        println!("{}", summary(&views));
        assert_all_hold(&views, &stored);
        self.deployment.verify().await;
    }

    async fn read_back(&self, room: &str, members: &[usize]) -> Stored {
        let api = &self.users[0].api;
        let (log, _) = api.since(&self.origin, 500).await;
        Stored {
            conversation: room.into(),
            members: members.iter().map(|&it| self.users[it].id.clone()).collect(),
            from: 1,
            forwards: api.history_forwards(room, 200).await,
            backwards: api.history_backwards(room, 37).await,
            log: log
                .into_iter()
                .filter(|it| it["conversation_id"] == room)
                .filter(is_durable)
                .collect(),
        }
    }
}

/// What the storm was like, for whoever reads the test's output.
fn summary(views: &[View]) -> String {
    let frames = || views.iter().flat_map(|it| &it.sockets).flat_map(|it| &it.frames);
    let count = |kind: &str| frames().filter(|it| it["type"] == kind).count();
    let duplicates = frames().filter(|it| it["duplicate"] == true).count();
    format!(
        "{} sockets, {} acks ({duplicates} duplicates), {} events, {} checkpoints, {} errors",
        views.iter().map(|it| it.sockets.len()).sum::<usize>(),
        count("message:ack"),
        frames().filter(|it| is_durable(it)).count(),
        count("checkpoint"),
        count("error"),
    )
}
