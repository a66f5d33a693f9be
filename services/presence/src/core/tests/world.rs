//! Nodes, replicas and what lies between them, in ticks of 50 ms. What is said in a tick is heard in the next.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use protocol::client_frame::ChosenStatus;
use protocol::rpc::{LookAround, Sight};
use protocol::signal::{Report, Signal, Signals, Snapshot};
use protocol::{Timestamp, UserId};

use super::node::FakeNode;
use crate::core::{Beat, Choice, Core, Effect, Now};

pub(super) const TICK: Duration = Duration::from_millis(50);
pub(super) const LEASE: Duration = Duration::from_secs(10);

/// How a replica is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// Stopped; what it would have heard waits for it.
    Paused,
    /// Without a link: what it would have heard is lost.
    Cut,
    Killed,
}

/// What happens to a message on its way to the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Lost,
    Doubled,
    /// It comes after the next one.
    Overtaken,
}

#[derive(Debug, Clone)]
enum Input {
    Report(Report),
    Part(u64, Snapshot),
    Absent(String, u64),
    Signals(String, Signals),
    Beat(Beat),
    Choice(UserId, Choice, u64),
    Stored(String, bool, u64),
    Loaded(HashMap<UserId, Choice>, HashSet<String>, u64),
}

#[derive(Debug)]
pub(super) struct Replica {
    pub(super) core: Core,
    pub(super) health: Health,
    name: String,
    inbox: VecDeque<Input>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Now,
    start: Instant,
    pub(super) nodes: Vec<FakeNode>,
    pub(super) replicas: Vec<Replica>,
    /// Every signal, when and by which replica.
    pub(super) told: Vec<(Duration, usize, Signal)>,
    /// What clients who asked were shown, with how many signals had been told by then.
    pub(super) looks: Vec<(usize, LookAround, Sight)>,
    pub(super) messages: usize,
    pub(super) seen: HashMap<UserId, Timestamp>,
    pub(super) choices: HashMap<UserId, Choice>,
    pub(super) stored: HashSet<String>,
    revision: u64,
    /// What a replica hears in a tick, at most; beats overtake the rest, as on subscriptions of their own.
    pub(super) hears_most: usize,
    /// What happens to the next reports of all nodes.
    pub(super) fates: VecDeque<Fate>,
    overtaken: Option<Report>,
}

impl World {
    /// So many nodes and replicas, all of them ready.
    pub(super) fn new(nodes: usize, replicas: usize) -> Self {
        let start = Instant::now();
        let now = Now {
            at: start,
            time: Timestamp::from_millis(1_700_000_000_000),
        };
        let mut world = Self {
            now,
            start,
            nodes: (0..nodes).map(|n| FakeNode::new(&format!("node{n}"))).collect(),
            replicas: Vec::new(),
            told: Vec::new(),
            looks: Vec::new(),
            messages: 0,
            seen: HashMap::new(),
            choices: HashMap::new(),
            stored: HashSet::new(),
            revision: 0,
            hears_most: usize::MAX,
            fates: VecDeque::new(),
            overtaken: None,
        };
        for _ in 0..replicas {
            world.start_replica();
        }
        world.run(Duration::from_secs(3));
        assert!(world.replicas.iter().all(|it| it.core.is_ready()));
        world
    }

    /// Starts another replica and gives its place.
    pub(super) fn start_replica(&mut self) -> usize {
        let name = format!("replica{}", self.replicas.len());
        let mut core = Core::new(name.clone(), LEASE, self.now);
        core.on_loaded(self.choices.clone(), self.stored.clone(), self.revision, self.now);
        self.replicas.push(Replica {
            core,
            health: Health::Well,
            name,
            inbox: VecDeque::new(),
        });
        self.replicas.len() - 1
    }

    /// A client asks a replica about a room and some users, and is answered if it knows what is so.
    pub(super) fn look(&mut self, replica: usize, request: LookAround) {
        let Replica { core, health, .. } = &mut self.replicas[replica];
        if *health == Health::Well && core.is_current(None, self.now) {
            let sight = core.look_around(&request);
            self.looks.push((self.told.len(), request, sight));
        }
    }

    pub(super) fn set_health(&mut self, replica: usize, health: Health) {
        let now = self.now;
        let Replica {
            core, health: known, ..
        } = &mut self.replicas[replica];
        let before = std::mem::replace(known, health);
        if (before == Health::Cut) != (health == Health::Cut) && health != Health::Killed {
            core.on_link(now);
        }
        if before == Health::Cut && health != Health::Cut {
            // Whoever follows the bucket reads it again when the link is back.
            let loaded = Input::Loaded(self.choices.clone(), self.stored.clone(), self.revision);
            self.replicas[replica].inbox.push_back(loaded);
        }
    }

    /// A replica takes leave and is gone.
    pub(super) fn stop_replica(&mut self, replica: usize) {
        self.replicas[replica].core.leave(self.now);
        self.perform(replica);
        self.replicas[replica].health = Health::Killed;
    }

