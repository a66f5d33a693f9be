//! The one checker of what must hold after any storm: acked means delivered exactly once to every member, in `seq`
//! order and without a gap, and stored exactly once.
//!
//! Pure: it looks at what clients recorded and at what was read back, and lists every violation.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::frames::is_durable;

/// What one installation of the app saw, over all its sockets.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub user: String,
    pub sockets: Vec<SocketView>,
}

/// What one socket saw, in order: the frames from `ready` on.
#[derive(Debug, Clone, Default)]
pub struct SocketView {
    /// The cursor that it resumed from.
    pub resume: Option<String>,
    /// The `message:send` frames that it sent, in order.
    pub sent: Vec<Value>,
    pub frames: Vec<Value>,
}

/// A conversation, its members, and what was read back of it.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    pub conversation: String,
    pub members: Vec<String>,
    /// The first `seq` that happened when all installations had been connected once.
    pub from: u64,
    /// `GET …/messages?after=`, all pages.
    pub forwards: Vec<Value>,
    /// `GET …/messages?before=`, all pages.
    pub backwards: Vec<Value>,
    /// `GET /v1/messages?since=` from before the first message: the log's own account, without MongoDB.
    pub log: Vec<Value>,
}

/// Every violation, in words. Empty means that all is well.
pub fn violations(views: &[View], stored: &[Stored]) -> Vec<String> {
    let mut found = Vec::new();
    for view in views {
        let name = &view.user;
        found.extend(order(view).into_iter().map(|it| format!("{name}: {it}")));
        found.extend(resumes(view).into_iter().map(|it| format!("{name}: {it}")));
        found.extend(acks(view).into_iter().map(|it| format!("{name}: {it}")));
        found.extend(overtaken(view).into_iter().map(|it| format!("{name}: {it}")));
    }
    for stored in stored {
        let of_room = views.iter().filter(|it| stored.members.contains(&it.user));
        let of_room: Vec<&View> = of_room.collect();
        found.extend(content(views, stored));
        found.extend(complete(&of_room, stored));
        found.extend(read_back(stored));
        let strangers = views.iter().filter(|it| !stored.members.contains(&it.user));
        for view in strangers.filter(|it| {
            it.frames()
                .any(|f| f["conversation_id"] == stored.conversation.as_str())
        }) {
            found.push(format!(
                "{} is no member of {} and was sent frames of it",
                view.user, stored.conversation
            ));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Asserts that there is no violation; what every socket saw is kept in a file otherwise.
pub fn assert_all_hold(views: &[View], stored: &[Stored]) {
    let found = violations(views, stored);
    if found.is_empty() {
        return;
    }
    let path = std::env::temp_dir().join(format!("parley-violations-{}.txt", uuid::Uuid::new_v4().simple()));
    let mut record = String::new();
    for (view, (index, socket)) in views
        .iter()
        .flat_map(|it| it.sockets.iter().enumerate().map(move |s| (it, s)))
    {
        record += &format!("--- {} socket {index}, resumed from {:?}\n", view.user, socket.resume);
        record.extend(socket.sent.iter().map(|it| format!("sent {it}\n")));
        record.extend(socket.frames.iter().map(|it| format!("{it}\n")));
    }
    let _ = std::fs::write(&path, record);
    let shown = &found[..found.len().min(25)];
    panic!(
        "{} violations (see {}):\n  {}",
        found.len(),
        path.display(),
        shown.join("\n  ")
    );
}

impl View {
    fn frames(&self) -> impl Iterator<Item = &Value> {
        self.sockets.iter().flat_map(|it| &it.frames)
    }

    fn acks(&self) -> impl Iterator<Item = &Value> {
        self.frames().filter(|it| it["type"] == "message:ack")
    }

    fn events(&self) -> impl Iterator<Item = &Value> {
        self.frames().filter(|it| is_durable(it))
    }
}

fn conversation(frame: &Value) -> &str {
    frame["conversation_id"].as_str().unwrap_or("(no conversation_id)")
}

fn seq(frame: &Value) -> u64 {
    frame["seq"].as_u64().unwrap_or(0)
}

/// On each socket: rising, without a gap, the acks of own messages counted; nothing twice.
fn order(view: &View) -> Vec<String> {
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

/// Nothing that came before a checkpoint comes again on a socket that resumes from it; no resume was refused.
fn resumes(view: &View) -> Vec<String> {
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
fn acks(view: &View) -> Vec<String> {
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
fn overtaken(view: &View) -> Vec<String> {
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

/// The same event is the same for everybody, live, replayed, acked and stored; a client id has one `seq`.
fn content(views: &[View], stored: &Stored) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_seq: BTreeMap<u64, Value> = BTreeMap::new();
    let mut by_client: HashMap<(String, String), u64> = HashMap::new();
    let delivered = views
        .iter()
        .flat_map(View::events)
        .filter(|it| conversation(it) == stored.conversation);
    let history = stored.forwards.iter().chain(&stored.backwards);
    for event in delivered
        .chain(history)
        .chain(stored.log.iter().filter(|it| is_durable(it)))
    {
        let plain = without_type(event);
        let known = by_seq.entry(seq(event)).or_insert_with(|| plain.clone());
        if *known != plain {
            found.push(format!(
                "{} {} is told differently: {known} and {plain}",
                stored.conversation,
                seq(event)
            ));
        }
        let (Some(sender), Some(id)) = (event["sender_id"].as_str(), event["client_id"].as_str()) else {
            continue;
        };
        let first = *by_client.entry((sender.into(), id.into())).or_insert(seq(event));
        if first != seq(event) {
            found.push(format!(
                "{id} of {sender} is in the log twice, at {first} and {}",
                seq(event)
            ));
        }
    }
    for view in views {
        for ack in view.acks().filter(|it| conversation(it) == stored.conversation) {
            let Some(event) = by_seq.get(&seq(ack)) else {
                found.push(format!("acked and nowhere to be found: {ack}"));
                continue;
            };
            let same = ["client_id", "server_id", "timestamp"]
                .iter()
                .all(|field| event[field] == ack[field]);
            if !same || event["sender_id"] != view.user.as_str() {
                found.push(format!("{} was acked {ack}, and the event is {event}", view.user));
            }
        }
    }
    found
}

fn without_type(event: &Value) -> Value {
    let mut plain = event.clone();
    if let Some(fields) = plain.as_object_mut() {
        fields.remove("type");
    }
    plain
}

/// Every installation of every member has everything, up to the same head.
fn complete(views: &[&View], stored: &Stored) -> Vec<String> {
    let mut found = Vec::new();
    let head = stored.log.iter().chain(&stored.forwards).map(seq).max().unwrap_or(0);
    for view in views {
        let seen = view.frames().filter(|it| is_durable(it) || it["type"] == "message:ack");
        let seen: BTreeSet<u64> = seen
            .filter(|it| conversation(it) == stored.conversation)
            .map(seq)
            .collect();
        let lacks: Vec<u64> = (stored.from..=head).filter(|it| !seen.contains(it)).collect();
        if !lacks.is_empty() {
            found.push(format!(
                "{} lacks {lacks:?} of {} up to {head}",
                view.user, stored.conversation
            ));
        }
        if let Some(beyond) = seen.last().filter(|&&it| it > head) {
            found.push(format!(
                "{} saw {} {beyond}, past the stored head {head}",
                view.user, stored.conversation
            ));
        }
    }
    found
}

/// History reads the same both ways, each message once, and tells what the log tells.
fn read_back(stored: &Stored) -> Vec<String> {
    let mut found = Vec::new();
    let room = &stored.conversation;
    let forwards: Vec<u64> = stored.forwards.iter().map(seq).collect();
    let mut backwards: Vec<u64> = stored.backwards.iter().map(seq).collect();
    backwards.reverse();
    let messages = stored
        .log
        .iter()
        .filter(|it| it["type"] == "message:incoming")
        .filter(|it| conversation(it) == room);
    let log: Vec<u64> = messages.map(seq).collect();
    for (name, list) in [
        ("history forwards", &forwards),
        ("history backwards", &backwards),
        ("the log", &log),
    ] {
        if let Some(pair) = list.windows(2).find(|it| it[0] >= it[1]) {
            found.push(format!("{name} of {room} has {} before {}", pair[0], pair[1]));
        }
    }
    for (name, list) in [("history forwards", &forwards), ("history backwards", &backwards)] {
        if let Some(lacks) = difference(&log, list) {
            found.push(format!("{name} of {room} lacks {lacks:?}, which are in the log"));
        }
        if let Some(more) = difference(list, &log) {
            found.push(format!("{name} of {room} has {more:?}, which are not in the log"));
        }
    }
    found
}

fn difference(all: &[u64], without: &[u64]) -> Option<Vec<u64>> {
    let without: HashSet<u64> = without.iter().copied().collect();
    let rest: Vec<u64> = all.iter().copied().filter(|it| !without.contains(it)).collect();
    (!rest.is_empty()).then_some(rest)
}
