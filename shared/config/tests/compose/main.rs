//! docker-compose.yml, Dockerfile and what they mount, held against the code and against what a container of ours has to be:
//! without an engine and without a network. `deploy/compose/prove.sh` runs them for real.
#![expect(clippy::unwrap_used, reason = "a test binary has no users")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Parts that do one thing and end, and the tool: nobody asks them for their health.
const ONE_SHOT: [&str; 3] = ["keys", "replica-set", "parley"];

/// The programs of this repository that run as services.
const SERVICES: [&str; 4] = ["connection", "message", "presence", "push"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The parts of the compose file, anchors and merges resolved.
fn parts() -> BTreeMap<String, Value> {
    let file: Value = serde_saphyr::from_str(&read("docker-compose.yml")).unwrap();
    serde_json::from_value(file["services"].clone()).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// Names of environment variables, with their values.
fn environment(part: &Value) -> BTreeMap<String, String> {
    let fields = part["environment"].as_object().into_iter().flatten();
    fields
        .map(|(name, value)| {
            (
                name.clone(),
                value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            )
        })
        .collect()
}

/// What is not a setting of ours, although it looks like one.
fn unknown<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let known: Vec<String> = config::settings().map(config::Setting::variable).collect();
    names
        .filter(|name| name.starts_with("PARLEY_") && !known.iter().any(|it| it == name))
        .collect()
}

#[test]
fn every_variable_is_a_setting() {
    for (name, part) in parts() {
        let environment = environment(&part);
        assert_eq!(unknown(environment.keys().map(String::as_str)), [""; 0], "{name}");
    }
    for service in SERVICES {
        let environment = environment(&parts()[service]);
        assert_eq!(environment["PARLEY_NATS__USER"], service);
        assert!(
            environment.contains_key("OTEL_EXPORTER_OTLP_ENDPOINT"),
            "{service} tells no traces"
        );
    }
}

#[test]
fn a_service_has_the_password_that_nats_asks_it_for() {
    let parts = parts();
    let nats = environment(&parts["nats"]);
    for part in SERVICES.into_iter().chain(["parley"]) {
        let environment = environment(&parts[part]);
        let variable = format!("NATS_PASSWORD_{}", environment["PARLEY_NATS__USER"].to_uppercase());
        assert_eq!(environment["PARLEY_NATS__PASSWORD"], nats[&variable], "{part}");
        let file = read("deploy/compose/passwords.conf");
        assert!(
            file.contains(&format!("${variable}\n")),
            "passwords.conf does not read {variable}"
        );
    }
}

#[test]
fn the_file_of_played_push_providers_sets_only_what_push_is_given() {
    let file = read("deploy/compose/fake-push.env");
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = lines.filter_map(|line| line.split('=').next()).collect();
    assert_eq!(unknown(names.iter().copied()), [""; 0]);
    let given = environment(&parts()["push"]);
    for name in names.into_iter().filter(|name| name.starts_with("PARLEY_")) {
        assert_eq!(
            given.get(name),
            Some(&format!("${{{name}:-}}")),
            "push does not get {name}"
        );
    }
}

#[test]
fn nobody_is_root_or_may_become_it_and_everybody_is_bounded() {
    for (name, part) in parts() {
        assert_eq!(part["read_only"], true, "{name} writes to its root");
        assert_eq!(strings(&part["cap_drop"]), ["ALL"], "{name} keeps capabilities");
        assert_eq!(strings(&part["security_opt"]), ["no-new-privileges:true"], "{name}");
        let user = part["user"]
            .as_str()
            .and_then(|it| it.split(':').next()?.parse::<u32>().ok());
        assert!(
            user.is_some_and(|it| it > 0),
            "{name} is root, or its user is no number"
        );
        for bound in ["mem_limit", "cpus", "pids_limit"] {
            assert!(!part[bound].is_null(), "{name} has no {bound}");
        }
        assert!(
            part["privileged"].is_null() && part["cap_add"].is_null(),
            "{name} has privileges"
        );
    }
}

#[test]
fn every_image_is_pinned() {
    let dockerfile = read("Dockerfile");
    let bases = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
    let parts = parts();
    let images = parts.values().map(|part| part["image"].as_str().unwrap());
    // A stage's own name has no registry, no path and no tag.
    let stages: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.split(" AS ").nth(1))
        .collect();
    let named: Vec<&str> = bases.chain(images).filter(|it| !stages.contains(it)).collect();
    assert!(named.len() > 10, "{named:?}");
    for image in named {
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(
            tag.is_some_and(|it| it != "latest" && !it.contains('/')),
            "{image} is not pinned"
        );
    }
}

