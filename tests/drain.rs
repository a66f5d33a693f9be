//! A replica that is asked to end: what it does until it is gone, and what others notice of it, which is nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fake_push::Options;
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::timeout;

use crate::harness::{Broker, Client, Deployment, Lag, PATIENCE, Phones, Reliable, Room, Sse, What, until};
use crate::presence::GRACE;

/// How long a node here goes on accepting.
const DELAY: Duration = Duration::from_millis(1_500);
/// Nothing takes as long as the time to ack of the quickest consumer, two seconds.
const HANDED_OVER: Duration = Duration::from_secs(1);
/// A request that met a leaving replica is asked again sooner than one that met a dead one, which takes 900 ms.
const ASKED_AGAIN: Duration = Duration::from_millis(600);
/// Between two messages of a load.
const PACE: Duration = Duration::from_millis(10);

async fn two_of(services: &str) -> Deployment {
    let start = Deployment::start().separate().replicas(services);
    start.env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0").launch().await
}

#[tokio::test]
async fn a_node_is_unready_at_once_and_takes_connections_until_load_balancers_have_noticed() {
    let start = Deployment::start().separate().replicas("connection=1");
    let deployment = start.env("PARLEY_CONNECTION__DRAIN_DELAY_MS", "1500").launch().await;
    let room = deployment.direct().await;
    let [ann, bob] = &room.users;
    let anns = ann.connect().await;
    let asked = Instant::now();
    deployment.ask_to_end("connection-0");
    until("the node to be unready", DELAY / 2, async || {
        (deployment.readiness("connection-0").await == Some(503)).then_some(())
    })
    .await;
    let late = bob.connect().await;
    anns.say(&room.id, "still here").await;
    assert!(
        asked.elapsed() < DELAY,
        "the machine is too slow for this test: {:?}",
        asked.elapsed()
    );
    late.expect_text("still here").await;
    late.expect("draining").await;
    assert!(
        asked.elapsed() >= DELAY,
        "told to go {:?} after the node was",
        asked.elapsed()
    );
    let address = deployment.nodes()[0].trim_start_matches("http://").to_owned();
    let refused = tokio::net::TcpStream::connect(address).await;
    assert!(refused.is_err(), "a node that drains takes no connections");
}

/// What each of these was told at its end, and when.
async fn goodbyes(sockets: &[Client]) -> Vec<(u64, Instant)> {
    join_all(sockets.iter().map(async |socket| {
        let told = |it: &serde_json::Value| it["type"] == "draining";
        let (frame, at) = socket.frames.frame_within("draining", PATIENCE, told).await;
        (frame["reconnect_after_ms"].as_u64().expect("milliseconds"), at)
    }))
    .await
}

#[tokio::test]
async fn sessions_are_told_to_go_one_after_the_other_and_to_come_back_each_at_its_own_moment() {
    const SOCKETS: usize = 600;
    let deployment = two_of("connection=1").await;
    let user = deployment.user("ann").await;
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS / 50 {
        sockets.extend(join_all((0..50).map(|_| user.connect())).await);
    }
    deployment.ask_to_end("connection-0");
    let told = goodbyes(&sockets).await;
    let first = told.iter().map(|it| it.1).min().unwrap();
    let after: Vec<u128> = told.iter().map(|it| (it.1 - first).as_millis()).collect();
    let mut turns: HashMap<u128, usize> = HashMap::new();
    after.iter().for_each(|ms| *turns.entry(ms / 50).or_default() += 1);
    println!(
        "told within {} ms, by fiftieths: {turns:?}",
        after.iter().max().unwrap()
    );
    // Two thousand in a second: over 300 ms.
    assert!(*after.iter().max().unwrap() >= 200, "{turns:?}");
    assert!(turns.values().all(|count| *count <= SOCKETS / 2), "{turns:?}");
    let mut pauses: Vec<u64> = told.iter().map(|it| it.0).collect();
    pauses.sort_unstable();
    pauses.dedup();
    assert!(pauses.len() > 50 && *pauses.last().unwrap() <= 250, "{pauses:?}");
    join_all(sockets.iter().map(|it| it.expect_close(1001, PATIENCE))).await;
}

