//! Presence without sockets, clocks or tasks: what is heard goes in with the time, what is to be done comes out.
//!
//! [`table`] is what is so, [`voice`] what is told of it; [`node`] and [`sync`] keep the nodes' reports in order, [`trust`]
//! knows when silence proves nothing. The loop around it is in [`mod@crate::run`].

mod counts;
mod deadlines;
mod hear;
mod node;
mod now;
mod pace;
mod query;
mod replicas;
mod rooms;
mod seen;
mod sessions;
mod sync;
mod table;
mod told;
mod trust;
mod users;
mod voice;
mod waits;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use protocol::signal::Signal;
use protocol::{Timestamp, UserId};
use serde::{Deserialize, Serialize};

pub(crate) use counts::Counts;
use node::{Node, NodeKey};
pub(crate) use now::Now;
pub(crate) use query::Sizes;
pub(crate) use table::Choice;
use table::Table;
use trust::Trust;
use voice::Voice;

/// Signals of one message.
pub(crate) const SIGNALS_MOST: usize = 500;
/// Nodes known at once.
const NODES_MOST: usize = 4_096;
/// Longest name of a node: ours are 32 characters.
const NODE_NAME_MOST: usize = 64;
/// A node of which nothing is known but its name, and that nobody could ask for so long, is none.
const ABSENT: Duration = Duration::from_millis(1_500);

/// What the loop is to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Ask a node for a snapshot; its parts come back under this number.
    Ask { node: String, ask: u64 },
    /// Tell all connection nodes: [`SIGNALS_MOST`] at most.
    Tell(Vec<Signal>),
    /// Store when a user was last seen.
    StoreSeen(UserId, Timestamp),
    /// Store that a node lives, for replicas that start.
    StoreNode(String),
    /// Store that it does not.
    ForgetNode(String),
    /// Ask all nodes to beat.
    Hello,
    /// Tell all nodes that this replica knows everything.
    Ready,
    /// Tell all replicas, this one too, that this one lives, and whether it speaks for users.
    Beat { number: u64, speaks: bool },
}

/// What a replica says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beat {
    pub(crate) replica: String,
    pub(crate) number: u64,
    pub(crate) speaks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Learning what there is, since the first beat came back; says nothing.
    Starting(Option<Instant>),
    Ready,
    /// Answers what was asked; says nothing.
    Leaving,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    lease: Duration,
    phase: Phase,
    trust: Trust,
    nodes: HashMap<String, Node>,
    table: Table,
    voice: Voice,
    /// Nodes that NATS has stored as living.
    stored: HashSet<String>,
    /// Whether the choices of all users are in the table, and up to which entry of the bucket.
    loaded: bool,
    revision: u64,
    numbers: u64,
    beat_at: Instant,
    counts: Counts,
    effects: Vec<Effect>,
}

impl Core {
    /// Of a replica with this name, which no other one has or had.
    pub(crate) fn new(name: String, lease: Duration, now: Now) -> Self {
        Self {
            lease,
            phase: Phase::Starting(None),
            trust: Trust::new(lease, now.at),
            nodes: HashMap::new(),
            table: Table::default(),
            voice: Voice::new(name),
            stored: HashSet::new(),
            loaded: false,
            revision: 0,
            numbers: 0,
            beat_at: now.at,
            counts: Counts::default(),
            effects: Vec::new(),
        }
    }

    /// The time: to be called every few hundredths of a second, and after every input.
    pub(crate) fn tick(&mut self, now: Now) {
        self.wake(now);
        if now.at >= self.beat_at {
            self.beat_at = now.at + replicas::BEAT;
            self.beat();
            self.compare_stored();
        }
        self.end_leases(now);
        self.ask(now);
        self.table.end_graces(now);
        self.tell_changes(now);
        if self.trust.is_settled(now.at) && self.voice.replicas.sweep(now.at) {
            self.voice.on_new_owners(now);
        }
        self.voice.forget(now);
        self.become_ready(now);
        self.tell(now);
    }

    /// Says what is left to say, and takes leave: the others speak for this one's users at once.
    pub(crate) fn leave(&mut self, now: Now) {
        self.tick(now);
        self.phase = Phase::Leaving;
        self.beat();
    }

    /// What is to be done, since the last call.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What happened, since the last call.
    pub(crate) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    fn wake(&mut self, now: Now) {
        if self.trust.on_time(now.at) {
            self.counts.doubts += 1;
            self.voice.replicas.refresh(now.at);
            self.beat_at = now.at;
        }
    }

