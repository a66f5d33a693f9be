//! What the operating system and the runtime say of this process, read when somebody asks. Linux only: elsewhere these
//! series are not there.

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::catalogue::Metric;

/// In the order of [`values`].
pub(super) const METRICS: [Metric; 9] = [
    Metric::counter(
        "process_cpu_seconds_total",
        "Processor time that this process has used.",
    )
    .of_process(),
    Metric::gauge(
        "process_resident_memory_bytes",
        "Memory that this process holds in RAM.",
    )
    .of_process(),
    Metric::gauge("process_virtual_memory_bytes", "Address space of this process.").of_process(),
    Metric::gauge("process_threads", "Threads of this process.").of_process(),
    Metric::gauge("process_open_fds", "Open file descriptors: each socket is one.").of_process(),
    Metric::gauge("process_max_fds", "File descriptors that this process may open.").of_process(),
    Metric::gauge(
        "process_start_time_seconds",
        "When this process began, in seconds since the epoch.",
    )
    .of_process(),
    Metric::gauge(
        "parley_runtime_tasks",
        "Tasks of the asynchronous runtime that are alive.",
    )
    .of_process(),
    Metric::counter(
        "parley_runtime_busy_seconds_total",
        "Time that the runtime's worker threads have spent on tasks, of all workers together.",
    )
    .of_process(),
];

/// Kernel ticks of processor time in a second: 100 on every Linux that is in use.
const TICKS: f64 = 100.0;

/// Called early in the process's life, so that its beginning is known.
pub(super) fn started_at() -> f64 {
    static STARTED: OnceLock<f64> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0.0, |it| it.as_secs_f64())
    })
}

pub(super) fn render(text: &mut String) {
    for (metric, value) in METRICS.iter().zip(values()) {
        let Some(value) = value else { continue };
        let (name, kind) = (metric.name, metric.kind.as_str());
        let _ = writeln!(
            text,
            "# HELP {name} {}\n# TYPE {name} {kind}\n{name} {value}",
            metric.help
        );
    }
}

fn values() -> [Option<f64>; METRICS.len()] {
    let stat = std::fs::read_to_string("/proc/self/stat").ok();
    let stat = stat.as_deref().and_then(Stat::parse);
    let descriptors = std::fs::read_dir("/proc/self/fd").ok();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let runtime = tokio::runtime::Handle::try_current().ok().map(|it| it.metrics());
    let busy = runtime.as_ref().map(|it| {
        let each = (0..it.num_workers()).map(|worker| it.worker_total_busy_duration(worker).as_secs_f64());
        each.sum()
    });
    [
        stat.as_ref().map(|it| it.cpu_seconds),
        resident_bytes(),
        stat.as_ref().map(|it| it.virtual_bytes),
        stat.as_ref().map(|it| it.threads),
        // One of them is the look itself.
        descriptors.map(|it| it.count().saturating_sub(1) as f64),
        most_descriptors(&limits),
        Some(started_at()),
        runtime.map(|it| it.num_alive_tasks() as f64),
        busy,
    ]
}

struct Stat {
    cpu_seconds: f64,
    threads: f64,
    virtual_bytes: f64,
}

impl Stat {
    /// Of `/proc/self/stat`: what follows the name, which may hold anything, even brackets.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(11)? + field(12)?) / TICKS,
            threads: field(17)?,
            virtual_bytes: field(20)?,
        })
    }
}

/// In bytes already, whatever the size of a page.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kib = line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()?;
    Some(kib * 1024.0)
}

/// The soft limit; none where it is unlimited.
fn most_descriptors(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|it| it.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_holds_brackets_and_blanks_is_read_as_any_other() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 12 0 100 4096000 33 1 1";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(
            (stat.cpu_seconds, stat.threads, stat.virtual_bytes),
            (4.0, 12.0, 4_096_000.0)
        );
    }

    #[test]
    fn the_soft_limit_of_open_files_is_the_first_number() {
        let limits = "Max processes   unlimited   unlimited   processes\nMax open files   20000   65536   files\n";
        assert_eq!(most_descriptors(limits), Some(20_000.0));
        assert_eq!(
            most_descriptors("Max open files   unlimited   unlimited   files\n"),
            None
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_open_files() {
        let values = values();
        assert!(values[1].is_some_and(|it| it > 100_000.0), "{values:?}");
        assert!(values[4].is_some_and(|it| (1.0..100_000.0).contains(&it)), "{values:?}");
    }
}
