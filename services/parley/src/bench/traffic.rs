//! A load of messages on rooms: the phases, and what is measured around each. Pairs and groups differ only in shape.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep_until;

use super::crew::{Crew, Load, Phase, Seat, Verdict};
use super::jetstream::{self, Baseline};
use super::people::People;
use super::report::{Proof, Step, Traffic};
use super::schedule::{Key, Schedule};
use super::search::Search;
use super::store::Store;
use super::target::Target;
use super::usage::Snapshot;

/// Between the order to start and the first message, so that all workers start together.
pub(super) const LEAD: Duration = Duration::from_millis(100);
/// With nothing coming for so long, what is missing will never come.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long storing may take after the last ack.
pub(super) const STORING: Duration = Duration::from_secs(120);
/// A good rate: p99 from send to delivery, in milliseconds, as in the goals.
const GOOD_P99_MS: f64 = 100.0;
/// A good rate: everything is stored so soon after the last ack; else the rate cannot be kept up.
const GOOD_STORED: Duration = Duration::from_secs(2);
/// A phase has eight bits.
const PHASES_MOST: u8 = 100;

/// Load options of pairs and groups.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Messages a second, all conversations together; where --find-max begins
    #[arg(long, value_name = "R", default_value_t = 1_000.0, value_parser = rate)]
    pub(super) rate: f64,
    /// Seconds measured, after the warm-up
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(super) seconds: u64,
    /// Seconds of the same load before, not measured
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub(super) warm_up: u64,
    /// Length of each text
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=4_000))]
    pub(super) text_bytes: u64,
    /// Step the rate up to the highest one with p99 send to delivery of 100 ms or less, nothing lost, and all stored
    /// within 2 s of the last ack
    #[arg(long)]
    pub(super) find_max: bool,
    /// Then measure raw publishing of the same payload on the same NATS server, and print the ratio
    #[arg(long, value_enum)]
    pub(super) baseline: Option<Kind>,
    /// Threads of the load generator
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=16))]
    pub(super) workers: u64,
}

/// What to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Asynchronous JetStream publishing with a bounded window
    Jetstream,
}

/// How many conversations of how many members; the first `senders` of each send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) rooms: usize,
    pub(super) members: usize,
    pub(super) senders: usize,
}

/// A rate on the command line.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (1.0..=1e6).contains(rate));
    rate.ok_or_else(|| format!("a rate is a number from 1 to 1000000, not {text:?}"))
}

/// Everything from the first conversation to the verdict.
///
/// # Errors
/// Something that the measurement needs does not answer.
pub(super) async fn run(options: &Options, shape: Shape, target: &Target) -> anyhow::Result<Traffic> {
    let people = People::new(target.data.path())?;
    let store = Store::of(&target.data).await?;
    let before = store.count().await?;
    eprintln!(
        "parley: making {} conversations, opening {} sockets",
        shape.rooms,
        shape.rooms * shape.members
    );
    let rooms = people.rooms(target, shape.rooms, shape.members).await?;
    let seats = rooms
        .iter()
        .filter_map(|it| Some((it.conversation_id.clone(), it.members.first()?.clone())))
        .collect();
    let base = before + rooms.len() as u64;
    store.wait(base, STORING).await?;
    let load = Load {
        senders: shape.senders,
        text_bytes: options.text_bytes as usize,
    };
    let crew = Crew::start(rooms, options.workers as usize, load).await?;
    let mut bench = Bench {
        options,
        target,
        store,
        base,
        crew,
        phases: 0,
    };
    let (steps, best) = bench.steps().await?;
    let baseline = match options.baseline {
        Some(Kind::Jetstream) => Some(jetstream::measure(&target.data).await?),
        None => None,
    };
    let verdict = bench.crew.end().await?;
    let proof = prove(&bench.store, &people, seats, verdict).await?;
    Ok(report(shape, options, steps, best, baseline, proof))
}

struct Bench<'a> {
    options: &'a Options,
    target: &'a Target,
    store: Store,
    /// Events that were stored before the first message.
    base: u64,
    crew: Crew,
    phases: u8,
}

