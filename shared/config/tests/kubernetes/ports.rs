//! Ports and paths: what the settings listen at, what containers declare, what Services, probes and monitors use.

use std::collections::BTreeSet;

use config::Config;
use serde_json::Value;

use crate::manifests::{
    SERVICES, at, deployment, files_below, list, pod, pod_name, resources, string, text, workloads,
};

/// Ports of the programs that are not ours, and the file that sets them.
const SERVERS: [(&str, u64, &str, &str); 4] = [
    ("client", 4222, "k8s/base/nats/nats.conf", "listen: \"0.0.0.0:4222\""),
    ("route", 6222, "k8s/base/nats/nats.conf", "listen: \"0.0.0.0:6222\""),
    ("monitor", 8222, "k8s/base/nats/nats.conf", "http: \"0.0.0.0:8222\""),
    ("mongodb", 27017, "k8s/base/mongodb/mongodb.yaml", "--port=27017"),
];

/// The named ports of a workload's pods.
pub fn container_ports(workload: &Value) -> BTreeSet<(String, u64)> {
    let containers = list(&pod(workload)["containers"]);
    containers
        .flat_map(|it| list(&it["ports"]))
        .map(|it| (string(&it["name"]).to_owned(), it["containerPort"].as_u64().unwrap()))
        .collect()
}

#[test]
fn a_service_declares_the_ports_that_its_settings_listen_at() {
    let settings = Config::load_from([at("k8s/base/services/parley.toml").as_path()], [], |_| {}).unwrap();
    let admin = ("admin".to_owned(), u64::from(settings.admin.listen.port()));
    let http = ("http".to_owned(), u64::from(settings.http.listen.port()));
    for address in [settings.admin.listen, settings.http.listen] {
        assert!(
            address.ip().is_unspecified(),
            "{address}: nobody outside the pod could reach it"
        );
    }
    for service in SERVICES {
        let mut expected = BTreeSet::from([admin.clone()]);
        expected.extend((service == "connection").then(|| http.clone()));
        assert_eq!(container_ports(&deployment(service)), expected, "{service}");
    }
}

#[test]
fn a_server_declares_the_ports_that_it_is_told_to_listen_at() {
    let mut expected = BTreeSet::new();
    for (name, port, path, line) in SERVERS {
        assert!(text(path).contains(line), "{path} has no {line}");
        expected.insert((name.to_owned(), port));
    }
    let declared: BTreeSet<_> = resources("StatefulSet").iter().flat_map(container_ports).collect();
    assert_eq!(declared, expected);
}

#[test]
fn every_service_leads_to_a_port_of_pods_that_exist() {
    let services = resources("Service");
    assert_eq!(services.len(), 4);
    for service in services {
        let name = &service["spec"]["selector"]["app.kubernetes.io/name"];
        let workloads = workloads();
        let workload = workloads.iter().find(|it| pod_name(it) == name);
        let workload = workload.unwrap_or_else(|| panic!("{} selects nothing", service["metadata"]["name"]));
        for port in list(&service["spec"]["ports"]) {
            let target = string(&port["targetPort"]);
            let known = container_ports(workload).into_iter().find(|(name, _)| name == target);
            let (_, number) = known.unwrap_or_else(|| panic!("{name} has no port {target}"));
            let outside = port["port"].as_u64().unwrap();
            assert!(
                outside == number || target == "http",
                "{name}: {outside} leads to {number}"
            );
        }
    }
}

#[test]
fn the_addresses_in_the_settings_are_services_and_their_ports() {
    let ports: BTreeSet<(String, u64)> = resources("Service")
        .iter()
        .flat_map(|it| {
            list(&it["spec"]["ports"])
                .map(|port| {
                    (
                        string(&it["metadata"]["name"]).to_owned(),
                        port["port"].as_u64().unwrap(),
                    )
                })
                .collect::<Vec<_>>()
        })
        .collect();
    let settings = text("k8s/base/services/parley.toml");
    let message = text("k8s/base/services/secrets/message.example.toml");
    let initiate = text("k8s/base/mongodb/initiate.yaml");
    let routes = text("k8s/base/nats/nats.conf");
    for (page, address, service, port) in [
        (&settings, "tls://parley-nats:4222\"", "parley-nats", 4222),
        (
            &message,
            "@parley-mongodb-0.parley-mongodb:27017,parley-mongodb-1.parley-mongodb:27017,parley-mongodb-2.parley-mongodb:27017/",
            "parley-mongodb",
            27017,
        ),
        (
            &initiate,
            "parley-mongodb-0.parley-mongodb:27017,parley-mongodb-1.parley-mongodb:27017,parley-mongodb-2.parley-mongodb:27017\n",
            "parley-mongodb",
            27017,
        ),
        (
            &routes,
            "nats://parley-nats-2.parley-nats-pods:6222",
            "parley-nats-pods",
            6222,
        ),
    ] {
        assert!(page.contains(address), "{address} is named nowhere");
        assert!(
            ports.contains(&(service.to_owned(), port)),
            "there is no Service {service} with {port}"
        );
    }
    for (set, service) in [
        ("parley-nats", "parley-nats-pods"),
        ("parley-mongodb", "parley-mongodb"),
    ] {
        let set = crate::manifests::resource("StatefulSet", set);
        assert_eq!(
            (&set["spec"]["serviceName"], &set["spec"]["replicas"]),
            (&service.into(), &3.into())
        );
    }
}

