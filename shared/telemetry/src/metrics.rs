//! The process's one metrics recorder, fed by the macros of the `metrics` crate, and what is shown beside it.
//!
//! What there is to record is declared by [`catalogue`] tables; what is recorded too often for the macros is in
//! [`latency`]; queues and the process itself are looked at when somebody asks.

mod catalogue;
mod latency;
mod process;
mod queues;

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use self::catalogue::Source;
pub use self::catalogue::{Kind, Label, Metric, Table, Values};
pub use self::latency::{Latency, Samples};
pub use self::queues::watch_queue;

/// Upper bounds of every histogram of seconds: from 0.5 ms, where a good send ends, over the objectives of 0.25 s and
/// 0.5 s and the 10 s at which clients give up, to two minutes, which only a push takes.
const BUCKETS_S: [f64; 17] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];

/// Upper bounds of histograms of how many things came together.
const BUCKETS_COUNT: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// The ends of their names.
const COUNTED: [&str; 1] = ["_requests"];

/// How often samples are moved into their buckets when nobody scrapes; they would pile up otherwise.
const UPKEEP: Duration = Duration::from_secs(5);

/// What this crate shows of every process. The services' own tables are in their `metrics` modules.
pub const METRICS: Table = &{
    const QUEUE: &[Label] = &[Label::each("queue", "bounded queue; see [queues](#queues)")];
    let own = [
        Metric::gauge(
            "parley_build_info",
            "Always 1: which service this is, and of which version.",
        )
        .with(&[
            Label::each("service", "service of the process"),
            Label::each("version", "version"),
            Label::each("revision", "revision that it was built from, or `unknown`"),
        ]),
        Metric::gauge(
            "parley_queue_depth",
            "How many wait in a bounded queue; of several of a kind the fullest.",
        )
        .with(QUEUE),
        Metric::gauge("parley_queue_capacity", "How many may wait in that queue.").with(QUEUE),
    ];
    let mut all = [own[0]; 3 + process::METRICS.len()];
    let mut index = 0;
    while index < all.len() {
        all[index] = if index < 3 {
            own[index]
        } else {
            process::METRICS[index - 3]
        };
        index += 1;
    }
    all
};

/// Reads the metrics of this process.
#[derive(Clone)]
pub struct MetricsHandle(Option<PrometheusHandle>);

impl MetricsHandle {
    /// All metrics in Prometheus' text form.
    pub fn render(&self) -> String {
        queues::measure();
        let mut text = self.0.as_ref().map(PrometheusHandle::render).unwrap_or_default();
        for metric in catalogue::declared().into_iter().flatten() {
            if let Source::Latencies(latencies) = metric.source {
                let _ = writeln!(text, "# HELP {0} {1}\n# TYPE {0} histogram", metric.name, metric.help);
                latencies.iter().for_each(|it| it.render(metric.name, &mut text));
            }
        }
        process::render(&mut text);
        text
    }
}

impl std::fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsHandle")
    }
}

/// Installs the process's recorder on the first call and hands out the same one ever after: several services may run
/// in one process. Histograms are in seconds, but for those whose names say that they count.
///
/// If another recorder was installed by other means, that one stays and the handle renders nothing of it.
pub fn metrics() -> MetricsHandle {
    static HANDLE: OnceLock<MetricsHandle> = OnceLock::new();
    HANDLE.get_or_init(install).clone()
}

/// Says which service runs in this process and what it records: from then on each metric has its help and, where the
/// values of its labels are known, its series at zero, so that rates and alerts work before anything has happened.
///
/// To be called before the service does anything else: handles of metrics that were made before go nowhere.
pub fn declare(service: &'static str, tables: &[Table]) {
    process::started_at();
    metrics();
    catalogue::declare(&[METRICS]);
    catalogue::declare(tables);
    let (version, revision) = (
        env!("CARGO_PKG_VERSION"),
        option_env!("PARLEY_REVISION").unwrap_or("unknown"),
    );
    metrics::gauge!("parley_build_info", "service" => service, "version" => version, "revision" => revision).set(1.0);
}

fn install() -> MetricsHandle {
    // Only an empty list of buckets is refused.
    let builder = COUNTED
        .iter()
        .fold(PrometheusBuilder::new().set_buckets(&BUCKETS_S), |builder, end| {
            builder.and_then(|it| it.set_buckets_for_metric(Matcher::Suffix((*end).to_owned()), &BUCKETS_COUNT))
        });
    let handle = match builder.and_then(PrometheusBuilder::install_recorder) {
        Ok(handle) => handle,
        Err(error) => {
            tracing::warn!(%error, "no metrics: the recorder could not be installed");
            return MetricsHandle(None);
        }
    };
    let upkeep = handle.clone();
    let thread = std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(UPKEEP);
                upkeep.run_upkeep();
            }
        });
    if let Err(error) = thread {
        tracing::warn!(%error, "metrics are only tidied when scraped");
    }
    MetricsHandle(Some(handle))
}

#[cfg(test)]
mod tests {
    use super::{Latency, Metric, Table};

    static HELD: Latency = Latency::new("");
    static TESTED: Table = &[
        Metric::counter("parley_quiet_total", "Never happens."),
        Metric::histogram("parley_held_seconds", "Held by hand.").held(&[&HELD]),
    ];

    #[test]
    fn every_handle_shows_the_same_metrics() {
        let first = super::metrics();
        metrics::counter!("parley_test_total").increment(2);
        metrics::histogram!("parley_test_seconds").record(0.0007);
        metrics::histogram!("parley_test_requests").record(100.0);
        let text = super::metrics().render();
        let lines = |text: &str| {
            text.lines()
                .filter(|it| it.contains("parley_test"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&first.render()), lines(&text));
        assert!(text.contains("parley_test_total 2"), "{text}");
        assert!(text.contains(r#"parley_test_seconds_bucket{le="0.0005"} 0"#), "{text}");
        assert!(text.contains(r#"parley_test_seconds_bucket{le="0.001"} 1"#), "{text}");
        assert!(text.contains(r#"parley_test_requests_bucket{le="128"} 1"#), "{text}");
    }

    #[test]
    fn what_is_declared_is_shown_with_its_help_before_it_happens() {
        super::declare("test", &[TESTED]);
        super::declare("test", &[TESTED]);
        let text = super::metrics().render();
        for line in [
            "# HELP parley_quiet_total Never happens.",
            "parley_quiet_total 0",
            "# TYPE parley_held_seconds histogram",
            "parley_held_seconds_count{} 0",
        ] {
            assert_eq!(text.lines().filter(|it| *it == line).count(), 1, "{line} in {text}");
        }
    }
}
