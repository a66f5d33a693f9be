//! A rolling deploy under load: every replica of every service ends and comes back, one after the other, while entries,
//! requests and signals of a newer version are about. Nobody notices.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fake_push::Options;

use crate::harness::{Crowd, Deployment, Lag, Newer, Phone, Phones, Reliable, Storm, User};

/// No send may be without an answer for longer.
const UNANSWERED: Duration = Duration::from_secs(2);
/// A connection node's, with the delay and the window that are set here: the sum of the times in `drain.rs`.
const DEADLINE: Duration = Duration::from_millis(500 + 1_000 + 5_000 + 1_000);
/// Between two messages to a phone that sleeps.
const PACE: Duration = Duration::from_millis(400);
/// A phone waits so long for its user, who is on his way to another node, to read.
const RINGS_AFTER: Duration = Duration::from_secs(5);
/// All messages are pushed within this once the roll is over: far less than a job that was lost would take.
const PUSHED: Duration = Duration::from_secs(8);

/// In the order in which a rolling deploy may take them: any.
const REPLICAS: [&str; 8] = [
    "connection-0",
    "message-0",
    "presence-0",
    "push-0",
    "connection-1",
    "message-1",
    "presence-1",
    "push-1",
];

struct Scene {
    phones: Phones,
    crowd: Crowd,
    rounds: usize,
}

/// A user who is never connected, his phone, and who writes to him.
struct Sleeper {
    phone: Phone,
    writer: Reliable,
    room: String,
}

impl Sleeper {
    async fn of(deployment: &Deployment) -> Self {
        let room = deployment.direct().await;
        let [ann, bob] = &room.users;
        Self {
            phone: bob.iphone().await,
            writer: Reliable::start(ann, 0).await,
            room: room.id,
        }
    }

    /// Writes until it is over; how many messages.
    async fn is_written_to(&self, over: &AtomicBool) -> usize {
        for number in 0.. {
            if over.load(Ordering::Relaxed) {
                return number;
            }
            self.writer.send(&self.room, format!("night {number}"));
            tokio::time::sleep(PACE).await;
        }
        unreachable!("it never stops by itself")
    }

    /// Every message has rung once.
    async fn assert_rung(&self, phones: &Phones, messages: usize) {
        self.writer.all_acked(PUSHED).await;
        let name = self.phone.name.clone();
        let enough = move |all: &[fake_push::Shown]| all.iter().filter(|it| it.token == name).count() >= messages;
        let missed = phones.fake.wait(PUSHED, enough).await.err().map(|it| it.to_string());
        let mut texts = phones.texts(&self.phone);
        texts.sort();
        let mut expected: Vec<String> = (0..messages).map(|it| format!("night {it}")).collect();
        expected.sort();
        assert_eq!(texts, expected, "pushes to the phone that sleeps; {missed:?}");
    }
}

impl Scene {
    async fn start(crowd: Crowd, rounds: usize) -> Self {
        let start = Deployment::start()
            .separate()
            .replicas("connection=2,message=2,presence=2,push=2")
            .env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0")
            .env("PARLEY_PUSH__GRACE_MS", "5000")
            .env("PARLEY_CONNECTION__DRAIN_DELAY_MS", "500");
        let phones = start.with_phones(Options::default()).await;
        Self { phones, crowd, rounds }
    }

    /// Rolls every replica, and tells how long each took to end.
    async fn roll(&self, storm: &Storm<'_>, over: &AtomicBool) {
        for name in REPLICAS.repeat(self.rounds) {
            storm.acked(100).await;
            let took = self.phones.deployment.roll(name, DEADLINE).await;
            println!("{name} ended after {} ms", took.as_millis());
        }
        storm.acked(100).await;
        over.store(true, Ordering::Relaxed);
    }

    async fn play(self) {
        let deployment = &self.phones.deployment;
        let (newer, sleeper) = (Newer::of(deployment).await, Sleeper::of(deployment).await);
        let reader = Reliable::start(&newer.mixed.users[1], 1).await;
        let storm = Storm::gather_with(deployment, self.crowd).await;
        let awake = ring_nobody(storm.users()).await;
        let lag = Lag::beside(&newer.mixed.users[0].api);
        let over = AtomicBool::new(false);
        let ((), sent, written) = storm
            .during(async {
                tokio::join!(
                    self.roll(&storm, &over),
                    newer.write(&over),
                    sleeper.is_written_to(&over)
                )
            })
            .await;

        // Told beside the time that the machine itself has lost, which on a busy one is seconds.
        let longest = storm.longest_unanswered().max(sleeper.writer.longest_unanswered());
        println!("the longest a send was without an answer: {} ms", longest.as_millis());
        println!("{sent} messages of a newer version, {written} to the one who sleeps");
        println!("the machine itself lost {} ms beside it", lag.lost().as_millis());
        lag.assert_within(UNANSWERED, longest, "the send that was longest without an answer");

        reader.caught_up(&newer.mixed.id, 2 * sent as u64, PUSHED).await;
        // What came after a checkpoint may come again after a resume.
        let mut known = HashSet::new();
        let incoming = reader.frames("message:incoming");
        let seqs = incoming.iter().filter_map(|it| it["seq"].as_u64());
        let seqs: Vec<u64> = seqs.filter(|it| known.insert(*it)).collect();
        let expected: Vec<u64> = (1..=sent as u64).map(|it| it * 2).collect();
        assert_eq!(seqs, expected, "the messages between events of an unknown type");
        for kind in ["connection", "message", "presence", "push"] {
            let counts = [0, 1].map(|it| format!("{kind}-{it}"));
            let mut sum = 0.0;
            for name in counts {
                sum += deployment.counter(&name, "parley_unreadable_total").await;
            }
            println!("{kind} has skipped {sum} since its replicas came back");
            assert!(sum > 0.0, "{kind} skips and counts what it does not know");
        }
        sleeper.assert_rung(&self.phones, written).await;
        storm.assert_nobody_was_cut_off();
        storm.assert_nobody_flickered();
        storm.check().await;
        if lag.lost() < RINGS_AFTER {
            self.assert_silent(&awake);
        }
    }
}

impl Scene {
    /// On a machine that stands still for as long as a phone waits, one that rings is right.
    fn assert_silent(&self, awake: &[Phone]) {
        for phone in awake {
            let rung = self.phones.texts(phone);
            assert!(
                rung.is_empty(),
                "the phone of somebody with the app open rang: {rung:?}"
            );
        }
    }
}

/// Everybody who has the app open has a phone, too.
async fn ring_nobody(users: &[User]) -> Vec<Phone> {
    let mut phones = Vec::new();
    for user in users {
        phones.push(user.iphone().await);
    }
    phones
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_a_rolling_deploy_of_every_replica_with_two_versions_about() {
    let crowd = Crowd {
        sockets: 24,
        streams: 3,
        sends_per_tick: 3,
    };
    Scene::start(crowd, 1).await.play().await;
}

/// Takes minutes: `cargo test -p parley --test system rolling -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn nobody_notices_three_rolling_deploys_in_a_row() {
    let crowd = Crowd {
        sockets: 50,
        streams: 10,
        sends_per_tick: 3,
    };
    Scene::start(crowd, 3).await.play().await;
}
