//! From the log to live: a reader that is behind catches up while more comes, without gap or repetition at the seam.

use serde_json::Value;

use crate::harness::{Client, Room, is_durable, tuned};

const BACKLOG: usize = 1_000;
const MEANWHILE: usize = 300;

/// A room whose second member's cursor lies before a backlog.
async fn behind() -> (Room<2>, Client, String) {
    let room = tuned().await.direct().await;
    let cursor = room.users[1].connect().await.settled_cursor().await;
    let ann = room.users[0].connect().await;
    send_all(&ann, &room, 0..BACKLOG).await;
    (room, ann, cursor)
}

async fn send_all(ann: &Client, room: &Room<2>, numbers: std::ops::Range<usize>) {
    ann.say_all(&room.id, numbers.map(|it| it.to_string())).await;
}

fn numbers(events: &[Value]) -> Vec<usize> {
    events
        .iter()
        .filter_map(|it| it["text"].as_str()?.parse().ok())
        .collect()
}

#[tokio::test]
async fn resuming_while_more_is_sent_has_no_seam() {
    let (room, ann, cursor) = behind().await;
    let more = send_all(&ann, &room, BACKLOG..BACKLOG + MEANWHILE);
    let resume = async {
        let mut sockets = Vec::new();
        for node in [0, 1, 0, 1] {
            sockets.push(room.users[1].socket().node(node).resume(&cursor).connect().await);
        }
        sockets
    };
    let (sockets, ()) = tokio::join!(resume, more);
    for socket in &sockets {
        let last = (BACKLOG + MEANWHILE - 1).to_string();
        socket.frames.frame("the last message", |it| it["text"] == *last).await;
        let events: Vec<Value> = socket.frames.all().into_iter().filter(is_durable).collect();
        assert_eq!(numbers(&events), (0..BACKLOG + MEANWHILE).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_checkpoint_in_the_middle_of_catching_up_is_as_good_as_any() {
    let (room, _ann, cursor) = behind().await;
    let (mut cursor, mut got) = (cursor, Vec::new());
    // Cut off again and again while it catches up, as on a train.
    for _ in 0..200 {
        let socket = room.users[1].socket().resume(&cursor).connect().await;
        socket.expect("checkpoint").await;
        let frames = socket.frames.all();
        socket.kill().await;
        let end = frames
            .iter()
            .rposition(|it| it["type"] == "checkpoint")
            .expect("it has come");
        got.extend(numbers(&frames[..end]));
        frames[end]["cursor"]
            .as_str()
            .expect("a string")
            .clone_into(&mut cursor);
        if got.len() >= BACKLOG {
            break;
        }
    }
    assert_eq!(got, (0..BACKLOG).collect::<Vec<_>>());
}

#[tokio::test]
async fn paging_over_http_while_more_is_sent_misses_nothing() {
    let (room, ann, cursor) = behind().await;
    let more = send_all(&ann, &room, BACKLOG..BACKLOG + MEANWHILE);
    let api = room.users[1].api_at(1);
    let page = async {
        let (mut all, mut cursor) = (Vec::new(), cursor);
        while numbers(&all).len() < BACKLOG + MEANWHILE {
            let (events, next) = api.since(&cursor, 17).await;
            all.extend(events);
            cursor = next;
        }
        all
    };
    let paged = tokio::time::timeout(std::time::Duration::from_secs(30), page);
    let (all, ()) = tokio::join!(paged, more);
    assert_eq!(
        numbers(&all.expect("it gets to the end")),
        (0..BACKLOG + MEANWHILE).collect::<Vec<_>>()
    );
}
