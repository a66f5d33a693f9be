//! History: both ways, by page and by range, and never behind what was acked.

use serde_json::{Value, json};

use crate::harness::{Room, shared, tuned};

/// A room with messages of seq 2 to `count` + 1 whose text is their seq.
async fn filled(count: u64) -> Room<2> {
    let room = tuned().await.direct().await;
    let ann = room.users[0].connect().await;
    ann.say_all(&room.id, (2..count + 2).map(|it| it.to_string())).await;
    room
}

async fn page(room: &Room<2>, query: &str) -> (Vec<u64>, bool) {
    let page = room.users[1].api.history(&room.id, query).await.ok();
    let messages = page["messages"].as_array().unwrap();
    assert!(
        messages
            .iter()
            .all(|it| it["text"].as_str() == Some(&it["seq"].to_string())),
        "{page}"
    );
    (
        messages.iter().filter_map(|it| it["seq"].as_u64()).collect(),
        page["more"].as_bool().unwrap(),
    )
}

#[tokio::test]
async fn a_message_of_the_history_is_as_it_was_delivered() {
    let room = shared().await.direct().await;
    let bob = room.users[1].connect().await;
    room.users[0].api.say(&room.id, "hello").await;
    let mut event = bob.expect_text("hello").await;
    let mut stored = room.users[1].api.history(&room.id, "").await.ok()["messages"][0].clone();
    for it in [&mut event, &mut stored] {
        it.as_object_mut().unwrap().remove("type");
    }
    assert_eq!(stored, event);
}

#[tokio::test]
async fn without_bounds_the_newest_50_come_newest_first() {
    let room = filled(60).await;
    assert_eq!(page(&room, "").await, ((12..=61).rev().collect(), true));
}

#[tokio::test]
async fn before_is_exclusive_and_newest_first() {
    let room = filled(10).await;
    assert_eq!(page(&room, "before=8&limit=3").await, (vec![7, 6, 5], true));
    assert_eq!(page(&room, "before=4").await, (vec![3, 2], false));
    assert_eq!(page(&room, "before=2").await, (vec![], false));
    assert_eq!(page(&room, "before=1000000&limit=1").await, (vec![11], true));
}

#[tokio::test]
async fn after_is_exclusive_and_oldest_first() {
    let room = filled(10).await;
    assert_eq!(page(&room, "after=4&limit=3").await, (vec![5, 6, 7], true));
    assert_eq!(page(&room, "after=9").await, (vec![10, 11], false));
    assert_eq!(page(&room, "after=11").await, (vec![], false));
    assert_eq!(page(&room, "after=0&limit=1").await, (vec![2], true));
    assert_eq!(page(&room, "after=1000000").await, (vec![], false));
}

#[tokio::test]
async fn both_bounds_make_a_range() {
    let room = filled(10).await;
    assert_eq!(page(&room, "after=4&before=8").await, (vec![5, 6, 7], false));
    assert_eq!(page(&room, "after=4&before=8&limit=2").await, (vec![5, 6], true));
    assert_eq!(page(&room, "after=4&before=5").await, (vec![], false));
    assert_eq!(page(&room, "after=8&before=4").await, (vec![], false));
}

#[tokio::test]
async fn more_is_true_only_if_there_is_more_within_the_bounds() {
    let room = filled(4).await;
    assert_eq!(page(&room, "limit=4").await, (vec![5, 4, 3, 2], false));
    assert_eq!(page(&room, "limit=3").await, (vec![5, 4, 3], true));
}

#[tokio::test]
async fn a_limit_above_200_is_taken_as_200() {
    let room = filled(205).await;
    for limit in ["200", "201", "100000"] {
        assert_eq!(
            page(&room, &format!("limit={limit}")).await,
            ((7..=206).rev().collect(), true)
        );
    }
}

#[tokio::test]
async fn paging_both_ways_gives_every_message_once() {
    let room = filled(47).await;
    let seqs = |list: Vec<Value>| list.iter().filter_map(|it| it["seq"].as_u64()).collect::<Vec<u64>>();
    let api = &room.users[0].api;
    assert_eq!(
        seqs(api.history_forwards(&room.id, 10).await),
        (2..=48).collect::<Vec<_>>()
    );
    assert_eq!(
        seqs(api.history_backwards(&room.id, 10).await),
        (2..=48).rev().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn bounds_that_are_no_numbers_are_invalid() {
    let room = shared().await.direct().await;
    for query in [
        "before=x",
        "after=-1",
        "limit=many",
        "limit=-5",
        "before=1.5",
        "after=99999999999999999999999",
    ] {
        room.users[0]
            .api
            .history(&room.id, query)
            .await
            .assert_problem(400, "invalid");
    }
}

#[tokio::test]
async fn the_history_has_what_was_acked_the_moment_it_was_acked() {
    let room = shared().await.direct().await;
    let ann = room.users[0].connect().await;
    let elsewhere = room.users[1].api_at(1);
    for number in 0..40 {
        let ack = ann.say(&room.id, &number.to_string()).await;
        let history = elsewhere.history(&room.id, "limit=1").await.ok();
        assert_eq!(history["messages"][0]["server_id"], ack["server_id"], "round {number}");
        let listed = elsewhere.get("/v1/conversations").await.ok()["conversations"][0].clone();
        assert_eq!(
            (&listed["seq"], &listed["last_message"]["server_id"]),
            (&ack["seq"], &ack["server_id"])
        );
    }
}

#[tokio::test]
async fn the_history_has_all_that_lies_before_a_cursor_given_out() {
    let room = shared().await.direct().await;
    let ann = room.users[0].connect().await;
    for number in 0..15 {
        let text = number.to_string();
        ann.send_message(&room.id, &text).await;
        // Either in what comes after `ready`, or in the history read after it.
        let bob = room.users[1].connect_at(number % 2).await;
        let history = room.users[1].api.history_forwards(&room.id, 200).await;
        let stored = history.iter().any(|it| it["text"] == *text);
        if !stored {
            bob.frames
                .frame("what the history lacked", |it| it["text"] == *text)
                .await;
        }
    }
}

#[tokio::test]
async fn an_absent_and_a_foreign_conversation_are_not_told_apart() {
    let deployment = shared().await;
    let room = deployment.direct().await;
    let stranger = deployment.user("eve").await;
    let (kind, digits) = room.id.split_at(room.id.len() - 1);
    let absent = format!("{kind}{}", if digits == "0" { "1" } else { "0" });
    for path in ["", "/messages"] {
        let read = async |id: &str| stranger.api.get(&format!("/v1/conversations/{id}{path}")).await;
        let (foreign, absent, nonsense) = (read(&room.id).await, read(&absent).await, read("nonsense").await);
        foreign.assert_problem(404, "not_found");
        assert_eq!((absent.status, &absent.body), (404, &foreign.body));
        assert_eq!((nonsense.status, &nonsense.body), (404, &foreign.body));
    }
    let send = async |id: &str| {
        stranger
            .api
            .send(
                id,
                &json!({"client_id": crate::harness::client_id(), "text": "let me in"}),
            )
            .await
    };
    let (foreign, absent) = (send(&room.id).await, send(&absent).await);
    foreign.assert_problem(404, "not_found");
    assert_eq!((absent.status, &absent.body), (404, &foreign.body));
}
