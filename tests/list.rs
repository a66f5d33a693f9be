//! The conversation list of somebody with very many conversations.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::harness::{User, counted, escaped, tuned};

const CONVERSATIONS: usize = 5_000;

/// Ann with so many conversations, one of them with Bob, in which she has more unread than are counted. Both with fresh
/// connections: those of a user live and die with one test.
struct Busy {
    ann: User,
    bob: User,
    with_bob: String,
}

async fn busy() -> Busy {
    static BUSY: OnceCell<[String; 3]> = OnceCell::const_new();
    let [ann, bob, with_bob] = BUSY.get_or_init(make_busy).await;
    Busy {
        ann: tuned().await.user_named(ann).await,
        bob: tuned().await.user_named(bob).await,
        with_bob: with_bob.clone(),
    }
}

async fn make_busy() -> [String; 3] {
    let [ann, bob] = tuned().await.users(["ann", "bob"]).await;
    let with_bob = bob.api.direct(&ann.id).await;
    let elsewhere = ann.api_at(1);
    let creating = (1..CONVERSATIONS).map(async |it| {
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
    [ann.id, bob.id, with_bob]
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
    let page = busy.ann.api.get("/v1/conversations?limit=1").await.ok();
    assert_eq!(page["conversations"], json!([shown]), "also in the list");
}

/// Six times what it takes in a debug build on two idle cores.
const PAGE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_page_of_it_comes_within_a_second() {
    let busy = busy().await;
    let mut times = Vec::new();
    for number in 0..9 {
        times.push(busy.ann.api_at(number % 2).get("/v1/conversations").await.took);
    }
    times.sort();
    println!("a page of 50 of {CONVERSATIONS}: {times:?}");
    assert!(times[4] < PAGE, "the median of {times:?}");
}

#[tokio::test]
async fn a_socket_of_such_a_user_is_ready_soon() {
    let busy = busy().await;
    let began = Instant::now();
    let socket = busy.ann.connect_at(1).await;
    println!("ready after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    busy.bob.api.say(&busy.with_bob, "119").await;
    socket.expect_text("119").await;
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
    for (number, room) in rooms[..1_001].iter().enumerate() {
        socket
            .send(json!({"type": "subscribe", "conversation_id": room, "ref": number}))
            .await;
    }
    // Which of them is one too many is not said: they are under way together.
    let refused = |it: &Value| it["type"] == "error";
    let (error, _) = socket
        .frames
        .frame_within("a refusal", Duration::from_secs(30), refused)
        .await;
    assert_eq!(error["code"], "invalid", "{error}");
    counted(&socket.frames, "subscribed", 1_000).await;
    assert_eq!(socket.frames.count("error"), 1);
    // With one less there is place again.
    let refused = error["ref"].as_u64().unwrap() as usize;
    socket.unsubscribe(&rooms[(refused + 1) % 1_001]).await;
    socket.subscribe(&rooms[refused]).await;
}
