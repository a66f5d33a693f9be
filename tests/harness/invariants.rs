//! The one checker of what must hold after any storm: acked means delivered exactly once to every member, in `seq`
//! order and without a gap, and stored exactly once; who was a member for a while has exactly what happened then; read
//! marks never go back.
//!
//! Pure: it looks at what clients recorded and at what was read back, and lists every violation.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::frames::is_durable;
use super::views;

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
    /// The members at `from`. Who came or went later is in the log.
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
        found.extend(views::order(view).into_iter().map(|it| format!("{name}: {it}")));
        found.extend(views::resumes(view).into_iter().map(|it| format!("{name}: {it}")));
        found.extend(views::acks(view).into_iter().map(|it| format!("{name}: {it}")));
        found.extend(views::overtaken(view).into_iter().map(|it| format!("{name}: {it}")));
        found.extend(views::marks(view).into_iter().map(|it| format!("{name}: {it}")));
    }
    for stored in stored {
        found.extend(content(views, stored));
        found.extend(read_back(stored));
        for view in views {
            found.extend(complete(view, stored));
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

impl Stored {
    /// What a user is to see of the conversation: from when he became a member until he was one no more, both included.
    pub fn visible(&self, user: &str) -> BTreeSet<u64> {
        let names = |event: &Value, kind: &str| {
            let users = event["user_ids"].as_array().filter(|_| event["type"] == kind);
            users.is_some_and(|it| it.iter().any(|it| it == user))
        };
        let mut here = self.members.iter().any(|it| it == user);
        let mut seqs = BTreeSet::new();
        for event in self.log.iter().filter(|it| is_durable(it) && seq(it) >= self.from) {
            here |= names(event, "member:added");
            if here {
                seqs.insert(seq(event));
            }
            here &= !names(event, "member:removed");
        }
        seqs
    }
}

impl View {
    pub(super) fn frames(&self) -> impl Iterator<Item = &Value> {
        self.sockets.iter().flat_map(|it| &it.frames)
    }

    pub(super) fn acks(&self) -> impl Iterator<Item = &Value> {
        self.frames().filter(|it| it["type"] == "message:ack")
    }

    fn events(&self) -> impl Iterator<Item = &Value> {
        self.frames().filter(|it| is_durable(it))
    }
}

pub(super) fn conversation(frame: &Value) -> &str {
    frame["conversation_id"].as_str().unwrap_or("(no conversation_id)")
}

pub(super) fn seq(frame: &Value) -> u64 {
    frame["seq"].as_u64().unwrap_or(0)
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
        // For those alone who were added.
        fields.remove("conversation");
    }
    plain
}

/// An installation has everything that its user is to see, and nothing else.
fn complete(view: &View, stored: &Stored) -> Vec<String> {
    let mut found = Vec::new();
    let (user, room) = (&view.user, &stored.conversation);
    let head = stored.log.iter().chain(&stored.forwards).map(seq).max().unwrap_or(0);
    let visible = stored.visible(user);
    if visible.is_empty() && view.frames().any(|it| conversation(it) == room) {
        return vec![format!("{user} is no member of {room} and was sent frames of it")];
    }
    let seen = view.frames().filter(|it| is_durable(it) || it["type"] == "message:ack");
    let seen: BTreeSet<u64> = seen.filter(|it| conversation(it) == room).map(seq).collect();
    let lacks: Vec<&u64> = visible.difference(&seen).collect();
    if !lacks.is_empty() {
        found.push(format!("{user} lacks {lacks:?} of {room} up to {head}"));
    }
    if let Some(beyond) = seen.last().filter(|&&it| it > head) {
        found.push(format!("{user} saw {room} {beyond}, past the stored head {head}"));
    }
    let foreign = seen
        .iter()
        .filter(|it| (stored.from..=head).contains(*it) && !visible.contains(it));
    let foreign: Vec<&u64> = foreign.collect();
    if !foreign.is_empty() {
        found.push(format!("{user} saw {foreign:?} of {room} while he was no member of it"));
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
    let logged: Vec<u64> = stored.log.iter().map(seq).filter(|it| *it >= stored.from).collect();
    let head = logged.last().copied().unwrap_or(0);
    if logged != (stored.from..=head).collect::<Vec<_>>() {
        found.push(format!("the log of {room} is not dense: {logged:?}"));
    }
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