#[tokio::test]
async fn a_send_under_way_is_answered_before_its_socket_is_closed() {
    let deployment = two_of("connection=1").await;
    let room = deployment.direct().await;
    let socket = room.users[0].connect().await;
    socket.say(&room.id, "before").await;
    deployment.pause("message-0");
    let sent = socket.send_message(&room.id, "under way").await;
    deployment.ask_to_end("connection-0");
    socket.expect("draining").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!socket.frames.closed(), "closed with a send under way");
    deployment.unpause("message-0");
    socket.wait_ack(&sent).await;
    socket.expect_close(1001, PATIENCE).await;
}

#[tokio::test]
async fn an_event_stream_and_a_long_poll_end_in_order_with_their_node() {
    let deployment = two_of("connection=1").await;
    let user = deployment.user("ann").await;
    let cursor = user.connect().await.settled_cursor().await;
    let stream = Sse::open(&user.api, None).await;
    let (api, asked) = (user.api.clone(), Instant::now());
    let poll = tokio::spawn(async move { api.poll(&cursor, 30_000).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    deployment.ask_to_end("connection-0");
    let reply = poll.await.unwrap();
    assert!(
        reply.body["cursor"].is_string() && reply.status == 200,
        "{} {}",
        reply.status,
        reply.body
    );
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    let ended = |it: &What| match it {
        What::End(how) => Some(how.clone()),
        _ => None,
    };
    let (how, _) = stream.frames.wait("its end", PATIENCE, ended).await;
    assert_eq!(how, "the stream ended", "and was not cut");
}

/// Ann sends in a steady stream, and asks after each ack for what she has written: how long she waited at most for either.
struct Load {
    room: Room<2>,
    app: Reliable,
}

impl Load {
    async fn of(deployment: &Deployment) -> Self {
        let room = deployment.direct().await;
        let app = Reliable::start(&room.users[0], 0).await;
        Self { room, app }
    }

    /// Sends while `deed` is done, and half a second longer; the longest wait for a read of what was just written.
    async fn during(&self, deed: impl Future<Output = ()>) -> Duration {
        let deed = async {
            deed.await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let sending = async {
            for number in 0.. {
                self.app.send(&self.room.id, format!("message {number}"));
                tokio::time::sleep(PACE).await;
            }
        };
        let mut longest = Duration::ZERO;
        let reading = async {
            for _ in 0.. {
                let asked = Instant::now();
                let newest = format!("/v1/conversations/{}/messages?limit=1", self.room.id);
                self.room.users[1].api.get(&newest).await.ok();
                longest = longest.max(asked.elapsed());
                tokio::time::sleep(PACE).await;
            }
        };
        tokio::select! {
            () = deed => {}
            () = sending => {}
            () = reading => {}
        }
        longest
    }
}

#[tokio::test]
async fn a_message_replica_that_ends_under_load_loses_no_request_and_hands_its_projection_over_at_once() {
    let deployment = two_of("connection=1,message=2").await;
    let load = Load::of(&deployment).await;
    let lag = Lag::beside(&load.room.users[0].api);
    let roll = async {
        for name in ["message-0", "message-1", "message-0"] {
            deployment.roll(name, Duration::from_secs(7)).await;
        }
    };
    let read = load.during(roll).await;
    load.app.all_acked(PATIENCE).await;
    let sent = load.app.longest_unanswered();
    println!(
        "{} acks, the longest after {sent:?}; the longest read took {read:?}",
        load.app.acked()
    );
    assert_eq!(load.app.frames("error"), Vec::<serde_json::Value>::new());
    lag.assert_within(ASKED_AGAIN, sent, "the send that waited longest");
    lag.assert_within(HANDED_OVER, read, "the read that waited longest for the projection");
    deployment.verify().await;
}

#[tokio::test]
async fn a_push_replica_that_ends_under_load_doubles_no_push_and_none_waits_for_its_time_to_ack() {
    let start = Deployment::start().separate().replicas("connection=1,push=2");
    let start = start
        .env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0")
        .env("PARLEY_PUSH__GRACE_MS", "500");
    let phones = start.with_phones(Options::default()).await;
    let room = phones.deployment.direct().await;
    let phone = room.users[1].iphone().await;
    let socket = room.users[0].connect().await;
    socket.say(&room.id, "first").await;
    phones.rings(&phone, 1).await;
    let over = AtomicBool::new(false);
    let saying = async {
        let mut sent = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let text = format!("message {}", sent.len());
            sent.push((text.clone(), jiff::Timestamp::now()));
            socket.say(&room.id, &text).await;
            tokio::time::sleep(PACE).await;
        }
        sent
    };
    let rolling = async {
        for name in ["push-0", "push-1"] {
            phones.deployment.roll(name, Duration::from_secs(8)).await;
        }
        over.store(true, Ordering::Relaxed);
    };
    let (sent, ()) = tokio::join!(saying, rolling);
    let rung = phones.rings(&phone, sent.len() + 1).await;
    assert_rung_once_and_soon(&phones, &sent, &rung);
}

/// The job of a replica that ends without a word comes again after ten or 25 seconds.
fn assert_rung_once_and_soon(phones: &Phones, sent: &[(String, jiff::Timestamp)], rung: &[fake_push::Shown]) {
    let mut slowest = 0;
    for (text, at) in sent {
        let times: Vec<i64> = rung
            .iter()
            .filter(|it| it.body.as_deref() == Some(text))
            .map(|it| it.at.as_millis() - at.as_millisecond())
            .collect();
        assert_eq!(
            times.len(),
            1,
            "{text} rang so many times; refused: {:?}",
            phones.fake.refused()
        );
        slowest = slowest.max(times[0]);
    }
    println!("{} pushes, the slowest after {slowest} ms", sent.len());
    assert!(slowest < 5_000, "the slowest push came after {slowest} ms");
}

#[tokio::test]
async fn a_presence_replica_that_ends_is_replaced_at_once_and_nobody_is_seen_to_come_or_go() {
    let deployment = two_of("connection=2,presence=2").await;
    let room = deployment.group(["ann", "bob", "eve", "joe", "kim"]).await;
    let [ann, bob, coming @ ..] = &room.users;
    let anns = ann.connect().await;
    anns.subscribe(&room.id).await;
    let mut stay = vec![bob.connect_at(1).await];
    anns.expect_status(&bob.id, "online").await;
    let lag = Lag::beside(&ann.api);
    for (name, user) in ["presence-0", "presence-1", "presence-0"].into_iter().zip(coming) {
        let old = deployment.ask_to_end(name);
        // In the moment in which it takes leave: the others have it that this user is theirs.
        let came = Instant::now();
        stay.push(user.connect_at(1).await);
        anns.expect_status(&user.id, "online").await;
        lag.assert_within(HANDED_OVER, came.elapsed(), "telling who came");
        deployment.restarted(name, old).await;
        deployment.ready(name).await;
    }
    tokio::time::sleep(GRACE).await;
    for user in &room.users[1..] {
        assert_eq!(anns.statuses_of(&user.id), ["online"], "{}", user.id);
    }
}

/// How often a request came, that nobody answers while a replica says that it leaves.
async fn asked(broker: &Broker, endpoint: &str, request: impl Future<Output = ()>) -> usize {
    let mut heard = broker.overhear(&format!("chat.rpc.message.{endpoint}")).await;
    let mut count = 0;
    let watching = async {
        heard.next().await.expect("the request is made");
        count += 1;
        broker
            .publish_bytes("chat.leaving.message".to_owned(), Vec::new())
            .await;
        while let Ok(Some(_)) = timeout(Duration::from_secs(1), heard.next()).await {
            count += 1;
        }
    };
    tokio::select! {
        () = watching => {}
        () = request => panic!("nobody is there to answer {endpoint}"),
    }
    count
}

#[tokio::test]
async fn what_met_a_leaving_replica_is_asked_again_at_once_unless_that_could_undo_something() {
    let deployment = Deployment::start().separate().launch().await;
    let room = deployment.group(["ann", "bob"]).await;
    let (api, path) = (&room.users[0].api, format!("/v1/conversations/{}", room.id));
    let broker = Broker::of(&deployment).await;
    deployment.pause("message-0");
    let read = asked(&broker, "conversation", async { drop(api.get(&path).await) }).await;
    let change = json!({"title": "another"});
    let change = asked(&broker, "change", async { drop(api.patch(&path, &change).await) }).await;
    deployment.unpause("message-0");
    assert_eq!((read, change), (2, 1));
}
