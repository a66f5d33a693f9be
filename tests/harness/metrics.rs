//! What services declare that they measure, and what they show of it.

use std::collections::{BTreeMap, BTreeSet};

use telemetry::{Metric, Table, Values};

use super::Deployment;

/// Every service, and its tables.
pub fn services() -> [(&'static str, &'static [Table]); 4] {
    [
        ("connection", connection::metrics::TABLES),
        ("message", message::metrics::TABLES),
        ("presence", presence::metrics::TABLES),
        ("push", push::metrics::TABLES),
    ]
}

/// Every metric that a service declares, those of all services included.
pub fn declared(service: &str) -> Vec<&'static Metric> {
    let (_, tables) = services().into_iter().find(|it| it.0 == service).expect("a service");
    let own = tables.iter().flat_map(|table| table.iter());
    telemetry::METRICS.iter().chain(own).collect()
}

/// What one service shows.
#[derive(Debug, Default)]
pub struct Shown {
    /// Of each metric its type.
    pub types: BTreeMap<String, String>,
    /// Of each metric its help.
    pub helps: BTreeMap<String, String>,
    /// Name, labels and value of each series, without the bounds of histograms.
    pub series: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Shown {
    /// Reads the text form.
    pub fn parse(text: &str) -> Self {
        let mut shown = Self::default();
        for line in text.lines().filter(|it| !it.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                let before = shown.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} is declared twice");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and its help");
                shown.helps.insert(name.to_owned(), help.to_owned());
            } else {
                shown.series.push(series(line));
            }
        }
        shown
    }

    /// The metric that a series belongs to.
    pub fn metric_of<'a>(&self, series: &'a str) -> &'a str {
        let part = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| series.strip_suffix(end));
        part.filter(|it| self.types.get(*it).is_some_and(|kind| kind == "histogram"))
            .unwrap_or(series)
    }

    /// The names of all metrics that have a series.
    pub fn names(&self) -> BTreeSet<&str> {
        self.series.iter().map(|it| self.metric_of(&it.0)).collect()
    }

    /// The sum of a metric's series that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |all: &BTreeMap<String, String>| {
            labels
                .iter()
                .all(|(label, value)| all.get(*label).is_some_and(|it| it == value))
        };
        let mine = self.series.iter().filter(|it| it.0 == name && has(&it.1));
        mine.map(|it| it.2).sum()
    }
}

fn series(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (name, value) = line.rsplit_once(' ').expect("a series and its value");
    let value = value.parse().unwrap_or_else(|_| panic!("{line}: no number"));
    let Some((name, labels)) = name.split_once('{') else {
        return (name.to_owned(), BTreeMap::new(), value);
    };
    let labels = labels.strip_suffix('}').expect("an end of the labels");
    let pairs = labels.split("\",").filter(|it| !it.is_empty()).map(|pair| {
        let (label, value) = pair
            .split_once("=\"")
            .unwrap_or_else(|| panic!("{line}: no label in {pair:?}"));
        (label.to_owned(), value.trim_end_matches('"').to_owned())
    });
    (name.to_owned(), pairs.collect(), value)
}

/// Says what is wrong with a series, if anything, held against its declaration.
pub fn wrong_with(metric: &Metric, labels: &BTreeMap<String, String>) -> Option<String> {
    let own: BTreeSet<&str> = labels.keys().map(String::as_str).filter(|it| *it != "le").collect();
    let declared: BTreeSet<&str> = metric.labels.iter().map(|it| it.name).collect();
    if own != declared {
        return Some(format!("{}: labels {own:?}, declared are {declared:?}", metric.name));
    }
    metric.labels.iter().find_map(|label| match label.values {
        Values::Of(values) if !values.contains(&labels[label.name].as_str()) => Some(format!(
            "{}: {}={:?} is none of {values:?}",
            metric.name, label.name, labels[label.name]
        )),
        _ => None,
    })
}

impl Deployment {
    /// What a service process shows on its private port.
    pub async fn metrics(&self, name: &str) -> Shown {
        let url = format!("http://127.0.0.1:{}/metrics", self.port(name));
        let text = reqwest::get(url)
            .await
            .expect("an answer")
            .text()
            .await
            .expect("a text");
        Shown::parse(&text)
    }
}
