//! What the code records is declared, and what is declared is recorded: read off the sources, so that also what seldom
//! happens is found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use telemetry::{Metric, Table, Values};

/// Each crate's sources and its own tables.
static CRATES: [(&str, &[Table]); 7] = [
    ("services/connection", &[connection::metrics::METRICS]),
    ("services/message", &[message::metrics::METRICS]),
    ("services/presence", &[presence::metrics::METRICS]),
    ("services/push", &[push::metrics::METRICS]),
    (
        "shared/bus",
        &[
            bus::metrics::METRICS,
            bus::metrics::TAIL,
            bus::metrics::READ,
            bus::metrics::APPEND,
            bus::metrics::BATCH,
            bus::metrics::LAG,
        ],
    ),
    ("shared/lifecycle", &[lifecycle::METRICS]),
    ("shared/telemetry", &[telemetry::METRICS]),
];

/// Names there are made of a table, not written.
const MADE_OF_TABLES: &str = "metrics/catalogue.rs";
/// Recorded by a library crate under a name that its users declare, since which values there are is theirs to say.
const DECLARED_BY_USERS: [(&str, &str); 1] = [("shared/bus", "parley_unreadable_total")];

/// A call of one of the macros.
#[derive(Debug)]
struct Recorded {
    place: String,
    kind: &'static str,
    name: Option<String>,
    /// Labels, and their values where those are written there.
    labels: Vec<(String, Option<String>)>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && !path.ends_with("testing.rs") {
            found.push(path);
        }
    }
}

fn recorded(crate_folder: &str) -> Vec<Recorded> {
    let mut files = Vec::new();
    sources(&root().join(crate_folder).join("src"), &mut files);
    let each = files
        .iter()
        .filter(|it| !it.ends_with(MADE_OF_TABLES))
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let text = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default()
                .to_owned();
            calls(&text, &path.display().to_string())
        });
    each.collect()
}

fn calls(text: &str, place: &str) -> Vec<Recorded> {
    let mut found = Vec::new();
    for kind in ["counter", "gauge", "histogram"] {
        let marker = format!("{kind}!(");
        for (at, _) in text.match_indices(&marker) {
            let begins = !text[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_');
            let is_comment = text[..at].rsplit('\n').next().is_some_and(|line| line.contains("//"));
            if begins && !is_comment {
                found.push(call(kind, inside(&text[at + marker.len()..]), place));
            }
        }
    }
    found
}

/// Up to the bracket that closes.
fn inside(text: &str) -> &str {
    let (mut depth, mut quoted) = (1, false);
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

fn call(kind: &'static str, arguments: &str, place: &str) -> Recorded {
    let literal = |text: &str| Some(text.trim().strip_prefix('"')?.split('"').next()?.to_owned());
    let pairs = arguments.split("=>").collect::<Vec<_>>();
    let label_before = |part: &str| {
        part.trim_end()
            .strip_suffix('"')
            .and_then(|it| it.rsplit('"').next().map(str::to_owned))
    };
    let labels = pairs
        .windows(2)
        .filter_map(|pair| Some((label_before(pair[0])?, literal(pair[1]))));
    Recorded {
        place: format!("{place}: {kind}!({arguments})"),
        kind,
        name: literal(arguments),
        labels: labels.collect(),
    }
}

fn problem(call: &Recorded, metrics: &[&Metric]) -> Option<String> {
    let Some(name) = &call.name else {
        return Some("its name is not written there".to_owned());
    };
    let Some(metric) = metrics.iter().find(|it| it.name == name) else {
        return Some("it is not declared in the crate's table (src/metrics.rs)".to_owned());
    };
    if metric.kind.as_str() != call.kind {
        return Some(format!("it is declared as a {}", metric.kind.as_str()));
    }
    let own: BTreeSet<&str> = call.labels.iter().map(|it| it.0.as_str()).collect();
    let declared: BTreeSet<&str> = metric.labels.iter().map(|it| it.name).collect();
    if own != declared {
        return Some(format!("its labels are declared as {declared:?}"));
    }
    call.labels.iter().find_map(|(label, value)| {
        let value = value.as_deref()?;
        let values = metric.labels.iter().find(|it| it.name == label)?.values;
        let Values::Of(values) = values else { return None };
        (!values.contains(&value)).then(|| format!("{label} is declared as one of {values:?}"))
    })
}

#[test]
fn everything_that_is_recorded_is_declared_by_its_crate() {
    let mut problems = Vec::new();
    for (folder, tables) in &CRATES {
        let metrics: Vec<&Metric> = tables.iter().flat_map(|it| it.iter()).collect();
        let calls = recorded(folder);
        assert!(
            !calls.is_empty(),
            "{folder} records nothing: the test has lost its way of finding it"
        );
        for call in calls {
            let by_users = DECLARED_BY_USERS
                .iter()
                .any(|(it, name)| *it == *folder && call.name.as_deref() == Some(*name));
            if !by_users {
                problems.extend(problem(&call, &metrics).map(|it| format!("{}: {it}", call.place)));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn everything_that_is_declared_is_recorded_by_its_crate() {
    for (folder, tables) in &CRATES {
        let names: BTreeSet<String> = recorded(folder).into_iter().filter_map(|it| it.name).collect();
        let declared = tables.iter().flat_map(|it| it.iter()).filter(|it| it.is_by_macro());
        let silent: Vec<&str> = declared.map(|it| it.name).filter(|it| !names.contains(*it)).collect();
        assert!(silent.is_empty(), "{folder} declares and never records {silent:?}");
    }
}

#[test]
fn a_call_of_a_macro_is_read_with_its_labels() {
    let text = r#"metrics::counter!("a_total", "what" => "x", "code" => refusal.code.as_str())
        .increment(1);"#;
    let found = calls(text, "here");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name.as_deref(), Some("a_total"));
    let labels: Vec<_> = found[0]
        .labels
        .iter()
        .map(|it| (it.0.as_str(), it.1.as_deref()))
        .collect();
    assert_eq!(labels, [("what", Some("x")), ("code", None)]);
}