impl Bench<'_> {
    /// One step, or as many as the search takes; and the highest good rate.
    async fn steps(&mut self) -> anyhow::Result<(Vec<Step>, Option<f64>)> {
        if !self.options.find_max {
            return Ok((vec![self.step(self.options.rate).await?], None));
        }
        let mut search = Search::from(self.options.rate);
        let mut steps = Vec::new();
        while let Some(rate) = search.next().filter(|_| self.phases < PHASES_MOST) {
            let step = self.step(rate).await?;
            search.record(step.is_good);
            eprintln!("parley: {}", step.line());
            steps.push(step);
        }
        Ok((steps, search.best()))
    }

    async fn step(&mut self, rate: f64) -> anyhow::Result<Step> {
        self.phases += 1;
        let (warm_up, measured) = (
            Duration::from_secs(self.options.warm_up),
            Duration::from_secs(self.options.seconds),
        );
        let schedule = Schedule {
            rate,
            warm_up,
            measured,
            workers: self.crew.workers(),
            worker: 0,
        };
        let start = Instant::now() + LEAD;
        let phase = Phase {
            number: self.phases,
            start,
            schedule,
            patience: PATIENCE,
            confirms: false,
            quiet: Duration::ZERO,
        };
        let lag = self.store.lag(self.base, self.crew.acked.clone());
        let snapshot = async {
            sleep_until((start + warm_up).into()).await;
            (Snapshot::take(&self.target.data), Instant::now())
        };
        let (tally, (before, since)) = tokio::join!(self.crew.run(phase), snapshot);
        let tally = tally?;
        let acked = self.crew.acked.load(Ordering::Relaxed);
        let stored = self.store.wait(self.base + acked, STORING).await?;
        let span = since.elapsed().as_secs_f64();
        let cpu = Snapshot::take(&self.target.data).since(&before, span);
        let seen = lag.end();
        let stored_after = stored.map(|known| seen.stored_after(tally.last_ack, known));
        let end = start + schedule.length();
        let per_second = |count: u64, last: Instant| {
            let until = last.max(end);
            count as f64 / (until - (start + warm_up)).as_secs_f64()
        };
        let deliver = tally.deliver.percentiles();
        let is_whole = tally.acked == tally.sent && tally.delivered == tally.expected;
        Ok(Step {
            rate,
            sent: tally.sent,
            acked: tally.acked,
            unanswered: tally.sent.saturating_sub(tally.acked + tally.refusals()),
            undelivered: tally.expected.saturating_sub(tally.delivered),
            delivered: tally.delivered,
            acked_measured: tally.acked_measured,
            acked_per_second: per_second(tally.acked_measured, tally.last_ack),
            delivered_per_second: per_second(tally.delivered_measured, tally.last_delivery),
            ack_ms: tally.ack.percentiles(),
            deliver_ms: deliver,
            generator_late_ms: tally.late.percentiles(),
            stored_after_ms: stored_after.map(|it| it.as_secs_f64() * 1e3),
            stored_behind_most: seen.behind_most,
            is_good: is_whole && deliver.p99 <= GOOD_P99_MS && stored_after.is_some_and(|it| it <= GOOD_STORED),
            refused: tally.refused,
            cpu,
        })
    }
}

/// Compares what the sockets saw with what is stored, all of it by number and some conversations message by message.
///
/// # Errors
/// The server or MongoDB does not answer.
pub(super) async fn prove(
    store: &Store,
    people: &People,
    seats: Vec<(String, Seat)>,
    verdict: Verdict,
) -> anyhow::Result<Proof> {
    let missing = store.missing(&verdict.heads).await?;
    let mut history_differs = 0;
    let mut history_compared = 0;
    for (id, messages) in &verdict.samples {
        let Some((_, seat)) = seats.iter().find(|(room, _)| room == id) else {
            continue;
        };
        let history = people.history(seat, id).await?;
        let shown = history.iter().map(|(seq, client_id)| (*seq, Key::parse(client_id)));
        let seen = messages.iter().map(|(seq, key)| (*seq, Some(*key)));
        history_compared += messages.len() as u64;
        history_differs += u64::from(!shown.eq(seen));
    }
    let messages = verdict.heads.iter().map(|(_, head)| head - 1).sum();
    Ok(Proof {
        faults: verdict.faults,
        sockets_closed: verdict.closed,
        messages,
        missing,
        history_compared,
        history_differs,
    })
}

fn report(
    shape: Shape,
    options: &Options,
    steps: Vec<Step>,
    best: Option<f64>,
    baseline: Option<Baseline>,
    proof: Proof,
) -> Traffic {
    let fastest = match best {
        Some(best) => steps
            .iter()
            .filter(|it| it.rate == best)
            .map(|it| it.acked_per_second)
            .next_back(),
        None => steps.first().map(|it| it.acked_per_second),
    };
    let ratio = baseline
        .as_ref()
        .zip(fastest)
        .map(|(baseline, fastest)| fastest / baseline.acked_per_second);
    Traffic {
        scenario: shape.name,
        conversations: shape.rooms,
        members: shape.members,
        text_bytes: options.text_bytes,
        seconds: options.seconds,
        highest_good_rate: best,
        steps,
        baseline,
        ratio_to_baseline: ratio,
        proof,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_within_reason() {
        assert_eq!(rate("2500"), Ok(2_500.0));
        for text in ["0", "-1", "many", "NaN", "1e9"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
