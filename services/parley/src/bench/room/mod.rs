//! `parley bench room`: one large group, a part of it online, every message confirmed by everybody as delivered and read.
//!
//! Each size is measured twice, without and with receipts; what they cost is the difference. So a cost that grows with
//! the square of the group's size cannot hide behind the deliveries, which are many, too.

mod curve;
mod report;
mod step;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use super::crew::{Crew, Load};
use super::people::People;
use super::store::Store;
use super::target::{self, Target};
use super::traffic::{STORING, prove, rate};

pub(super) use report::Report;
use report::{Row, growth};

/// One process holds 20,000 open files at most, here and on the server.
const SOCKETS_MOST: usize = 18_000;
/// How long the watermarks may take to MongoDB after the last receipt was sent.
const MARKS: Duration = Duration::from_secs(60);
/// Between two sizes: the sockets of the one before are closed meanwhile.
const BETWEEN: Duration = Duration::from_secs(3);

/// What `parley bench room` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Members of the group
    #[arg(long, value_name = "M", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(3..=10_000))]
    members: u64,
    /// How many of them are online
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(3..=18_000))]
    online: u64,
    /// Instead: groups of these sizes one after the other, all members online, such as 50,100,200,500,1000,2000
    #[arg(long, value_name = "N,…", value_delimiter = ',', conflicts_with_all = ["members", "online"],
          value_parser = clap::value_parser!(u64).range(3..=10_000))]
    series: Vec<u64>,
    /// Messages a second
    #[arg(long, value_name = "R", default_value_t = 10.0, value_parser = rate)]
    rate: f64,
    /// How many of the members online send, in turn
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=18_000))]
    senders: u64,
    /// Seconds measured, after the warm-up; twice, without and with receipts
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Seconds of the same load before, not measured
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=600))]
    warm_up: u64,
    /// Length of each text
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=4_000))]
    text_bytes: u64,
    /// Draw what receipts cost over the group's size into this SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    pub(super) target: target::Options,
}

impl Options {
    /// Members and how many of them are online, of each group.
    fn sizes(&self) -> Vec<(usize, usize)> {
        match self.series.as_slice() {
            [] => vec![(self.members as usize, self.online.min(self.members) as usize)],
            series => series.iter().map(|size| (*size as usize, *size as usize)).collect(),
        }
    }
}

/// Measures all groups.
///
/// # Errors
/// Something that the measurement needs does not answer.
pub(super) async fn run(options: &Options, target: &Target) -> anyhow::Result<Report> {
    let people = People::new(target.data.path())?;
    let store = Store::of(&target.data).await?;
    let receipts = step::receipts_log(&target.data).await?;
    let (mut rows, mut first_user) = (Vec::new(), 0);
    for (members, online) in options.sizes() {
        let bench = Bench {
            options,
            target,
            people: &people,
            store: &store,
            receipts: &receipts,
        };
        let row = bench.group(first_user, members, online).await?;
        eprintln!("parley: {}", row.line());
        rows.push(row);
        first_user += members;
        tokio::time::sleep(BETWEEN).await;
    }
    let report = Report {
        scenario: "room",
        rate: options.rate,
        senders: options.senders,
        seconds: options.seconds,
        text_bytes: options.text_bytes,
        growth: growth(&rows),
        rows,
    };
    if let Some(path) = &options.svg {
        let drawing = curve::draw(&report.curve());
        std::fs::write(path, drawing).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report)
}

struct Bench<'a> {
    options: &'a Options,
    target: &'a Target,
    people: &'a People,
    store: &'a Store,
    receipts: &'a bus::Log,
}

impl Bench<'_> {
    /// One group: made, loaded without and with receipts, and proved.
    async fn group(&self, first_user: usize, members: usize, online: usize) -> anyhow::Result<Row> {
        let each = online.div_ceil(self.target.servers.len().max(1));
        ensure!(
            online <= SOCKETS_MOST && each <= SOCKETS_MOST,
            "{online} sockets are more than one process may hold"
        );
        eprintln!("parley: a group of {members}, opening {online} sockets");
        let before = self.store.count().await?;
        let mut plan = self.people.room(self.target, first_user..first_user + members).await?;
        plan.members.truncate(online);
        let seat = plan.members.first().context("a group without members")?.clone();
        let id = plan.conversation_id.clone();
        let base = before + 1;
        self.store.wait(base, STORING).await?;
        let load = Load {
            senders: (self.options.senders as usize).min(online),
            text_bytes: self.options.text_bytes as usize,
        };
        let crew = Crew::start(vec![plan], 1, load).await?;
        let quiet = self.step(&crew, base, 1).await?;
        let full = self.step(&crew, base, 2).await?;
        let verdict = crew.end().await?;
        let confirmed = verdict.confirmed.first().cloned().unwrap_or_default();
        let proof = prove(self.store, self.people, vec![(id.clone(), seat.clone())], verdict).await?;
        let marks_missing = self.marks_missing(&seat, &id, first_user, &confirmed).await?;
        Ok(Row {
            members,
            online,
            quiet,
            full,
            marks_missing,
            proof,
        })
    }

    /// How many members' watermarks do not show what they have confirmed, when all had time to.
    async fn marks_missing(
        &self,
        seat: &super::crew::Seat,
        id: &str,
        first_user: usize,
        confirmed: &[u64],
    ) -> anyhow::Result<u64> {
        let start = std::time::Instant::now();
        loop {
            let marks: std::collections::HashMap<_, _> = self
                .people
                .members(seat, id)
                .await?
                .into_iter()
                .map(|it| (it.user_id, (it.delivered_seq, it.read_seq)))
                .collect();
            let mut missing = 0;
            for (place, seq) in confirmed.iter().enumerate() {
                let known = marks.get(&self.people.user(first_user + place)?);
                let is_there = known.is_some_and(|(delivered, read)| delivered >= seq && read >= seq);
                missing += u64::from(!is_there);
            }
            if missing == 0 || start.elapsed() > MARKS {
                return Ok(missing);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}
