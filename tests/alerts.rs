//! Every query of alerts and dashboards asks for what there is, every alert has its page and every page its alert.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, LabelModifier, VectorSelector};
use serde::Deserialize;
use serde_json::Value;
use telemetry::{Kind, Metric, Values};

use crate::harness::metrics::{declared, services};

/// Labels that Prometheus adds to everything it scrapes, and what rules add.
const OF_TARGETS: [&str; 4] = ["instance", "job", "namespace", "pod"];
/// What Prometheus itself shows of a target.
const OF_PROMETHEUS: [&str; 1] = ["up"];

#[derive(Debug, Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rules() -> Vec<Rule> {
    let text = std::fs::read_to_string(root().join("deploy/prometheus/rules.yml")).unwrap();
    let rules: Rules = serde_saphyr::from_str(&text).unwrap();
    rules.groups.into_iter().flat_map(|it| it.rules).collect()
}

/// What queries may ask for.
struct Known {
    /// Of each series the metrics of that name; services may declare different values of a label.
    series: BTreeMap<String, Vec<&'static Metric>>,
    recorded: BTreeSet<String>,
}

impl Known {
    fn new(rules: &[Rule]) -> Self {
        let mut series: BTreeMap<String, Vec<&'static Metric>> = BTreeMap::new();
        for (service, _) in services() {
            for metric in declared(service) {
                for name in metric.series() {
                    series.entry(name).or_default().push(metric);
                }
            }
        }
        let recorded = rules.iter().filter_map(|it| it.record.clone()).collect();
        Self { series, recorded }
    }

    /// Whether the series of this name can have such a label.
    fn has_label(&self, name: &str, label: &str) -> bool {
        let metrics = self.series.get(name).into_iter().flatten();
        let mut own = metrics.flat_map(|it| it.labels).map(|it| it.name);
        OF_TARGETS.contains(&label) || own.any(|it| it == label) || (label == "le" && name.ends_with("_bucket"))
    }

    fn problems_of_selector(&self, selector: &VectorSelector, problems: &mut Vec<String>) {
        let name = selector.name.as_deref().unwrap_or_default();
        let exists = self.series.contains_key(name) || self.recorded.contains(name) || OF_PROMETHEUS.contains(&name);
        if !exists {
            problems.push(format!("there is no series {name:?}"));
            return;
        }
        for matcher in &selector.matchers.matchers {
            if !self.has_label(name, &matcher.name) {
                problems.push(format!("{name} has no label {}", matcher.name));
            } else if let Some(value) = self.value_that_is_not(name, matcher) {
                problems.push(format!("{name}: {} is never {value:?}", matcher.name));
            }
        }
    }

