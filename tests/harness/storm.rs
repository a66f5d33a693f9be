//! A storm: apps that talk and read in several conversations, in one of which people come and go, while something breaks,
//! and the check afterwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::seq::IndexedRandom;
use serde_json::Value;

use super::deployment::Deployment;
use super::follower::Follower;
use super::frames::is_durable;
use super::groups::Change;
use super::invariants::{Stored, View, assert_all_hold};
use super::people::User;
use super::reliable::{DRAINING, Reliable};
use super::wait::until;

/// How long it may take, once every process is back and answers, until every app has all its acks, all events and all
/// read marks.
const RECOVERY: Duration = Duration::from_secs(25);

/// Forty bursts a second: whatever dies, dies with work in its hands.
const BURST: u32 = 10;

/// Users who are always there.
const FEW: usize = 5;

/// Those who are there beside the five.
#[derive(Clone, Copy)]
pub struct Crowd {
    /// Users with an app each, in one large group.
    pub sockets: usize,
    /// Event streams of the first of them.
    pub streams: usize,
    /// Messages of a burst, of all.
    pub sends_per_tick: u32,
}

/// Between two changes of who is in the club.
const CHANGE_EVERY: Duration = Duration::from_millis(150);

/// Users with their apps, and conversations that all of them saw being created.
pub struct Storm<'a> {
    deployment: &'a Deployment,
    users: Vec<User>,
    apps: Vec<(usize, Reliable)>,
    followers: Vec<(usize, Follower)>,
    rooms: Vec<StormRoom>,
    /// Of the first user, who is in every room: from before everything.
    origin: String,
    /// Messages at once.
    burst: u32,
}

struct StormRoom {
    id: String,
    /// Who created it comes first, and is never removed.
    founders: Vec<usize>,
    /// Who stays throughout, and talks.
    talkers: Vec<usize>,
}

impl<'a> Storm<'a> {
    /// Five users, the first with two devices; one group of all, one of three, a direct conversation, and a club of which
    /// two stay and three come and go.
    pub async fn gather(deployment: &'a Deployment) -> Self {
        let nobody = Crowd {
            sockets: 0,
            streams: 0,
            sends_per_tick: BURST,
        };
        Self::gather_with(deployment, nobody).await
    }

    /// The same with a crowd in a group of its own, which the first user is in, too. Everybody watches who is online.
    pub async fn gather_with(deployment: &'a Deployment, crowd: Crowd) -> Self {
        let users = deployment.users(["ann", "bob", "eve", "joe", "kim"]).await;
        let mut users: Vec<User> = users.into();
        users.extend(join_all((0..crowd.sockets).map(|_| deployment.user("guest"))).await);
        let origin = users[0].connect().await.settled_cursor().await;
        let mut apps = Vec::new();
        for (node, user) in [0].into_iter().chain(0..users.len()).enumerate() {
            apps.push((user, Reliable::start(&users[user], node).await));
        }
        let mut followers = Vec::new();
        let following = users
            .iter()
            .enumerate()
            .skip(FEW)
            .take(crowd.streams.min(crowd.sockets));
        for (index, user) in following {
            followers.push((index, Follower::start(user, index).await));
        }
        let mut storm = Self {
            deployment,
            users,
            apps,
            followers,
            rooms: Vec::new(),
            origin,
            burst: crowd.sends_per_tick,
        };
        if crowd.sockets > 0 {
            let guests: Vec<usize> = [0].into_iter().chain(FEW..storm.users.len()).collect();
            storm.found(&guests, &guests).await;
            let room = storm.rooms[0].id.clone();
            let here = storm.apps.iter().filter(|(user, _)| guests.contains(user));
            here.for_each(|(_, app)| app.watch(&room));
        }
        storm.found(&[0, 1, 2, 3, 4], &[0, 1, 2, 3, 4]).await;
        storm.found(&[2, 0, 3], &[2, 0, 3]).await;
        let pair = storm.users[1].api.direct(&storm.users[0].id).await;
        storm.rooms.push(StormRoom {
            id: pair,
            founders: vec![1, 0],
            talkers: vec![1, 0],
        });
        storm.found(&[0, 2, 3], &[0, 2]).await;
        storm
    }

