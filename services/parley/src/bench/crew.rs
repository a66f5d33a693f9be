//! All workers: started, given phases, asked for their verdict.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::checker::Faults;
use super::schedule::{Key, Schedule};
use super::tally::Tally;
use super::worker::Worker;

/// A member of a room, and where he connects.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) server: String,
    pub(super) token: String,
}

/// A conversation and its members; the first ones send.
#[derive(Debug, Clone)]
pub(super) struct RoomPlan {
    pub(super) conversation_id: String,
    pub(super) members: Vec<Seat>,
}

/// One load on all rooms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    /// From 1, rising.
    pub(super) number: u8,
    pub(super) start: Instant,
    pub(super) schedule: Schedule,
    /// How long nothing may come before what is missing counts as never coming.
    pub(super) patience: Duration,
    /// Whether every member confirms every message as delivered and read.
    pub(super) confirms: bool,
    /// How long nothing must have come before the phase is over, though all messages have: for receipts, of which
    /// nobody knows how many will come.
    pub(super) quiet: Duration,
}

/// What is the same in all phases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// In each room the first so many members send.
    pub(super) senders: usize,
    pub(super) text_bytes: usize,
}

impl Phase {
    /// Before the first one.
    pub(super) fn none() -> Self {
        let none = Duration::ZERO;
        let schedule = Schedule {
            rate: 1.0,
            warm_up: none,
            measured: none,
            workers: 1,
            worker: 0,
        };
        Self {
            number: 0,
            start: Instant::now(),
            schedule,
            patience: none,
            confirms: false,
            quiet: none,
        }
    }
}

/// What came of all phases.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) faults: Faults,
    /// Sockets that ended before they should.
    pub(super) closed: u64,
    /// Each conversation with the `seq` of its last event.
    pub(super) heads: Vec<(String, u64)>,
    /// Some conversations with all their messages, to be compared with the history.
    pub(super) samples: Vec<(String, Vec<(u64, Key)>)>,
    /// Of each room, in no order, the `seq` of the last message that each member has confirmed.
    pub(super) confirmed: Vec<Vec<u64>>,
}

enum Order {
    Run(Phase, oneshot::Sender<anyhow::Result<Tally>>),
    End(oneshot::Sender<Verdict>),
}

/// See the module.
pub(super) struct Crew {
    orders: Vec<mpsc::UnboundedSender<Order>>,
    threads: Vec<JoinHandle<()>>,
    /// Acks so far, of all workers and phases.
    pub(super) acked: Arc<AtomicU64>,
}

impl Crew {
    /// Deals the rooms to `workers` threads and opens all sockets.
    ///
    /// # Errors
    /// A socket cannot be opened.
    pub(super) async fn start(rooms: Vec<RoomPlan>, workers: usize, load: Load) -> anyhow::Result<Self> {
        let workers = workers.clamp(1, rooms.len().max(1));
        let mut shares: Vec<Vec<RoomPlan>> = vec![Vec::new(); workers];
        for (number, room) in rooms.into_iter().enumerate() {
            shares[number % workers].push(room);
        }
        let acked = Arc::<AtomicU64>::default();
        let mut crew = Self {
            orders: Vec::new(),
            threads: Vec::new(),
            acked: acked.clone(),
        };
        let mut started = Vec::new();
        for share in shares {
            let (orders, inbox) = mpsc::unbounded_channel();
            let (ready, is_ready) = oneshot::channel();
            let acked = acked.clone();
            let work = move || {
                let start = async { Worker::start(share, load, acked).await };
                run_worker(start, ready, inbox);
            };
            crew.threads
                .push(std::thread::Builder::new().name("load".to_owned()).spawn(work)?);
            crew.orders.push(orders);
            started.push(is_ready);
        }
        for is_ready in started {
            is_ready.await.map_err(|_| gone())??;
        }
        Ok(crew)
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> u64 {
        self.orders.len() as u64
    }

    /// Runs a phase on all workers and adds up what they counted.
    ///
    /// # Errors
    /// A worker is gone.
    pub(super) async fn run(&self, phase: Phase) -> anyhow::Result<Tally> {
        let mut answers = Vec::new();
        for (worker, orders) in self.orders.iter().enumerate() {
            let (reply, answer) = oneshot::channel();
            let schedule = Schedule {
                worker: worker as u64,
                ..phase.schedule
            };
            orders
                .send(Order::Run(Phase { schedule, ..phase }, reply))
                .map_err(|_| gone())?;
            answers.push(answer);
        }
        let mut sum = Tally::new(phase.start)?;
        for answer in answers {
            sum.add(&answer.await.map_err(|_| gone())??);
        }
        Ok(sum)
    }

    /// Closes all sockets and gives the verdict.
    ///
    /// # Errors
    /// A worker is gone.
    pub(super) async fn end(self) -> anyhow::Result<Verdict> {
        let mut sum = Verdict::default();
        for orders in &self.orders {
            let (reply, answer) = oneshot::channel();
            orders.send(Order::End(reply)).map_err(|_| gone())?;
            let one = answer.await.map_err(|_| gone())?;
            sum.faults.add(one.faults);
            sum.closed += one.closed;
            sum.heads.extend(one.heads);
            sum.samples.extend(one.samples);
            sum.confirmed.extend(one.confirmed);
        }
        for thread in self.threads {
            thread.join().map_err(|_| gone())?;
        }
        Ok(sum)
    }
}

fn gone() -> anyhow::Error {
    anyhow!("a thread of the load generator is gone")
}

/// One worker's thread, from its start to `Order::End`.
fn run_worker(
    start: impl Future<Output = anyhow::Result<std::rc::Rc<Worker>>>,
    ready: oneshot::Sender<anyhow::Result<()>>,
    mut inbox: mpsc::UnboundedReceiver<Order>,
) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime");
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    LocalSet::new().block_on(&runtime, async {
        let worker = match start.await {
            Ok(worker) => worker,
            Err(error) => return drop(ready.send(Err(error))),
        };
        // Whoever asked may have given up; then the inbox is closed, too.
        let _ = ready.send(Ok(()));
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Run(phase, reply) => drop(reply.send(worker.run(phase).await)),
                Order::End(reply) => return drop(reply.send(worker.verdict())),
            }
        }
    });
}
