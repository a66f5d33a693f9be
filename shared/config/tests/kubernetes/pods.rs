//! Pods: locked down, with room to end, spread, and with what their volumes name.

use std::collections::BTreeSet;

use config::Config;
use serde_json::{Value, json};

use crate::manifests::{SERVICES, at, deployment, list, pod, pod_name, resources, string, text, workloads};

/// Most that a drain takes without a window, in seconds: the contract with operators.
const DRAIN_MOST: u64 = 12;
/// What a connection pod takes after its delay and its window (`services/connection/src/drain.rs`), in seconds.
const LAST_SOCKETS: u64 = 6;
/// A node under pressure is slow to send a signal.
const MARGIN: u64 = 5;

fn containers(workload: &Value) -> impl Iterator<Item = &Value> {
    list(&pod(workload)["initContainers"]).chain(list(&pod(workload)["containers"]))
}

#[test]
fn no_container_runs_as_root_or_writes_to_its_image_or_may_do_more_than_it_needs() {
    assert_eq!(workloads().len(), 7);
    for workload in &workloads() {
        let name = pod_name(workload);
        let security = &pod(workload)["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{name}");
        assert!(security["runAsUser"].as_u64().is_some_and(|it| it > 0), "{name}");
        assert_eq!(security["seccompProfile"], json!({"type": "RuntimeDefault"}), "{name}");
        for container in containers(workload) {
            let expected = json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            });
            assert_eq!(container["securityContext"], expected, "{name}: {}", container["name"]);
        }
    }
}

#[test]
fn no_pod_is_given_an_account_of_kubernetes() {
    for workload in &workloads() {
        let (name, pod) = (pod_name(workload), pod(workload));
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        assert_eq!(pod["serviceAccountName"], "parley", "{name}");
        // Variables of each Service of the namespace: nobody asked for them.
        assert_eq!(pod["enableServiceLinks"], false, "{name}");
    }
}

#[test]
fn every_container_says_what_it_needs_and_has_a_bound_for_its_memory() {
    for workload in &workloads() {
        for container in containers(workload) {
            let (name, resources) = (&container["name"], &container["resources"]);
            assert!(resources["requests"]["cpu"].is_string(), "{name}");
            assert!(resources["requests"]["memory"].is_string(), "{name}");
            assert!(resources["limits"]["memory"].is_string(), "{name}");
            assert!(resources["limits"]["cpu"].is_null(), "{name}: see connection.yaml");
        }
    }
}

#[test]
fn a_pod_is_given_the_time_that_its_end_takes() {
    let settings = Config::load_from([at("k8s/base/services/parley.toml").as_path()], [], |_| {}).unwrap();
    let drain = (settings.connection.drain_delay_ms + settings.connection.drain_window_ms) / 1_000;
    for service in SERVICES {
        let deployment = deployment(service);
        let grace = pod(&deployment)["terminationGracePeriodSeconds"].as_u64().unwrap();
        let needed = match service {
            "connection" => drain + LAST_SOCKETS,
            _ => DRAIN_MOST,
        };
        assert!(
            grace >= needed + MARGIN,
            "{service} may need {needed} s and is given {grace} s"
        );
    }
    let conf = text("k8s/base/nats/nats.conf");
    let seconds = |key: &str| -> u64 {
        let rest = conf.split(&format!("{key}: \"")).nth(1).unwrap();
        rest.split("s\"").next().unwrap().parse().unwrap()
    };
    let lame_duck = seconds("lame_duck_grace_period") + seconds("lame_duck_duration");
    let nats = crate::manifests::resource("StatefulSet", "parley-nats");
    assert!(pod(&nats)["terminationGracePeriodSeconds"].as_u64().unwrap() >= lame_duck + MARGIN);
}

#[test]
fn what_runs_for_long_is_spread_and_may_lose_one_pod_at_a_time() {
    for workload in workloads().iter().filter(|it| it["kind"] != "Job") {
        let (name, pod) = (pod_name(workload), pod(workload));
        let rule = if workload["kind"] == "StatefulSet" {
            "requiredDuringSchedulingIgnoredDuringExecution"
        } else {
            "preferredDuringSchedulingIgnoredDuringExecution"
        };
        let term = &pod["affinity"]["podAntiAffinity"][rule][0];
        let term = if term["podAffinityTerm"].is_object() {
            &term["podAffinityTerm"]
        } else {
            term
        };
        let own = json!({"matchLabels": {"app.kubernetes.io/name": name}});
        assert_eq!(
            (&term["topologyKey"], &term["labelSelector"]),
            (&"kubernetes.io/hostname".into(), &own)
        );
        assert_eq!(pod["topologySpreadConstraints"][0]["labelSelector"], own);
        let budgets = resources("PodDisruptionBudget");
        let budget = budgets.iter().find(|it| it["spec"]["selector"] == own);
        assert_eq!(
            budget.unwrap_or_else(|| panic!("{name} has no budget"))["spec"]["maxUnavailable"],
            1
        );
    }
    let scaled: BTreeSet<String> = resources("HorizontalPodAutoscaler")
        .iter()
        .map(|it| string(&it["spec"]["scaleTargetRef"]["name"]).to_owned())
        .collect();
    assert_eq!(scaled, SERVICES.iter().map(|it| format!("parley-{it}")).collect());
}

#[test]
fn every_file_that_the_settings_name_is_mounted_there() {
    let settings = text("k8s/base/services/parley.toml");
    let named = settings.split('"').filter(|it| it.starts_with("/etc/parley/"));
    let push = deployment("push");
    let sources = &pod(&push)["volumes"][0]["projected"]["sources"];
    let mut mounted: BTreeSet<String> = BTreeSet::new();
    for source in list(sources) {
        let items = [&source["configMap"], &source["secret"]]
            .into_iter()
            .flat_map(|it| list(&it["items"]));
        mounted.extend(items.map(|it| format!("/etc/parley/{}", string(&it["path"]))));
    }
    assert!(mounted.contains("/etc/parley/parley.toml") && mounted.contains("/etc/parley/secret/secret.toml"));
    // Off, and for those who bring the file: the comment beside each says so.
    let brought = [
        "/etc/parley/nats.creds",
        "/etc/parley/push/ca.crt",
        "/etc/parley/secret/token-key",
    ];
    for file in named.filter(|it| *it != "/etc/parley/parley.toml") {
        assert!(
            mounted.contains(file) || brought.contains(&file),
            "nothing mounts {file}"
        );
    }
}
