//! What a metric is, before it is recorded: each crate declares its own in one table, and this process knows them all.
//!
//! A table is what `# HELP` says, what the zero series at a start are made of, and what `docs/metrics.md` and the tests
//! of dashboards and alerts rest on. Recording goes by the macros of the `metrics` crate; tests hold the two together.

use metrics::Label as Pair;
use parking_lot::Mutex;

use super::latency::Latency;

/// Most series that one metric has at zero before anything has happened.
const ZEROS_MOST: usize = 128;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. Its name ends in `_total`.
    Counter,
    /// Comes and goes.
    Gauge,
    /// How often a value fell below each bound.
    Histogram,
}

impl Kind {
    /// As in `# TYPE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The values that a label can have.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// These.
    Of(&'static [&'static str]),
    /// As many as there are of something that settings or replicas bound; in words, for the page.
    Each(&'static str),
}

/// A label.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What it can say.
    pub values: Values,
}

impl Label {
    /// One of these values.
    pub const fn of(name: &'static str, values: &'static [&'static str]) -> Self {
        let values = Values::Of(values);
        Self { name, values }
    }

    /// One value for each of something.
    pub const fn each(name: &'static str, words: &'static str) -> Self {
        let values = Values::Each(words);
        Self { name, values }
    }
}

/// Who writes a metric's lines at `/metrics`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// The recorder behind the macros.
    Recorder,
    /// Histograms that are held by hand, since they are recorded too often for the macros.
    Latencies(&'static [&'static Latency]),
    /// Read off the process when it is asked for.
    Process,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// What it means, in a sentence.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [Label],
    pub(super) source: Source,
}

impl Metric {
    const fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            kind,
            help,
            labels: &[],
            source: Source::Recorder,
        }
    }

    /// A counter.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Counter, name, help)
    }

    /// A gauge.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Gauge, name, help)
    }

    /// A histogram.
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Histogram, name, help)
    }

    /// With labels.
    pub const fn with(mut self, labels: &'static [Label]) -> Self {
        self.labels = labels;
        self
    }

    /// A histogram whose series are these.
    pub const fn held(mut self, latencies: &'static [&'static Latency]) -> Self {
        self.source = Source::Latencies(latencies);
        self
    }

    pub(super) const fn of_process(mut self) -> Self {
        self.source = Source::Process;
        self
    }

    /// Its unit: the end of its name, as the conventions have it.
    pub fn unit(&self) -> &'static str {
        let name = self.name.trim_end_matches("_total");
        let ends = [("_seconds", "seconds"), ("_bytes", "bytes"), ("_info", "1")];
        let unit = ends.iter().find(|(end, _)| name.ends_with(end));
        unit.map_or("count", |(_, unit)| unit)
    }

    /// Whether it is recorded by the macros of the `metrics` crate, under its name.
    pub fn is_by_macro(&self) -> bool {
        matches!(self.source, Source::Recorder)
    }

    /// The names of its series: a histogram's are its buckets, their sum and their count.
    pub fn series(&self) -> Vec<String> {
        match self.kind {
            Kind::Counter | Kind::Gauge => vec![self.name.to_owned()],
            Kind::Histogram => ["bucket", "sum", "count"]
                .map(|it| format!("{}_{it}", self.name))
                .into(),
        }
    }

    /// All combinations of its labels' values, where they are known and not too many.
    fn zeros(&self) -> Vec<Vec<Pair>> {
        let mut all = vec![Vec::new()];
        for label in self.labels {
            let Values::Of(values) = label.values else {
                return Vec::new();
            };
            all = all
                .iter()
                .flat_map(|pairs| {
                    values.iter().map(move |value| {
                        let mut pairs: Vec<Pair> = pairs.clone();
                        pairs.push(Pair::from_static_parts(label.name, value));
                        pairs
                    })
                })
                .collect();
        }
        if all.len() > ZEROS_MOST { Vec::new() } else { all }
    }

    /// Tells the recorder of it, and makes its series where they are known.
    fn declare(&self) {
        if !matches!(self.source, Source::Recorder) {
            return;
        }
        match self.kind {
            Kind::Counter => metrics::describe_counter!(self.name, self.help),
            Kind::Gauge => metrics::describe_gauge!(self.name, self.help),
            Kind::Histogram => metrics::describe_histogram!(self.name, self.help),
        }
        for pairs in self.zeros() {
            match self.kind {
                Kind::Counter => drop(metrics::counter!(self.name, pairs)),
                Kind::Gauge => drop(metrics::gauge!(self.name, pairs)),
                Kind::Histogram => drop(metrics::histogram!(self.name, pairs)),
            }
        }
    }
}

/// A crate's metrics.
pub type Table = &'static [Metric];

/// What the services of this process have declared, each table once.
static DECLARED: Mutex<Vec<Table>> = Mutex::new(Vec::new());

pub(super) fn declare(tables: &[Table]) {
    for table in tables {
        let mut declared = DECLARED.lock();
        if declared.iter().any(|it| is_same(it, table)) {
            continue;
        }
        declared.push(table);
        drop(declared);
        table.iter().for_each(Metric::declare);
    }
}

/// Not by their addresses: a constant may have several.
fn is_same(one: Table, other: Table) -> bool {
    let names = |table: Table| table.iter().map(|it| it.name);
    names(one).eq(names(other))
}

pub(super) fn declared() -> Vec<Table> {
    DECLARED.lock().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_combinations_of_known_values_are_there_at_zero_and_none_of_unknown_ones() {
        const PROVIDER: Label = Label::of("provider", &["apns", "fcm"]);
        let known = Metric::counter("a_total", "").with(const { &[PROVIDER, Label::of("outcome", &["ok", "no"])] });
        let pairs = |it: &[Pair]| {
            it.iter()
                .map(|pair| pair.value().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let zeros: Vec<String> = known.zeros().iter().map(|it| pairs(it)).collect();
        assert_eq!(zeros, ["apns ok", "apns no", "fcm ok", "fcm no"]);
        let unknown = Metric::counter("b_total", "").with(const { &[PROVIDER, Label::each("app", "app")] });
        assert!(unknown.zeros().is_empty());
        assert_eq!(Metric::counter("c_total", "").zeros().len(), 1);
    }

    #[test]
    fn the_unit_is_the_end_of_the_name() {
        let unit = |name| Metric::gauge(name, "").unit();
        assert_eq!(unit("process_cpu_seconds_total"), "seconds");
        assert_eq!(unit("process_resident_memory_bytes"), "bytes");
        assert_eq!(unit("parley_sessions"), "count");
    }
}
