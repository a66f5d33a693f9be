//! `parley bench presence`: the node with thousands of sessions dies at once. When are those told who watch from another
//! node, is nobody else shown as offline, and what does it cost?

mod report;
mod watch;
mod watcher;

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::UserId;
use protocol::server_frame::Status;
use tokio::process::Child;
use tokio::time::sleep;

use super::crew::Seat;
use super::hold::{Holding, spawn_holder};
use super::people::People;
use super::target::{self, Target};
use super::usage::Snapshot;
pub(super) use report::Report;
use watch::Cast;
use watcher::Watchers;

/// A process may have 20,000 files open: neither a holder nor a connection replica gets more sockets than this.
const SOCKETS_MOST: u64 = 18_000;
/// Users of one group, so that there are several.
const GROUP: usize = 5_000;
/// Until everybody is told that everybody is online.
const ONLINE: Duration = Duration::from_secs(90);
/// Until everybody is told that the dead are offline; the contract says 30 s.
const OFFLINE: Duration = Duration::from_secs(60);
/// What opening the sockets leaves to be done is over by then.
const SETTLE: Duration = Duration::from_secs(5);
/// Longer than any lease: whoever is still online then was not counted as dead by mistake.
const AFTER: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);
/// Users whose presence is asked for at the end, of each kind.
const ASKED: usize = 100;

/// What `parley bench presence` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Users whose only session is on the node that dies
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(1..=SOCKETS_MOST))]
    sessions: u64,
    /// Users with a session on each node, who must stay online
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=2_000))]
    both: u64,
    /// Users whose session is on the other node, who must stay online
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(0..=SOCKETS_MOST))]
    others: u64,
    /// Sockets on the other node that are subscribed to all rooms
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    watchers: u64,
    #[command(flatten)]
    pub(super) target: target::Options,
}

impl Options {
    fn cast(&self) -> Cast {
        let watchers = 0..self.watchers as usize;
        let follow = |before: &Range<usize>, count: u64| before.end..before.end + count as usize;
        let dying = follow(&watchers, self.sessions);
        let both = follow(&dying, self.both);
        let others = follow(&both, self.others);
        Cast {
            watchers,
            dying,
            both,
            others,
        }
    }
}

/// Opens all sessions, kills the node, and watches.
///
/// # Errors
/// Something that the measurement needs does not answer.
pub(super) async fn run(options: &Options, target: &Target) -> anyhow::Result<Report> {
    let [dying_node, other_node, ..] = target.servers.as_slice() else {
        anyhow::bail!("two connection replicas are needed: --replicas connection=2");
    };
    for sockets in [
        options.sessions + options.both,
        options.others + options.both + options.watchers,
    ] {
        ensure!(
            sockets <= SOCKETS_MOST,
            "{sockets} sockets on one node are more than {SOCKETS_MOST}"
        );
    }
    let people = People::new(target.data.path())?;
    let cast = options.cast();
    eprintln!("parley: making groups of {} users", cast.others.end);
    let rooms = rooms(&people, target, &cast).await?;
    let seats = watcher_seats(&people, &cast, other_node)?;
    let watchers = Watchers::start(&seats, &rooms, people.run(), &cast).await?;

    eprintln!(
        "parley: opening {} sessions",
        options.sessions + 2 * options.both + options.others
    );
    let before = Snapshot::take(&target.data);
    let start = Instant::now();
    let hold = async |server: &str, numbers: &Range<usize>, is_to_die: bool| {
        hold(target, &people, server, numbers, is_to_die).await
    };
    let dead = [
        hold(dying_node, &cast.dying, true).await?,
        hold(dying_node, &cast.both, true).await?,
    ];
    let alive = [
        hold(other_node, &cast.both, false).await?,
        hold(other_node, &cast.others, false).await?,
    ];
    let opened = start.elapsed();
    let all_online = watchers.wait(ONLINE, |it| it.all_online()).await;
    let online_after = start.elapsed().saturating_sub(opened);
    sleep(SETTLE).await;
    let opening = Snapshot::take(&target.data).since(&before, start.elapsed().as_secs_f64());

    let pid = target.data.pid("connection-0");
    let pid = pid.context("connection-0 is no process of its own: start the deployment with --separate")?;
    let before = Snapshot::take(&target.data);
    let killed_at = Instant::now();
    watchers.killed(killed_at);
    kill(Pid::from_raw(pid), Signal::SIGKILL).context("cannot kill connection-0")?;
    eprintln!("parley: connection-0 is killed");
    watchers.wait(OFFLINE, |it| it.all_offline()).await;
    let dying = Snapshot::take(&target.data).since(&before, killed_at.elapsed().as_secs_f64());
    sleep(AFTER).await;

    let seat = seats.first().context("no watcher")?;
    let wrong = wrong_over_http(&people, seat, &cast).await?;
    let mut are_alive = true;
    for mut holder in alive.into_iter().flatten() {
        are_alive &= holder.try_wait()?.is_none();
    }
    drop(dead);
    Ok(Report {
        scenario: "presence",
        sessions: options.sessions,
        both: options.both,
        others: options.others,
        watchers: options.watchers,
        rooms: rooms.len(),
        open_seconds: opened.as_secs_f64(),
        online_after_seconds: all_online.then_some(online_after.as_secs_f64()),
        opening,
        dying,
        wrong_over_http: wrong,
        others_closed: !are_alive,
        ..watchers.end()?
    })
}

