//! Who may talk to whom, worked out of all NetworkPolicies as a network would: exactly what is needed.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::manifests::{list, pod_name, resources, string, workloads};
use crate::ports::container_ports;

/// All that is allowed: from, to, port. In the namespace both sides have to allow it; these do.
const NEEDED: [&str; 23] = [
    "* -> kube-system/kube-dns 53",
    "envoy-gateway-system -> parley-connection 8080",
    "ingress-nginx -> parley-connection 8080",
    "monitoring -> parley-connection 9090",
    "monitoring -> parley-message 9090",
    "monitoring -> parley-presence 9090",
    "monitoring -> parley-push 9090",
    "parley-connection -> observability 4317",
    "parley-connection -> parley-nats 4222",
    "parley-message -> observability 4317",
    "parley-message -> parley-mongodb 27017",
    "parley-message -> parley-nats 4222",
    "parley-mongodb -> parley-mongodb 27017",
    "parley-mongodb-initiate -> parley-mongodb 27017",
    "parley-nats -> parley-nats 6222",
    "parley-operator -> parley-mongodb 27017",
    "parley-operator -> parley-nats 4222",
    "parley-presence -> observability 4317",
    "parley-presence -> parley-nats 4222",
    "parley-push -> 0.0.0.0/0 443",
    "parley-push -> 2000::/3 443",
    "parley-push -> observability 4317",
    "parley-push -> parley-nats 4222",
];

/// Whom a selector of pods means; `*` is everybody.
fn selected(selector: &Value) -> Vec<String> {
    if let Some(name) = selector["matchLabels"]["app.kubernetes.io/name"].as_str() {
        return vec![name.to_owned()];
    }
    let expression = &selector["matchExpressions"][0];
    match expression["key"].as_str() {
        Some("app.kubernetes.io/name") => list(&expression["values"]).map(|it| string(it).to_owned()).collect(),
        Some(other) => panic!("selects by {other}, which this test does not know"),
        None => vec!["*".to_owned()],
    }
}

/// Whom a `from` or `to` means.
fn peers(peer: &Value) -> Vec<String> {
    if let Some(block) = peer["ipBlock"]["cidr"].as_str() {
        return vec![block.to_owned()];
    }
    let namespace = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"].as_str();
    match (namespace, &peer["podSelector"]) {
        (Some(namespace), Value::Null) => vec![namespace.to_owned()],
        (Some(namespace), pods) => vec![format!("{namespace}/{}", string(&pods["matchLabels"]["k8s-app"]))],
        (None, pods) => selected(pods),
    }
}

/// The number of a port that may be given by its name, which is one of the pods that are reached.
fn number(port: &Value, reached: &str) -> u64 {
    port["port"].as_u64().unwrap_or_else(|| {
        let workloads = workloads();
        let workload = workloads.iter().find(|it| pod_name(it) == reached);
        let ports = workload.map(container_ports).unwrap_or_default();
        let found = ports.into_iter().find(|(name, _)| port["port"] == *name);
        found
            .unwrap_or_else(|| panic!("{reached} has no port {}", port["port"]))
            .1
    })
}

/// What the policies' one side allows: `("ingress", "from")` or `("egress", "to")`.
fn allowed(side: &str, whom: &str) -> BTreeSet<String> {
    let mut flows = BTreeSet::new();
    for policy in resources("NetworkPolicy") {
        let own = selected(&policy["spec"]["podSelector"]);
        for rule in list(&policy["spec"][side]) {
            assert!(
                rule[whom].is_array() && rule["ports"].is_array(),
                "a rule without bounds: {rule}"
            );
            for other in list(&rule[whom]).flat_map(peers) {
                for own in &own {
                    let (from, to) = if side == "ingress" {
                        (&other, own)
                    } else {
                        (own, &other)
                    };
                    let ports = list(&rule["ports"]).map(|it| number(it, to));
                    flows.extend(ports.map(|port| format!("{from} -> {to} {port}")));
                }
            }
        }
    }
    flows
}

#[test]
fn exactly_the_needed_flows_are_allowed_and_on_both_sides() {
    let (ingress, egress) = (allowed("ingress", "from"), allowed("egress", "to"));
    let all: BTreeSet<&str> = ingress.union(&egress).map(String::as_str).collect();
    assert_eq!(all, NEEDED.into_iter().collect());
    let inside = |it: &&String| it.starts_with("parley-") && it.contains("-> parley-");
    let (ingress, egress): (Vec<_>, Vec<_>) = (
        ingress.iter().filter(inside).collect(),
        egress.iter().filter(inside).collect(),
    );
    assert_eq!(ingress, egress, "one side allows what the other denies");
}

#[test]
fn what_no_policy_names_is_denied() {
    let deny = crate::manifests::resource("NetworkPolicy", "default-deny");
    let expected = serde_json::json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    assert_eq!(deny["spec"], expected);
}

#[test]
fn push_reaches_the_internet_and_no_private_network() {
    let policy = crate::manifests::resource("NetworkPolicy", "push-providers");
    let denied: BTreeSet<&str> = list(&policy["spec"]["egress"][0]["to"])
        .flat_map(|it| list(&it["ipBlock"]["except"]))
        .map(string)
        .collect();
    for range in [
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
    ] {
        assert!(denied.contains(range), "{range} is reached");
    }
}
