//! The part of the checker that looks at one installation of the app by itself: order, resumes, acks, marks.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::frames::is_durable;
use super::invariants::{SocketView, View, conversation, seq};

/// On each socket: rising, without a gap, the acks of own messages counted; nothing twice.
pub(super) fn order(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    // An ack is not ordered with the events around it and may even come on a later socket: all of them count.
    let mut known: HashSet<(&str, u64)> = view.acks().map(|it| (conversation(it), seq(it))).collect();
    let mut begun: HashMap<&str, u64> = HashMap::new();
    for (index, socket) in view.sockets.iter().enumerate() {
        let mut last: HashMap<&str, u64> = HashMap::new();
        for event in socket.frames.iter().filter(|it| is_durable(it)) {
            let (room, seq) = (conversation(event), seq(event));
            match last.insert(room, seq) {
                Some(before) if before == seq => found.push(format!("socket {index}: {room} {seq} came twice")),
                Some(before) if before > seq => found.push(format!("socket {index}: {room} {seq} after {before}")),
                _ => {}
            }
            // Between two memberships things may have happened: what exactly, the log tells.
            if comes_in(event, &view.user) {
                begun.insert(room, seq);
            }
            let first = *begun.entry(room).or_insert(seq);
            let gap: Vec<u64> = (first..seq).filter(|it| !known.contains(&(room, *it))).collect();
            if !gap.is_empty() {
                found.push(format!("socket {index}: {room} {seq} came before {gap:?}"));
                known.extend(gap.into_iter().map(|it| (room, it)));
            }
            known.insert((room, seq));
        }
    }
    found
}

fn comes_in(event: &Value, user: &str) -> bool {
    let added = event["user_ids"].as_array().filter(|_| event["type"] == "member:added");
    added.is_some_and(|it| it.iter().any(|it| it == user))
}

/// On each socket: what a member has read or received only ever grows.
pub(super) fn marks(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    for (index, socket) in view.sockets.iter().enumerate() {
        let mut last: HashMap<(&str, &Value, &Value), u64> = HashMap::new();
        let is_mark = |it: &&Value| it["type"] == "message:read" || it["type"] == "message:delivered";
        for mark in socket.frames.iter().filter(is_mark) {
            let key = (conversation(mark), &mark["user_id"], &mark["type"]);
            let before = last.insert(key, seq(mark)).unwrap_or(0);
            if before > seq(mark) {
                found.push(format!("socket {index}: after {before} came {mark}"));
            }
        }
    }
    found
}

/// Nothing that came before a checkpoint comes again on a socket that resumes from it; no resume was refused.
pub(super) fn resumes(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    for (index, socket) in view.sockets.iter().enumerate() {
        if let Some(resync) = socket.frames.iter().find(|it| it["type"] == "resync") {
            found.push(format!("socket {index}: the resume was refused: {resync}"));
        }
        let Some(cursor) = &socket.resume else { continue };
        let before = before_cursor(&view.sockets[..index], cursor);
        for event in socket.frames.iter().filter(|it| is_durable(it)) {
            if before.contains(&(conversation(event), seq(event))) {
                let (room, seq) = (conversation(event), seq(event));
                found.push(format!(
                    "socket {index}: {room} {seq} came again, though before the checkpoint"
                ));
            }
        }
    }
    found
}

/// The events that had come when the cursor was given out for the last time.
fn before_cursor<'a>(sockets: &'a [SocketView], cursor: &str) -> HashSet<(&'a str, u64)> {
    // A resumed `ready` repeats the old position: what came after it on the socket before is not behind it.
    let fresh = |it: &Value| it["type"] == "checkpoint" || (it["type"] == "ready" && it["resumed"] == false);
    let gives = |it: &Value| it["cursor"] == cursor && fresh(it);
    let given = sockets.iter().enumerate().rev().find_map(|(index, socket)| {
        let at = socket.frames.iter().rposition(gives)?;
        Some((index, at))
    });
    let Some((index, at)) = given else {
        return HashSet::new();
    };
    let earlier = sockets[..index].iter().flat_map(|it| &it.frames);
    let events = earlier.chain(&sockets[index].frames[..at]).filter(|it| is_durable(it));
    events.map(|it| (conversation(it), seq(it))).collect()
}

/// All acks of one client id are the same, apart from `duplicate` and `ref`.
pub(super) fn acks(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    let mut first: HashMap<(&str, &str), &Value> = HashMap::new();
    for ack in view.acks() {
        let id = ack["client_id"].as_str().unwrap_or("(none)");
        let original = *first.entry((conversation(ack), id)).or_insert(ack);
        let same = ["server_id", "seq", "timestamp"]
            .iter()
            .all(|field| original[field] == ack[field]);
        if !same {
            found.push(format!("the retry of {id} was answered {ack}, the original {original}"));
        }
    }
    found
}

/// Sends of one socket to one conversation have their `seq` in the order sent, retries excepted.
pub(super) fn overtaken(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    // What was answered by an error has no known outcome: it may still become a message, at any place.
    let retries = view
        .sockets
        .iter()
        .flat_map(|it| &it.sent)
        .filter(|it| it["retry"] == true);
    let errors = view.frames().filter(|it| it["type"] == "error");
    let excepted: HashSet<&Value> = retries.chain(errors).map(|it| &it["client_id"]).collect();
    let seqs: HashMap<&Value, u64> = view.acks().map(|it| (&it["client_id"], seq(it))).collect();
    for (index, socket) in view.sockets.iter().enumerate() {
        let mut last: HashMap<&str, u64> = HashMap::new();
        for send in socket.sent.iter().filter(|it| !excepted.contains(&it["client_id"])) {
            let Some(&seq) = seqs.get(&send["client_id"]) else {
                continue;
            };
            let before = last.insert(conversation(send), seq).unwrap_or(0);
            if before > seq {
                let room = conversation(send);
                found.push(format!(
                    "socket {index}: {room} {seq} was sent after what became {before}"
                ));
            }
        }
    }
    found
}