    /// So many messages at once instead of ten: for servers that write each of them to three disks.
    pub fn in_bursts_of(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    async fn found(&mut self, founders: &[usize], talkers: &[usize]) {
        let others: Vec<&str> = founders[1..].iter().map(|&it| self.users[it].id.as_str()).collect();
        self.rooms.push(StormRoom {
            id: self.users[founders[0]].api.group(&others).await,
            founders: founders.into(),
            talkers: talkers.into(),
        });
    }

    /// Sends bursts of messages, from everybody to everywhere, and lets people come and go, until `faults` is over.
    pub async fn during<T>(&self, faults: impl Future<Output = T>) -> T {
        let over = AtomicBool::new(false);
        let faults = async {
            let result = faults.await;
            over.store(true, Ordering::Relaxed);
            result
        };
        tokio::join!(faults, self.talk(&over), self.come_and_go(&over)).0
    }

    async fn talk(&self, over: &AtomicBool) {
        let mut timer = tokio::time::interval(Duration::from_millis(25));
        for burst in 0.. {
            timer.tick().await;
            if over.load(Ordering::Relaxed) {
                return;
            }
            (0..self.burst).for_each(|number| self.send_one(burst * self.burst + number));
        }
    }

    fn send_one(&self, number: u32) {
        let mut rng = rand::rng();
        let room = self.rooms.choose(&mut rng).expect("there are rooms");
        let here: Vec<_> = self
            .apps
            .iter()
            .filter(|(user, _)| room.talkers.contains(user))
            .collect();
        let (_, app) = here.choose(&mut rng).expect("every room has members");
        app.send(&room.id, format!("message {number}"));
    }

    /// Adds to the club and removes from it through any node. What becomes of a request in a storm is not known: the log
    /// tells.
    async fn come_and_go(&self, over: &AtomicBool) {
        let club = self.rooms.last().expect("the club is the last");
        let guests: Vec<usize> = (0..FEW).filter(|it| !club.talkers.contains(it)).collect();
        let owner = &self.users[club.founders[0]];
        for number in 0.. {
            tokio::time::sleep(CHANGE_EVERY).await;
            if over.load(Ordering::Relaxed) {
                break;
            }
            let (guest, name) = (&*self.users[guests[number % guests.len()]].id, format!("name {number}"));
            let change = match number / guests.len() % 3 {
                0 => Change::Add(&[guest]),
                1 => Change::Remove(guest),
                _ => Change::Rename(&name),
            };
            let api = owner.api_at(number % owner.nodes().len());
            let _ = api.try_change(&club.id, change).await;
        }
    }

    /// Waits until so many more messages are acked: work that a fault is to hit.
    pub async fn acked(&self, more: usize) {
        let goal = self.total_acked() + more;
        let reached = async || (self.total_acked() >= goal).then_some(());
        until(&format!("{more} more acks"), RECOVERY, reached).await;
    }

    /// Waits until all is acked that was written before this was called.
    pub async fn settled(&self) {
        let now = Instant::now();
        until("all that was written to be acked", RECOVERY * 2, async || {
            self.apps.iter().all(|(_, app)| app.is_acked_before(now)).then_some(())
        })
        .await;
    }

    /// How long all messages waited for their acks that were written since then, the shortest wait first.
    pub fn waits_since(&self, since: Instant) -> Vec<Duration> {
        let mut waits: Vec<Duration> = self.apps.iter().flat_map(|(_, app)| app.waits_since(since)).collect();
        waits.sort();
        waits
    }

    pub fn total_acked(&self) -> usize {
        self.apps.iter().map(|(_, app)| app.acked()).sum()
    }

    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// The longest time that any send waited for its ack.
    pub fn longest_unanswered(&self) -> Duration {
        let waits = self.apps.iter().map(|(_, app)| app.longest_unanswered());
        waits.max().unwrap_or_default()
    }

    /// Every socket that ended was asked to go before.
    pub fn assert_nobody_was_cut_off(&self) {
        let ends: Vec<Option<u16>> = self.apps.iter().flat_map(|(_, app)| app.ends()).collect();
        println!("{} sockets were asked to go", ends.len());
        assert!(
            !ends.is_empty() && ends.iter().all(|it| *it == Some(DRAINING)),
            "{ends:?}"
        );
    }

    /// Nobody was told that anybody is offline.
    pub fn assert_nobody_flickered(&self) {
        let told: Vec<Value> = self.apps.iter().flat_map(|(_, app)| app.frames("presence")).collect();
        let offline: Vec<&Value> = told.iter().filter(|it| it["status"] == "offline").collect();
        let listed: usize = self.apps.iter().map(|(_, app)| app.frames("subscribed").len()).sum();
        println!("{listed} subscriptions, {} statuses told", told.len());
        assert!(listed >= self.users.len(), "everybody in the group watches it");
        assert!(offline.is_empty(), "{offline:?}");
    }

    /// Waits until everything is back and all is calm, and checks everything.
    pub async fn check(self) {
        self.deployment.answers().await;
        // Whatever change was under way is over now.
        let club = self.rooms.last().expect("the club is the last");
        let owner = &self.users[club.founders[0]].api;
        owner.change_patiently(&club.id, Change::Rename("the end")).await.ok();
        let deadline = Instant::now() + RECOVERY;
        let left = || deadline.saturating_duration_since(Instant::now());
        join_all(self.apps.iter().map(|(_, app)| app.all_acked(left()))).await;
        let mut stored = self.logs().await;
        join_all(self.followers.iter().map(async |(user, follower)| {
            for (room, stored) in self.rooms.iter().zip(&stored) {
                if let Some(last) = stored.visible(&self.users[*user].id).pop_last() {
                    follower.caught_up(&room.id, last, left()).await;
                }
            }
        }))
        .await;
        join_all(self.apps.iter().map(async |(user, app)| {
            for (room, stored) in self.rooms.iter().zip(&stored) {
                self.assert_caught_up(*user, app, room, stored, left()).await;
            }
        }))
        .await;
        for stored in &mut stored {
            let api = &self.users[0].api;
            stored.forwards = api.history_forwards(&stored.conversation, 200).await;
            stored.backwards = api.history_backwards(&stored.conversation, 37).await;
        }
        let followed = self.followers.into_iter().map(|(_, it)| it.finish());
        let views: Vec<View> = self
            .apps
            .into_iter()
            .map(|(_, app)| app.finish())
            .chain(followed)
            .collect();
        println!("{}", summary(&views));
        assert_all_hold(&views, &stored);
        self.deployment.verify().await;
    }

    /// What the log tells of each room.
    async fn logs(&self) -> Vec<Stored> {
        let (log, _) = self.users[0].api.since(&self.origin, 500).await;
        let of_room = |room: &StormRoom| Stored {
            conversation: room.id.clone(),
            members: room.founders.iter().map(|&it| self.users[it].id.clone()).collect(),
            from: 1,
            log: log
                .iter()
                .filter(|it| is_durable(it) && it["conversation_id"] == room.id.as_str())
                .cloned()
                .collect(),
            ..Stored::default()
        };
        self.rooms.iter().map(of_room).collect()
    }

    /// Everything that its user is to see has come to an app, and that those who stay have read it.
    async fn assert_caught_up(
        &self,
        user: usize,
        app: &Reliable,
        room: &StormRoom,
        stored: &Stored,
        patience: Duration,
    ) {
        let deadline = Instant::now() + patience;
        let left = || deadline.saturating_duration_since(Instant::now());
        let Some(last) = stored.visible(&self.users[user].id).pop_last() else {
            return;
        };
        app.caught_up(&room.id, last, left()).await;
        let head = stored.log.last().and_then(|it| it["seq"].as_u64());
        let stays = room.talkers.contains(&user);
        for &other in room.talkers.iter().filter(|&&it| stays && it != user) {
            app.told_read(
                &room.id,
                &self.users[other].id,
                head.expect("a room is created"),
                left(),
            )
            .await;
        }
    }
}

/// What the storm was like, for whoever reads the test's output.
fn summary(views: &[View]) -> String {
    let frames = || views.iter().flat_map(|it| &it.sockets).flat_map(|it| &it.frames);
    let count = |kind: &str| frames().filter(|it| it["type"] == kind).count();
    let duplicates = frames().filter(|it| it["duplicate"] == true).count();
    let changes = |it: &&Value| it["type"].as_str().is_some_and(|it| it.starts_with("member:"));
    format!(
        "{} sockets, {} acks ({duplicates} duplicates), {} events ({} of coming and going), {} read marks, {} checkpoints, \
         {} errors",
        views.iter().map(|it| it.sockets.len()).sum::<usize>(),
        count("message:ack"),
        frames().filter(|it| is_durable(it)).count(),
        frames().filter(changes).count(),
        count("message:read"),
        count("checkpoint"),
        count("error"),
    )
}
