//! `GET /v1/messages?since=`: what was missed, over HTTP.

use serde_json::{Value, json};

use crate::harness::{Api, Room, shared, tuned};

fn texts(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|it| it["text"].as_str()).collect()
}

/// A room whose second member has a cursor from before five messages.
async fn five() -> (Room<2>, String, Vec<Value>) {
    let room = shared().await.direct().await;
    let cursor = room.users[1].connect().await.settled_cursor().await;
    let mut acks = Vec::new();
    for number in 0..5 {
        // Times of a millisecond: each message gets its own.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        acks.push(room.users[0].api.say(&room.id, &number.to_string()).await);
    }
    (room, cursor, acks)
}

#[tokio::test]
async fn since_a_cursor_there_are_the_frames_that_a_socket_would_have_got() {
    let (room, cursor, _) = five().await;
    let page = room.users[1]
        .api
        .query("/v1/messages", &[("since", &cursor)])
        .await
        .ok();
    assert_eq!(
        (texts(page["events"].as_array().unwrap()), &page["more"]),
        (vec!["0", "1", "2", "3", "4"], &json!(false))
    );
    let socket = room.users[1].socket().resume(&cursor).connect().await;
    for event in page["events"].as_array().unwrap() {
        assert_eq!(socket.next_event().await, *event);
    }
}

#[tokio::test]
async fn pages_are_as_small_as_asked_and_miss_nothing() {
    let (room, cursor, _) = five().await;
    let api = room.users[1].api_at(1);
    for limit in ["1", "2", "3"] {
        let page = api
            .query("/v1/messages", &[("since", &cursor), ("limit", limit)])
            .await
            .ok();
        assert_eq!(
            page["events"].as_array().unwrap().len(),
            limit.parse::<usize>().unwrap()
        );
        assert_eq!(page["more"], true);
        let (all, _) = api.since(&cursor, limit.parse().unwrap()).await;
        assert_eq!(texts(&all), ["0", "1", "2", "3", "4"]);
    }
}

#[tokio::test]
async fn the_cursor_of_a_page_is_good_for_a_socket() {
    let (room, cursor, _) = five().await;
    let page = room.users[1]
        .api
        .query("/v1/messages", &[("since", &cursor), ("limit", "3")])
        .await
        .ok();
    let socket = room.users[1]
        .socket()
        .resume(page["cursor"].as_str().unwrap())
        .connect()
        .await;
    socket.expect_text("3").await;
    socket.expect_text("4").await;
    socket.assert_quiet().await;
}

#[tokio::test]
async fn at_the_head_there_is_nothing_and_a_cursor_to_go_on_with() {
    let (room, cursor, _) = five().await;
    let (_, head) = room.users[1].api.since(&cursor, 100).await;
    assert_eq!(room.users[1].api.since(&head, 100).await.0, Vec::<Value>::new());
    room.users[0].api.say(&room.id, "news").await;
    assert_eq!(texts(&room.users[1].api.since(&head, 100).await.0), ["news"]);
}

#[tokio::test]
async fn since_a_time_is_inclusive() {
    let (room, _, acks) = five().await;
    let time = acks[2]["timestamp"].as_str().unwrap();
    let (events, cursor) = room.users[1].api.since(time, 2).await;
    assert_eq!(texts(&events), ["2", "3", "4"]);
    room.users[0].api.say(&room.id, "5").await;
    assert_eq!(texts(&room.users[1].api.since(&cursor, 100).await.0), ["5"]);
}

#[tokio::test]
async fn a_time_may_have_an_offset() {
    let (room, _, acks) = five().await;
    let time = acks[3]["timestamp"].as_str().unwrap().replace('Z', "+00:00");
    assert_eq!(texts(&room.users[1].api.since(&time, 100).await.0), ["3", "4"]);
}

#[tokio::test]
async fn a_time_to_come_has_nothing_yet() {
    let (room, ..) = five().await;
    let reply = room.users[1]
        .api
        .query("/v1/messages", &[("since", "2099-01-01T00:00:00.000Z")])
        .await;
    assert_eq!(reply.ok()["events"], json!([]));
}

#[tokio::test]
async fn everybody_gets_his_own_conversations_only() {
    let (room, cursor, _) = five().await;
    let stranger = shared().await.user("eve").await;
    assert_eq!(stranger.api.since(&cursor, 100).await.0, Vec::<Value>::new());
    // Own messages are among what is listed: another device may have sent them.
    assert_eq!(
        texts(&room.users[0].api.since(&cursor, 100).await.0),
        ["0", "1", "2", "3", "4"]
    );
}

#[tokio::test]
async fn what_is_neither_a_cursor_nor_a_time_is_refused() {
    let ann = shared().await.user("ann").await;
    for since in ["garbage", "2026-13-45T00:00:00Z", "0", ""] {
        let reply = ann.api.query("/v1/messages", &[("since", since)]).await;
        assert!(
            matches!(reply.status, 400 | 410),
            "{since}: {} {}",
            reply.status,
            reply.body
        );
    }
    ann.api.get("/v1/messages").await.assert_problem(400, "invalid");
    let cursor = ann.connect().await.settled_cursor().await;
    for limit in ["-1", "many"] {
        let reply = ann
            .api
            .query("/v1/messages", &[("since", &cursor), ("limit", limit)])
            .await;
        reply.assert_problem(400, "invalid");
    }
}

#[tokio::test]
async fn a_page_has_100_by_default_and_500_at_most() {
    let room = tuned().await.direct().await;
    let (ann, bob) = (room.users[0].connect().await, room.users[1].connect().await);
    let cursor = bob.settled_cursor().await;
    ann.say_all(&room.id, (0..510).map(|it| it.to_string())).await;
    let api: &Api = &room.users[1].api;
    let page = async |more: &[(&str, &str)]| {
        let page = api
            .query("/v1/messages", &[&[("since", cursor.as_str())], more].concat())
            .await
            .ok();
        page["events"].as_array().unwrap().len()
    };
    assert_eq!(page(&[]).await, 100);
    assert_eq!(page(&[("limit", "500")]).await, 500);
    assert_eq!(page(&[("limit", "100000")]).await, 500);
    let socket = room.users[1].socket().resume(&cursor).connect().await;
    for number in 0..510 {
        socket.expect_text(&number.to_string()).await;
    }
}
