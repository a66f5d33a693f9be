//! The conversation list of somebody with very many conversations.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::harness::{User, escaped, tuned};

const CONVERSATIONS: usize = 5_000;
/// As many as a page has.
const FEW: usize = 50;

/// Ann with so many conversations, one of them with Bob, in which she has more unread than are counted, and one with
/// Eve; and Joe, who has few. All with fresh connections: those of a user live and die with one test.
struct Busy {
    ann: User,
    eve: User,
    joe: User,
    with_bob: String,
    with_eve: String,
}

async fn busy() -> Busy {
    static BUSY: OnceCell<[String; 5]> = OnceCell::const_new();
    let [ann, eve, joe, with_bob, with_eve] = BUSY.get_or_init(make_busy).await;
    Busy {
        ann: tuned().await.user_named(ann).await,
        eve: tuned().await.user_named(eve).await,
        joe: tuned().await.user_named(joe).await,
        with_bob: with_bob.clone(),
        with_eve: with_eve.clone(),
    }
}

async fn make_busy() -> [String; 5] {
    let [ann, bob, eve, joe] = tuned().await.users(["ann", "bob", "eve", "joe"]).await;
    let with_bob = bob.api.direct(&ann.id).await;
    let with_eve = eve.api.direct(&ann.id).await;
    for number in 0..FEW {
        joe.api.direct(&format!("{}-friend-{number}", joe.id)).await;
    }
    let elsewhere = ann.api_at(1);
    let creating = (2..CONVERSATIONS).map(async |it| {
        let api = [&ann.api, &elsewhere][it % 2];
        api.direct(&format!("{}-friend-{it}", ann.id)).await
    });
    let began = Instant::now();
    futures_util::stream::iter(creating)
        .buffer_unordered(32)
        .for_each(async |_| ())
        .await;
    println!("{CONVERSATIONS} conversations in {:?}", began.elapsed());
    let socket = bob.connect().await;
    socket.say_all(&with_bob, (0..120).map(|it| it.to_string())).await;
    eve.api.say(&with_eve, "the first").await;
    [ann.id, eve.id, joe.id, with_bob, with_eve]
}

/// When something happened in it last.
fn active_at(conversation: &Value) -> &str {
    let last = conversation["last_message"]["timestamp"].as_str();
    last.or(conversation["created_at"].as_str()).unwrap()
}

#[tokio::test]
async fn its_pages_have_each_of_5_000_once_and_the_most_recently_active_first() {
    let busy = busy().await;
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let page = busy
            .ann
            .api
            .get(&format!("/v1/conversations?limit=200{next}"))
            .await
            .ok();
        all.extend(page["conversations"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(token) => next = format!("&next={}", escaped(token)),
            None => break,
        }
    }
    let ids: HashSet<&str> = all.iter().map(|it| it["conversation_id"].as_str().unwrap()).collect();
    assert_eq!((all.len(), ids.len()), (CONVERSATIONS, CONVERSATIONS));
    assert!(all.iter().map(active_at).is_sorted_by(|one, other| one >= other));
}

#[tokio::test]
async fn its_unread_is_capped_and_its_last_message_is_there() {
    let busy = busy().await;
    let shown = busy.ann.api.conversation(&busy.with_bob).await;
    assert_eq!(
        (&shown["unread"], &shown["last_message"]["text"]),
        (&json!(100), &json!("119"))
    );
    // After the room in which another test talks.
    let page = busy.ann.api.get("/v1/conversations?limit=2").await.ok();
    assert_eq!(page["conversations"][1], shown, "also in the list");
}

/// How many times as many: what took that many times as long would take in proportion.
const TIMES: u32 = (CONVERSATIONS / FEW) as u32;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn a_page_of_it_takes_far_less_than_in_proportion() {
    let busy = busy().await;
    let (mut times, mut few) = (Vec::new(), Vec::new());
    for number in 0..18 {
        for (user, times) in [(&busy.ann, &mut times), (&busy.joe, &mut few)] {
            times.push(user.api_at(number % 2).get("/v1/conversations").await.took);
        }
    }
    println!("a page of 50 of {CONVERSATIONS}: {times:?}; of {FEW}: {few:?}");
    let (times, few) = (median(times), median(few));
    // Six to nine times, on idle cores and on busy ones.
    assert!(times < TIMES / 2 * few, "{times:?}, and {few:?} with {FEW}");
}

#[tokio::test]
async fn a_socket_of_such_a_user_is_ready_sooner_than_in_proportion() {
    let busy = busy().await;
    let (mut times, mut few) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        for (user, times) in [(&busy.ann, &mut times), (&busy.joe, &mut few)] {
            let began = Instant::now();
            let _socket = user.connect_at(1).await;
            times.push(began.elapsed());
        }
    }
    println!("ready with {CONVERSATIONS} after {times:?}; with {FEW}: {few:?}");
    let (times, few) = (median(times), median(few));
    // Twenty times, on idle cores and on busy ones.
    assert!(times < TIMES * few, "{times:?}, and {few:?} with {FEW}");
    let socket = busy.ann.connect_at(1).await;
    busy.eve.api.say(&busy.with_eve, "hello").await;
    socket.expect_text("hello").await;
}

#[tokio::test]
async fn a_socket_subscribes_to_a_thousand_rooms_and_not_to_one_more() {
    let busy = busy().await;
    let mut rooms = Vec::new();
    let mut next = String::new();
    while rooms.len() < 1_001 {
        let page = busy
            .ann
            .api
            .get(&format!("/v1/conversations?limit=200{next}"))
            .await
            .ok();
        let list = page["conversations"].as_array().unwrap();
        rooms.extend(list.iter().map(|it| it["conversation_id"].as_str().unwrap().to_owned()));
        next = format!("&next={}", escaped(page["next"].as_str().unwrap()));
    }
    let socket = busy.ann.connect().await;
    let subscribe = async |number: usize| {
        let frame = json!({"type": "subscribe", "conversation_id": rooms[number], "ref": number});
        socket.send(frame).await;
    };
    for number in 0..1_001 {
        subscribe(number).await;
    }
    // Which of them is one too many is not said: they are under way together.
    let (mut refused, mut again) = (Vec::new(), 0);
    while socket.frames.count("subscribed") + refused.len() < 1_001 {
        let answers = |it: &Value| matches!(it["type"].as_str(), Some("subscribed" | "error"));
        let patience = Duration::from_secs(30);
        let (answer, _) = socket.frames.frame_within("an answer", patience, answers).await;
        let number = answer["ref"].as_u64().unwrap() as usize;
        match answer["code"].as_str() {
            None => (),
            // To a machine that stalls.
            Some("unavailable") => {
                again += 1;
                subscribe(number).await;
            }
            Some(code) => {
                assert_eq!(code, "invalid", "{answer}");
                refused.push(number);
            }
        }
    }
    println!("{again} of 1001 unavailable");
    let [refused] = refused[..] else {
        panic!("one is one too many: {refused:?}")
    };
    assert_eq!(socket.frames.count("subscribed"), 1_000);
    // With one less there is place again.
    socket.unsubscribe(&rooms[(refused + 1) % 1_001]).await;
    socket.subscribe(&rooms[refused]).await;
}