#[test]
fn every_part_tells_its_health_and_is_waited_for() {
    let parts = parts();
    for (name, part) in &parts {
        let told = part["healthcheck"]["test"].as_array().is_some_and(|it| it.len() > 1);
        assert_eq!(told, !ONE_SHOT.contains(&name.as_str()), "{name}");
        let needs = part["depends_on"].as_object().into_iter().flatten();
        for (other, need) in needs {
            let expected = match ONE_SHOT.contains(&other.as_str()) {
                true => "service_completed_successfully",
                false => "service_healthy",
            };
            assert!(parts.contains_key(other), "{name} needs {other}, which is not there");
            assert_eq!(need["condition"], expected, "{name} does not wait for {other}");
        }
    }
    for service in SERVICES {
        let program = format!("/usr/local/bin/{service}");
        let test = strings(&parts[service]["healthcheck"]["test"]);
        assert_eq!(test, ["CMD", &program, "--check-ready"], "{service}");
    }
}

#[test]
fn every_target_is_a_stage_with_its_program() {
    let dockerfile = read("Dockerfile");
    for (name, part) in parts() {
        let Some(target) = part["build"]["target"].as_str() else {
            continue;
        };
        let stage = dockerfile.split(&format!(" AS {target}\n")).nth(1).unwrap_or_default();
        let stage = stage.split("\nFROM ").next().unwrap_or_default();
        let entrypoint = format!("ENTRYPOINT [\"/usr/local/bin/{target}\"]");
        assert!(
            stage.contains(&entrypoint),
            "{name}: {target} does not start its program"
        );
    }
}

#[test]
fn each_image_is_built_by_one_part_and_pulled_by_none() {
    let ours = |part: &Value| part["image"].as_str().is_some_and(|it| it.starts_with("parley"));
    let mut built: Vec<String> = Vec::new();
    for (name, part) in parts().iter().filter(|(_, part)| ours(part)) {
        let image = part["image"].as_str().unwrap().to_owned();
        if part["build"].is_null() {
            assert_eq!(part["pull_policy"], "never", "{name}");
        } else {
            assert!(!built.contains(&image), "{image} is built twice: by {name} too");
            built.push(image);
        }
    }
    assert_eq!(built.len(), 5, "the tool's and the services': {built:?}");
}

#[test]
fn ports_are_those_of_the_code_and_published_on_loopback_alone() {
    let admin = config::Admin::default().listen.port();
    let http = config::Http::default().listen.port();
    let proxy = read("deploy/proxy/haproxy.cfg");
    assert!(proxy.contains(&format!("check port {admin} ")) && proxy.contains(&format!("connection:{http}\n")));
    let prometheus: Value = serde_saphyr::from_str(&read("deploy/prometheus/prometheus.yml")).unwrap();
    let jobs = prometheus["scrape_configs"].as_array().unwrap();
    for service in SERVICES {
        let job = jobs.iter().find(|job| job["job_name"] == service).unwrap();
        assert_eq!(job["dns_sd_configs"][0]["port"], admin, "{service}");
    }
    for (name, part) in parts() {
        for port in strings(&part["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} to everybody");
        }
    }
}

#[test]
fn what_is_mounted_from_here_is_here_and_read_only() {
    let mut mounted = 0;
    for (name, part) in parts() {
        for volume in strings(&part["volumes"]).iter().filter(|it| it.starts_with("./")) {
            let mut fields = volume.split(':');
            let path = fields.next().unwrap();
            assert!(root().join(path).exists(), "{name} mounts {path}, which does not exist");
            assert_eq!(fields.nth(1), Some("ro"), "{name} may write {path}");
            mounted += 1;
        }
    }
    assert!(mounted > 5, "{mounted}");
}

#[test]
fn the_proxy_waits_longer_than_what_keeps_a_connection_alive() {
    let proxy = read("deploy/proxy/haproxy.cfg");
    let seconds = |name: &str| -> u64 {
        let line = proxy
            .lines()
            .find_map(|line| line.trim().strip_prefix(&format!("timeout {name} ")));
        line.and_then(|it| it.trim().strip_suffix('s')?.parse().ok()).unwrap()
    };
    // A socket from which nothing comes for one and a half heartbeats is closed by the service, not by the proxy.
    let heartbeat = config::Connection::default().heartbeat_ms / 1_000;
    assert!(seconds("tunnel") > heartbeat * 2, "WebSockets");
    // Comments of a stream of events come every 15 s; a long poll takes up to 60 s.
    assert!(
        seconds("server") > 60 && seconds("client") > 60,
        "streams and long polls"
    );
}