    /// A node ends in good order.
    pub(super) fn end_node(&mut self, node: usize) {
        let report = self.nodes[node].end();
        self.say(&Input::Report(report));
    }

    /// The user chooses, on some session.
    pub(super) fn choose(&mut self, user: &UserId, status: ChosenStatus) {
        self.revision += 1;
        let choice = Choice {
            status,
            session_id: Some("session".into()),
        };
        self.choices.insert(user.clone(), choice.clone());
        self.say(&Input::Choice(user.clone(), choice, self.revision));
    }

    pub(super) fn run(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / TICK.as_millis() {
            self.tick();
        }
    }

    pub(super) fn tick(&mut self) {
        self.now.at += TICK;
        self.now.time = Timestamp::from_millis(self.now.time.as_millis() + 50);
        for node in 0..self.nodes.len() {
            if let Some(report) = self.nodes[node].tick() {
                self.carry(report);
            }
        }
        for replica in 0..self.replicas.len() {
            if matches!(self.replicas[replica].health, Health::Well | Health::Cut) {
                self.hear(replica);
            }
        }
        for replica in 0..self.replicas.len() {
            self.perform(replica);
        }
    }

    /// The time since the world began.
    pub(super) fn elapsed(&self) -> Duration {
        self.now.at - self.start
    }

    fn carry(&mut self, report: Report) {
        match self.fates.pop_front() {
            None => self.say(&Input::Report(report)),
            Some(Fate::Lost) => {}
            Some(Fate::Doubled) => {
                self.say(&Input::Report(report.clone()));
                self.say(&Input::Report(report));
            }
            Some(Fate::Overtaken) => {
                if let Some(before) = self.overtaken.replace(report) {
                    self.say(&Input::Report(before));
                }
                return;
            }
        }
        if let Some(late) = self.overtaken.take() {
            self.say(&Input::Report(late));
        }
    }

    fn say(&mut self, input: &Input) {
        for replica in &mut self.replicas {
            replica.put(input.clone());
        }
    }

    fn hear(&mut self, replica: usize) {
        let (now, replica) = (self.now, &mut self.replicas[replica]);
        let core = &mut replica.core;
        replica
            .inbox
            .make_contiguous()
            .sort_by_key(|it| !matches!(it, Input::Beat(_)));
        let count = replica.inbox.len().min(self.hears_most);
        for input in replica.inbox.drain(..count) {
            match input {
                Input::Report(report) => core.on_report(report, now),
                Input::Part(ask, snapshot) => core.on_part(ask, snapshot, now),
                Input::Absent(node, ask) => core.on_absent(&node, ask, now),
                Input::Signals(from, signals) => core.on_signals(Some(&from), signals, now),
                Input::Beat(beat) => core.on_beat(beat, now),
                Input::Choice(user, choice, revision) => core.on_choice(&user, choice, revision, now),
                Input::Stored(node, lives, revision) => core.on_stored(node, lives, revision, now),
                Input::Loaded(choices, nodes, revision) => core.on_loaded(choices, nodes, revision, now),
            }
        }
        core.tick(now);
    }

    fn perform(&mut self, place: usize) {
        let effects = self.replicas[place].core.take_effects();
        let name = self.replicas[place].name.clone();
        if self.replicas[place].health == Health::Cut {
            return;
        }
        for effect in effects {
            match effect {
                Effect::Ask { node, ask } => self.answer(place, &node, ask),
                Effect::Tell(signals) => {
                    self.messages += 1;
                    let at = self.elapsed();
                    self.told.extend(signals.iter().map(|it| (at, place, it.clone())));
                    self.say(&Input::Signals(name.clone(), Signals { signals }));
                }
                Effect::StoreSeen(user, time) => {
                    self.seen.insert(user, time);
                }
                Effect::StoreNode(node) => self.store(node, true),
                Effect::ForgetNode(node) => self.store(node, false),
                Effect::Hello => self.nodes.iter_mut().for_each(FakeNode::on_hello),
                Effect::Ready => {}
                Effect::Beat { number, speaks } => {
                    let replica = name.clone();
                    self.say(&Input::Beat(Beat {
                        replica,
                        number,
                        speaks,
                    }));
                }
            }
        }
    }

    fn answer(&mut self, replica: usize, name: &str, ask: u64) {
        let node = self.nodes.iter().find(|it| it.name == name && it.alive);
        let inputs = match node {
            Some(node) if node.stopped => return,
            Some(node) => node.snapshot().into_iter().map(|it| Input::Part(ask, it)).collect(),
            None => vec![Input::Absent(name.to_owned(), ask)],
        };
        for input in inputs {
            self.replicas[replica].put(input);
        }
    }

    fn store(&mut self, node: String, lives: bool) {
        self.revision += 1;
        if lives {
            self.stored.insert(node.clone());
        } else {
            self.stored.remove(&node);
        }
        self.say(&Input::Stored(node, lives, self.revision));
    }
}

impl Replica {
    fn put(&mut self, input: Input) {
        if matches!(self.health, Health::Well | Health::Paused) {
            self.inbox.push_back(input);
        }
    }
}
