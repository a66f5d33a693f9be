//! A copy of the log that lags answers reads: nothing is skipped because of it, and nobody is refused.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Broker, Deployment, Lagging, PATIENCE, is_durable, until};

/// Messages of two kilobytes: more than a node with a megabyte for all lanes keeps of one of them.
const MESSAGES: usize = 200;

fn text(number: usize) -> String {
    format!("{number} {}", "x".repeat(2_000))
}

fn numbers(events: &[Value]) -> Vec<usize> {
    let texts = events.iter().filter_map(|it| it["text"].as_str());
    texts.filter_map(|it| it.split(' ').next()?.parse().ok()).collect()
}

#[tokio::test]
async fn a_resume_that_a_lagging_copy_answers_skips_nothing() {
    let start = Deployment::start().env("PARLEY_CONNECTION__SENDS_PER_SECOND", "0");
    let deployment = start.env("PARLEY_CONNECTION__MEMORY_MIB", "1").launch().await;
    let room = deployment.direct().await;
    let ann = room.users[0].connect().await;
    ann.say(&room.id, "first").await;
    let cursor = room.users[1].connect().await.settled_cursor().await;
    let stream = Broker::of(&deployment).await.stream_of(&room.id).await;
    let copy = Lagging::freeze(&deployment, &stream).await;
    ann.say_all(&room.id, (0..MESSAGES).map(text)).await;
    let bob = room.users[1].socket().resume(&cursor).connect().await;
    // Time for answers of the copy, each of which says that there is nothing.
    tokio::time::sleep(Duration::from_millis(800)).await;
    copy.catch_up().await;
    let got = async || {
        let events: Vec<Value> = bob.frames.all().into_iter().filter(is_durable).collect();
        let got = numbers(&events);
        (got.last() == Some(&(MESSAGES - 1))).then_some(got)
    };
    let got = until("the last message", PATIENCE, got).await;
    assert_eq!(got, (0..MESSAGES).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_new_member_is_not_refused_by_a_service_that_read_a_lagging_copy() {
    let deployment = Deployment::start().separate().launch().await;
    let room = deployment.group(["ann", "bob"]).await;
    let eve = deployment.user("eve").await;
    let stream = Broker::of(&deployment).await.stream_of(&room.id).await;
    let without_eve = Lagging::held(&deployment, &stream).await;
    room.users[0].api.add(&room.id, &[&eve.id]).await.ok();
    // One that starts knows of no conversation, and brings the stream back to its configuration.
    let old = deployment.kill("message-0");
    deployment.restarted("message-0", old).await;
    deployment.answers().await;
    let _copy = Lagging::freeze_at(&deployment, &stream, without_eve).await;
    eve.connect().await.say(&room.id, "hello").await;
}