    /// A value that is asked for and that the label cannot have.
    fn value_that_is_not(&self, name: &str, matcher: &Matcher) -> Option<String> {
        let asked: Vec<&str> = match &matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
            MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
        };
        let possible: Vec<&str> = if matcher.name == "le" {
            BOUNDS.to_vec()
        } else {
            let labels = self.series.get(name)?.iter().flat_map(|it| it.labels);
            let mut all = Vec::new();
            for label in labels.filter(|it| it.name == matcher.name) {
                let Values::Of(values) = label.values else { return None };
                all.extend(values);
            }
            all
        };
        if OF_TARGETS.contains(&matcher.name.as_str()) {
            return None;
        }
        asked.into_iter().find(|it| !possible.contains(it)).map(str::to_owned)
    }

    fn problems_of(&self, query: &str) -> Vec<String> {
        let mut problems = Vec::new();
        match promql_parser::parser::parse(query) {
            Ok(expr) => {
                self.walk(&expr, &mut problems);
            }
            Err(error) => problems.push(format!("no PromQL: {error}")),
        }
        problems
    }

    /// Returns the names of the series that the expression asks for.
    fn walk(&self, expr: &Expr, problems: &mut Vec<String>) -> Vec<String> {
        let selected = |selector: &VectorSelector| vec![selector.name.clone().unwrap_or_default()];
        match expr {
            Expr::VectorSelector(it) => {
                self.problems_of_selector(it, problems);
                selected(it)
            }
            Expr::MatrixSelector(it) => {
                self.problems_of_selector(&it.vs, problems);
                selected(&it.vs)
            }
            Expr::Aggregate(it) => {
                let names = self.walk(&it.expr, problems);
                self.check_grouping(it.modifier.as_ref(), &names, problems);
                names
            }
            Expr::Binary(it) => {
                let mut names = self.walk(&it.lhs, problems);
                names.extend(self.walk(&it.rhs, problems));
                let matching = it.modifier.as_ref().and_then(|it| it.matching.as_ref());
                self.check_grouping(matching, &names, problems);
                names
            }
            Expr::Call(it) => it.args.args.iter().flat_map(|arg| self.walk(arg, problems)).collect(),
            Expr::Paren(it) => self.walk(&it.expr, problems),
            Expr::Unary(it) => self.walk(&it.expr, problems),
            Expr::Subquery(it) => self.walk(&it.expr, problems),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Vec::new(),
            Expr::Extension(_) => vec!["an extension".to_owned()],
        }
    }

    fn check_grouping(&self, modifier: Option<&LabelModifier>, names: &[String], problems: &mut Vec<String>) {
        for label in modifier.map(|it| it.labels().labels.clone()).unwrap_or_default() {
            if !names.iter().any(|name| self.has_label(name, &label)) {
                problems.push(format!("none of {names:?} has a label {label}"));
            }
        }
    }
}

/// Bounds of histograms of seconds, as they are written.
const BOUNDS: [&str; 18] = [
    "0.0005", "0.001", "0.002", "0.003", "0.005", "0.01", "0.02", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10",
    "30", "120", "+Inf",
];

#[test]
fn every_rule_asks_for_metrics_and_labels_that_exist() {
    let rules = rules();
    let known = Known::new(&rules);
    assert!(rules.len() > 20, "{}", rules.len());
    for rule in &rules {
        let name = rule.alert.as_ref().or(rule.record.as_ref()).expect("a name");
        assert_eq!(
            known.problems_of(&rule.expr),
            [] as [String; 0],
            "{name}: {}",
            rule.expr
        );
    }
}

