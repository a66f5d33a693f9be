//! What goes into the core: everything that is heard of nodes, replicas, the link and the bucket.

use std::collections::{HashMap, HashSet};

use protocol::UserId;
use protocol::signal::{Report, Signals, Snapshot};

use super::node::Node;
use super::sync::Step;
use super::table::Table;
use super::{Beat, Choice, Core, Effect, Now, Phase};

impl Core {
    /// A node's report or beat.
    pub(crate) fn on_report(&mut self, report: Report, now: Now) {
        self.wake(now);
        let name = report.node.clone();
        self.with_node(&name, now, |node, table| {
            let steps = node.on_report(report, now);
            perform(steps, node, table, now);
        });
    }

    /// A part of a snapshot that was asked for.
    pub(crate) fn on_part(&mut self, ask: u64, snapshot: Snapshot, now: Now) {
        self.wake(now);
        let name = snapshot.report.node.clone();
        self.with_node(&name, now, |node, table| {
            let steps = node.on_part(ask, snapshot, now);
            perform(steps, node, table, now);
        });
    }

    /// Nobody listens where a snapshot was asked for.
    pub(crate) fn on_absent(&mut self, name: &str, ask: u64, now: Now) {
        self.wake(now);
        if let Some(node) = self.nodes.get_mut(name) {
            node.on_absent(ask, now);
        }
    }

    /// Signals of a replica, perhaps this one.
    pub(crate) fn on_signals(&mut self, replica: Option<&str>, signals: Signals, now: Now) {
        self.wake(now);
        // What was told is noted when it is told; an echo of it may be older than that by now.
        if replica == Some(self.voice.replicas.own()) || matches!(self.phase, Phase::Starting(_)) {
            return;
        }
        for signal in signals.signals {
            self.voice.on_signal(signal, &self.table, now, &mut self.counts);
        }
    }

    /// A beat of a replica, perhaps this one.
    pub(crate) fn on_beat(&mut self, beat: Beat, now: Now) {
        self.wake(now);
        if beat.replica != self.voice.replicas.own() {
            if self.voice.replicas.on_beat(beat.replica, beat.speaks, now.at) {
                self.voice.on_new_owners(now);
            }
            return;
        }
        if !self.trust.on_echo(beat.number, now.at) {
            return;
        }
        // Nothing could be heard until now. Nodes that beat show what was missed.
        self.voice.replicas.refresh(now.at);
        self.effects.push(Effect::Hello);
        match &mut self.phase {
            Phase::Starting(since) => {
                since.get_or_insert(now.at);
            }
            Phase::Ready => {
                self.counts.doubts += 1;
                // Who asked meanwhile was not answered as it is: let all ask again.
                self.effects.push(Effect::Ready);
            }
            Phase::Leaving => self.counts.doubts += 1,
        }
    }

    /// The link went down or came up.
    pub(crate) fn on_link(&mut self, now: Now) {
        self.wake(now);
        self.trust.on_link();
        self.beat_at = now.at;
    }

    /// All choices and living nodes that are stored, as of an entry of the bucket.
    pub(crate) fn on_loaded(
        &mut self,
        choices: HashMap<UserId, Choice>,
        nodes: HashSet<String>,
        revision: u64,
        now: Now,
    ) {
        self.wake(now);
        (self.loaded, self.revision) = (true, revision);
        self.table.choose_all(choices, now);
        self.tell_changes(now);
        for name in &nodes {
            self.with_node(name, now, |_, _| {});
        }
        self.stored = nodes;
    }

    /// A user's choice was stored.
    pub(crate) fn on_choice(&mut self, user: &UserId, choice: Choice, revision: u64, now: Now) {
        self.wake(now);
        self.revision = revision;
        self.table.choose(user, choice, now);
        self.tell_changes(now);
    }

    /// It was stored that a node lives, or does not.
    pub(crate) fn on_stored(&mut self, name: String, lives: bool, revision: u64, now: Now) {
        self.wake(now);
        self.revision = revision;
        if lives {
            self.with_node(&name, now, |_, _| {});
            self.stored.insert(name);
        } else {
            self.stored.remove(&name);
        }
    }
}

/// Brings a node's reports into the tables.
fn perform(steps: Vec<Step>, node: &mut Node, table: &mut Table, now: Now) {
    for step in steps {
        match step {
            Step::Apply(report) => table.apply(node, &report, now),
            Step::Replace(parts) => table.replace(node, &parts, now),
            Step::End => {
                node.ended = true;
                table.clear(node, now);
            }
        }
    }
}
