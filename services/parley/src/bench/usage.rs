//! CPU seconds and memory of the deployment's processes, and of this one, as the kernel counts them.

use std::fs;

use serde::Serialize;

use crate::data_dir::DataDir;

/// `USER_HZ`: what `/proc` counts in, the same on every Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// What the load generator is called.
const OWN: &str = "load generator";

/// A process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) pid: i32,
    ticks: u64,
    pub(super) rss_kib: u64,
}

/// All processes at one moment; the load generator is the last.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) processes: Vec<Process>,
    /// Ticks in which any core of this machine was busy.
    busy: u64,
}

/// CPU of one process over a span of time.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Cpu {
    pub(super) name: String,
    pub(super) seconds: f64,
    /// Of one core, on average.
    pub(super) cores: f64,
}

/// CPU of all servers over a span of time, the load generator's apart.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct CpuSpan {
    pub(super) servers: Vec<Cpu>,
    pub(super) load_generator: Option<Cpu>,
    /// Cores that anything else on this machine kept busy: if it is much, the figures are too bad.
    pub(super) others_cores: f64,
    /// A process that was started again in between: its figures are too low.
    pub(super) restarted: Vec<String>,
}

impl Snapshot {
    /// The servers are those in `pids`, and `parley up` itself, which in one process is all services.
    pub(super) fn take(data: &DataDir) -> Self {
        let mut names = data.children();
        names.sort_unstable();
        let children = names
            .into_iter()
            .filter_map(|name| data.pid(&name).map(|pid| (name, pid)));
        let up = fs::read_to_string(data.join("lock"))
            .ok()
            .and_then(|pid| pid.trim().parse().ok());
        let all = children.chain(up.map(|pid| ("up".to_owned(), pid)));
        let own = i32::try_from(std::process::id()).ok().map(|pid| (OWN.to_owned(), pid));
        Self {
            processes: all.chain(own).filter_map(|(name, pid)| read(name, pid)).collect(),
            busy: fs::read_to_string("/proc/stat")
                .ok()
                .and_then(|it| busy(&it))
                .unwrap_or_default(),
        }
    }

    /// What was used from `before` to this moment, `seconds` later.
    pub(super) fn since(&self, before: &Self, seconds: f64) -> CpuSpan {
        let mut span = CpuSpan::default();
        let mut ours = 0.0;
        for now in &self.processes {
            let Some(then) = before.processes.iter().find(|it| it.pid == now.pid) else {
                span.restarted.push(now.name.clone());
                continue;
            };
            let used = now.ticks.saturating_sub(then.ticks) as f64 / TICKS_A_SECOND;
            ours += used;
            let cpu = Cpu {
                name: now.name.clone(),
                seconds: used,
                cores: used / seconds,
            };
            match now.name == OWN {
                true => span.load_generator = Some(cpu),
                false => span.servers.push(cpu),
            }
        }
        let all = self.busy.saturating_sub(before.busy) as f64 / TICKS_A_SECOND;
        span.others_cores = (all - ours).max(0.0) / seconds;
        span
    }
}

impl CpuSpan {
    /// Of all servers.
    pub(super) fn seconds(&self) -> f64 {
        self.servers.iter().map(|it| it.seconds).sum()
    }
}

fn read(name: String, pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Process {
        name,
        pid,
        ticks: ticks(&stat)?,
        rss_kib: rss_kib(&status)?,
    })
}

/// User and system time: fields 14 and 15, counted after the name, which may hold blanks and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Of the first line of `/proc/stat`: everything but idle, waiting for a disk, and guests, who count as users.
fn busy(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(fields.iter().take(7).sum::<u64>() - fields.get(3)? - fields.get(4)?)
}

fn rss_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 120 30 5 6 20 0 1 0 99 100 200";
        assert_eq!(ticks(stat), Some(150));
        assert_eq!(busy("cpu  100 1 20 5000 300 2 3 4 50 0\ncpu0 1 2"), Some(126));
        assert_eq!(rss_kib("Name:\tx\nVmRSS:\t    5120 kB\n"), Some(5120));
    }

    #[test]
    fn what_servers_used_and_what_we_used_are_apart() {
        let process = |name: &str, pid, ticks| Process {
            name: name.into(),
            pid,
            ticks,
            rss_kib: 1,
        };
        let before = Snapshot {
            processes: vec![process("nats", 1, 100), process("mongod", 2, 0), process(OWN, 3, 50)],
            busy: 1_000,
        };
        let after = Snapshot {
            processes: vec![process("nats", 1, 300), process("mongod", 9, 5), process(OWN, 3, 100)],
            busy: 1_650,
        };
        let span = after.since(&before, 4.0);
        assert_eq!(
            (span.servers.len(), span.servers[0].cores, span.seconds()),
            (1, 0.5, 2.0)
        );
        assert_eq!(span.load_generator.map(|it| it.seconds), Some(0.5));
        assert_eq!((span.restarted, span.others_cores), (vec!["mongod".to_owned()], 1.0));
    }
}