#[test]
fn a_query_for_what_does_not_exist_is_found_out() {
    let known = Known::new(&[]);
    for (query, problem) in [
        ("rate(parley_no_such_total[5m])", "no series"),
        (r#"parley_replays_total{level="memory"}"#, "no label level"),
        (r#"parley_replays_total{tier="disk"}"#, "never \"disk\""),
        (r#"parley_replays_total{tier=~"memory|disk"}"#, "never \"disk\""),
        (r#"parley_delivery_seconds_bucket{le="0.3"}"#, "never \"0.3\""),
        ("sum by (stream) (parley_sessions)", "label stream"),
        ("sum by (code (parley_sessions)", "no PromQL"),
        ("parley_delivery_seconds", "no series"),
    ] {
        let problems = known.problems_of(query);
        assert!(problems.iter().any(|it| it.contains(problem)), "{query}: {problems:?}");
    }
    assert_eq!(
        known.problems_of("histogram_quantile(0.9, sum by (le, job) (rate(parley_delivery_seconds_bucket[1m])))"),
        [] as [String; 0]
    );
}

#[test]
fn every_alert_has_its_page_and_every_page_its_alert() {
    let rules = rules();
    let mut named = BTreeSet::new();
    for rule in rules.iter().filter(|it| it.alert.is_some()) {
        let name = rule.alert.clone().unwrap();
        let page = rule.annotations.get("runbook_url").cloned();
        assert_eq!(page.as_deref(), Some(format!("docs/runbooks/{name}.md").as_str()));
        assert!(["page", "ticket"].contains(&rule.labels["severity"].as_str()), "{name}");
        assert!(rule.annotations.contains_key("summary"), "{name}");
        let text = std::fs::read_to_string(root().join(page.unwrap())).unwrap_or_default();
        for part in ["What it means", "What to look at", "What to do"] {
            assert!(
                text.contains(&format!("\n## {part}\n")),
                "the page of {name} does not say: {part}"
            );
        }
        named.insert(format!("{name}.md"));
    }
    let pages = std::fs::read_dir(root().join("docs/runbooks")).unwrap();
    let pages: BTreeSet<String> = pages.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(pages, named);
}

#[test]
fn pages_name_only_metrics_that_exist() {
    let known = Known::new(&rules());
    let bare: BTreeSet<&str> = known.series.values().flatten().map(|it| it.name).collect();
    for entry in std::fs::read_dir(root().join("docs/runbooks"))
        .unwrap()
        .map(Result::unwrap)
    {
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let quoted = text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|it| it.starts_with("parley_") || it.starts_with("process_"));
        for query in quoted {
            let alone = bare.contains(query);
            let problems = if alone { Vec::new() } else { known.problems_of(query) };
            // A histogram may be named without saying which of its series.
            let whole = problems
                .iter()
                .all(|it| bare.iter().any(|name| it.contains(&format!("{name:?}"))));
            assert!(whole, "{:?}: {query}: {problems:?}", entry.file_name());
        }
    }
}

#[test]
fn every_panel_asks_for_metrics_that_exist() {
    let rules = rules();
    let known = Known::new(&rules);
    let (mut uids, mut queries) = (BTreeSet::new(), 0);
    for entry in std::fs::read_dir(root().join("deploy/grafana/dashboards")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        let uid = dashboard["uid"].as_str().unwrap();
        assert!(uids.insert(uid.to_owned()), "two dashboards are called {uid}");
        let panels = dashboard["panels"].as_array().unwrap();
        let ids: BTreeSet<i64> = panels.iter().filter_map(|it| it["id"].as_i64()).collect();
        assert_eq!(ids.len(), panels.len(), "{uid}: panels without ids of their own");
        for panel in panels.iter().filter(|it| it["type"] != "row") {
            let title = panel["title"].as_str().unwrap();
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{uid}: {title} shows nothing");
            for target in targets {
                let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
                assert_eq!(known.problems_of(&query), [] as [String; 0], "{uid}: {title}: {query}");
                queries += 1;
            }
        }
    }
    assert!(uids.len() >= 4 && queries > 50, "{uids:?}, {queries} queries");
}

#[test]
fn dashboards_are_what_their_script_makes() {
    let folder = std::env::temp_dir().join(format!("parley-dashboards-{}", std::process::id()));
    let script = root().join("deploy/grafana/dashboards.py");
    let made = Command::new("python3").arg(script).arg(&folder).status().unwrap();
    assert!(made.success());
    let read = |folder: &Path| -> BTreeMap<String, String> {
        let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap());
        let text = |it: &std::fs::DirEntry| std::fs::read_to_string(it.path()).unwrap();
        files
            .map(|it| (it.file_name().into_string().unwrap(), text(&it)))
            .collect()
    };
    let (made, committed) = (read(&folder), read(&root().join("deploy/grafana/dashboards")));
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(made.keys().collect::<Vec<_>>(), committed.keys().collect::<Vec<_>>());
    for (name, text) in made {
        assert!(
            committed[&name] == text,
            "{name} is not what deploy/grafana/dashboards.py makes: run it"
        );
    }
}

#[test]
fn the_objectives_are_bounds_of_the_histograms_that_they_rest_on() {
    for (metric, bound) in [("parley_send_ack_seconds", "0.25"), ("parley_delivery_seconds", "0.5")] {
        let found = declared("connection").into_iter().find(|it| it.name == metric);
        assert_eq!(found.map(|it| it.kind), Some(Kind::Histogram), "{metric}");
        let of_objective = format!("{metric}_bucket{{le=\"{bound}\"}}");
        assert!(
            rules().iter().any(|it| it.expr.contains(&of_objective)),
            "{of_objective}"
        );
    }
}