/// Everybody is in one group, the watchers are in all.
async fn rooms(people: &People, target: &Target, cast: &Cast) -> anyhow::Result<Vec<String>> {
    let users: Vec<usize> = (cast.dying.start..cast.others.end).collect();
    let mut rooms = Vec::new();
    // Dealt like cards, so that each group has users of each kind.
    let count = users.len().div_ceil(GROUP);
    for first in 0..count {
        let numbers = cast
            .watchers
            .clone()
            .chain(users.iter().copied().skip(first).step_by(count));
        rooms.push(people.room(target, numbers).await?.conversation_id);
    }
    Ok(rooms)
}

fn watcher_seats(people: &People, cast: &Cast, server: &str) -> anyhow::Result<Vec<Seat>> {
    let seat = |number: usize| {
        let token = people.token(&people.user(number)?)?;
        anyhow::Ok(Seat {
            server: server.to_owned(),
            token,
        })
    };
    cast.watchers.clone().map(seat).collect()
}

async fn hold(
    target: &Target,
    people: &People,
    server: &str,
    numbers: &Range<usize>,
    is_to_die: bool,
) -> anyhow::Result<Option<Child>> {
    if numbers.is_empty() {
        return Ok(None);
    }
    let holding = Holding {
        servers: vec![server.to_owned()],
        run: Some(people.run().to_owned()),
        first: numbers.start as u64,
        sockets: numbers.len() as u64,
        is_to_die,
    };
    spawn_holder(target, &holding).await.map(Some)
}

/// How many of some users of each kind appear over HTTP as they should not.
async fn wrong_over_http(people: &People, seat: &Seat, cast: &Cast) -> anyhow::Result<u64> {
    let mut wrong = 0;
    for (numbers, status) in [
        (&cast.dying, Status::Offline),
        (&cast.both, Status::Online),
        (&cast.others, Status::Online),
    ] {
        let users: Vec<UserId> = numbers
            .clone()
            .take(ASKED)
            .map(|it| people.user(it))
            .collect::<anyhow::Result<_>>()?;
        if users.is_empty() {
            continue;
        }
        let shown = people.presence(seat, &users).await?;
        let right = shown.iter().filter(|it| it.status == status).count();
        wrong += users.len().saturating_sub(right) as u64;
    }
    Ok(wrong)
}
