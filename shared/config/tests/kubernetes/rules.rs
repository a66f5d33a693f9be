//! Rules and alerts of a cluster: those of `deploy/prometheus/rules.yml`, which all other tests look at, and no others.

use serde_json::Value;

use crate::manifests::{at, list, resource, text};

const SOURCE: &str = "deploy/prometheus/rules.yml";
const MADE: &str = "k8s/components/prometheus-operator/rules.yaml";

/// The file of the cluster as it has to be: what it begins with stays, the groups are the source's, one level deeper.
fn made() -> String {
    let (source, written) = (text(SOURCE), text(MADE));
    let head = written.split_once("spec:\n").unwrap().0;
    let groups = &source[source.find("\ngroups:\n").unwrap() + 1..];
    let mut page = format!("{head}spec:\n");
    for line in groups.lines() {
        let indent = if line.is_empty() { "" } else { "  " };
        page.push_str(&format!("{indent}{line}\n"));
    }
    page
}

#[test]
fn rules_of_a_cluster_are_those_of_prometheus() {
    let made = made();
    if std::env::var_os("UPDATE_RULES").is_some() {
        std::fs::write(at(MADE), &made).unwrap();
    }
    assert!(
        made == text(MADE),
        "{MADE} is not what {SOURCE} says: UPDATE_RULES=1 with this test writes it anew"
    );
    // Of the text's indentation nobody reads: what is parsed counts.
    let source: Value = serde_saphyr::from_str(&text(SOURCE)).unwrap();
    let rule = resource("PrometheusRule", "parley");
    assert!(list(&source["groups"]).count() > 1, "the groups were not found");
    assert_eq!(rule["spec"], source);
}