#[test]
fn every_probe_asks_for_a_path_that_exists_on_a_port_that_is_declared() {
    let routes = text("shared/lifecycle/src/admin.rs");
    for workload in workloads().iter().filter(|it| it["kind"] != "Job") {
        let name = pod_name(workload);
        let ports = container_ports(workload);
        for kind in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let probe = &pod(workload)["containers"][0][kind];
            assert!(probe.is_object(), "{name} has no {kind}");
            let asked = ["httpGet", "tcpSocket"]
                .into_iter()
                .find_map(|it| probe[it]["port"].as_str());
            if let Some(port) = asked {
                assert!(
                    ports.iter().any(|(it, _)| it == port),
                    "{name}: {kind} asks port {port}"
                );
            }
            if workload["kind"] == "Deployment" {
                let path = string(&probe["httpGet"]["path"]);
                let expected = if kind == "readinessProbe" {
                    "/readyz"
                } else {
                    "/healthz"
                };
                assert_eq!((path, asked), (expected, Some("admin")), "{name}: {kind}");
                assert!(
                    routes.contains(&format!(".route(\"{path}\"")),
                    "no service answers {path}"
                );
            }
        }
    }
}

#[test]
fn prometheus_scrapes_every_service_where_its_metrics_are() {
    let routes = text("shared/lifecycle/src/admin.rs");
    let monitors = resources("PodMonitor");
    let scraped: BTreeSet<&str> = monitors
        .iter()
        .map(|it| string(&it["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]))
        .collect();
    let services = SERVICES.map(|it| format!("parley-{it}"));
    assert_eq!(scraped, services.iter().map(String::as_str).collect());
    for endpoint in monitors.iter().flat_map(|it| list(&it["spec"]["podMetricsEndpoints"])) {
        assert_eq!(
            (&endpoint["port"], &endpoint["path"]),
            (&"admin".into(), &"/metrics".into())
        );
    }
    assert!(routes.contains("\"/metrics\""));
}

#[test]
fn connections_scale_by_a_metric_that_the_service_has_and_the_adapter_offers() {
    let scaler = crate::manifests::resource("HorizontalPodAutoscaler", "parley-connection");
    let metric = string(&scaler["spec"]["metrics"][0]["pods"]["metric"]["name"]);
    let gauge = format!("gauge!(\"{metric}\"");
    let code = files_below("services/connection/src");
    assert!(
        code.iter().any(|it| text(it).contains(&gauge)),
        "the service has no {gauge})"
    );
    let rules = text("k8s/components/prometheus-operator/adapter-rules.yaml");
    assert!(rules.contains(&format!("as: {metric}\n")) && rules.contains(&format!("'{metric}{{")));
}

#[test]
fn the_way_in_leads_to_the_connection_service_and_lets_long_requests_last() {
    let ingress = text("k8s/components/ingress/ingress.yaml");
    let route = crate::manifests::resource("HTTPRoute", "parley");
    let api = text("services/connection/src/api/mod.rs");
    let long = &route["spec"]["rules"][0];
    assert_eq!(long["timeouts"]["request"], "0s");
    for path in list(&long["matches"]).map(|it| string(&it["path"]["value"])) {
        assert!(api.contains(&format!(".route(\"{path}\"")), "the service has no {path}");
        assert!(["/v1/ws", "/v1/events"].contains(&path));
    }
    for reference in list(&route["spec"]["rules"]).flat_map(|it| list(&it["backendRefs"])) {
        assert_eq!(
            (&reference["name"], &reference["port"]),
            (&"parley-connection".into(), &80.into())
        );
    }
    let heartbeat = Config::default().connection.heartbeat_ms / 1_000;
    let seconds = ingress.split("proxy-read-timeout: \"").nth(1).unwrap();
    let seconds: u64 = seconds.split('"').next().unwrap().parse().unwrap();
    assert!(
        seconds > heartbeat * 3 / 2,
        "a proxy that waits for {seconds} s cuts quiet sockets"
    );
}