    fn beat(&mut self) {
        let number = self.trust.next_beat();
        let speaks = self.phase == Phase::Ready;
        self.effects.push(Effect::Beat { number, speaks });
    }

    /// Does something with a node, which is made if it is not known, and with what that changes.
    fn with_node(&mut self, name: &str, now: Now, act: impl FnOnce(&mut Node, &mut Table)) {
        let proper = name.len() <= NODE_NAME_MOST && name.bytes().all(|it| it.is_ascii_alphanumeric());
        let room = self.nodes.len() < NODES_MOST || self.nodes.contains_key(name);
        if !proper || name.is_empty() || !room {
            self.counts.nodes_refused += 1;
            return;
        }
        self.numbers += 1;
        let key = NodeKey(self.numbers);
        let node = self.nodes.entry(name.to_owned()).or_insert_with(|| Node::new(key, now));
        act(node, &mut self.table);
        self.counts.reports_dropped += node.take_dropped();
        self.tell_changes(now);
    }

    fn end_leases(&mut self, now: Now) {
        let (may_end, lease) = (self.trust.may_end_leases(now.at), self.lease);
        let (table, counts) = (&mut self.table, &mut self.counts);
        self.nodes.retain(|name, node| {
            let silent = now.at.saturating_duration_since(node.heard.at) >= lease;
            let absent = node.absent_since.is_some_and(|since| now.at >= since + ABSENT);
            let unknown = node.applied().is_none() && !node.ended;
            if (unknown && absent) || (node.ended && silent) {
                return false;
            }
            if !silent || !may_end {
                return true;
            }
            tracing::warn!(node = name, users = node.users.len(), "a connection node's lease ended");
            counts.leases_ended += 1;
            table.clear(node, now);
            false
        });
    }

    fn ask(&mut self, now: Now) {
        for (name, node) in &mut self.nodes {
            self.numbers += 1;
            if node.begin_ask(self.numbers, now) {
                self.counts.snapshots_asked += 1;
                let (node, ask) = (name.clone(), self.numbers);
                self.effects.push(Effect::Ask { node, ask });
            }
        }
    }

    fn become_ready(&mut self, now: Now) {
        let Phase::Starting(Some(since)) = self.phase else {
            return;
        };
        let long = now.at.saturating_duration_since(since) >= self.lease;
        let whole = self.nodes.values().all(Node::is_whole);
        if !self.loaded || !self.trust.is_settled(now.at) || !(whole || long) {
            return;
        }
        self.phase = Phase::Ready;
        self.voice.assume_told(&self.table);
        self.effects.push(Effect::Ready);
        self.beat();
    }

    /// Stores which nodes live, for replicas that start: the owner of each name does.
    fn compare_stored(&mut self) {
        if self.phase != Phase::Ready || !self.loaded || self.trust.is_doubtful() {
            return;
        }
        let replicas = &self.voice.replicas;
        let lives = |node: &Node| node.applied().is_some() && !node.ended;
        for (name, node) in &self.nodes {
            if lives(node) && !self.stored.contains(name) && replicas.owns(name) {
                self.effects.push(Effect::StoreNode(name.clone()));
            }
        }
        for name in &self.stored {
            if self.nodes.get(name).is_none_or(|it| it.ended) && replicas.owns(name) {
                self.effects.push(Effect::ForgetNode(name.clone()));
            }
        }
    }

    /// Compares what has changed with what was told.
    fn tell_changes(&mut self, now: Now) {
        let changed = self.table.take_changed();
        if matches!(self.phase, Phase::Starting(_)) {
            return;
        }
        for (key, why) in changed {
            self.voice.on_change(key, why, &self.table, now);
        }
    }

    /// Says everything whose time has come.
    fn tell(&mut self, now: Now) {
        if self.phase != Phase::Ready || !self.trust.is_settled(now.at) {
            return;
        }
        let mut signals = Vec::new();
        while let Some((signal, seen)) = self.voice.next(&self.table, now, &mut self.counts) {
            signals.push(signal);
            if let Some((user, time)) = seen {
                self.effects.push(Effect::StoreSeen(user, time));
            }
            if signals.len() == SIGNALS_MOST {
                self.effects.push(Effect::Tell(std::mem::take(&mut signals)));
            }
        }
        if !signals.is_empty() {
            self.effects.push(Effect::Tell(signals));
        }
    }
}
