//! Settings and environment variables: those of the manifests are those of the code, none more and none less.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use config::{Config, settings};
use serde_json::Value;

use crate::manifests::{SERVICES, all, at, deployment, list, pod, string, text, walk};

const FILE: &str = "k8s/base/services/parley.toml";

/// Settings with another value than the code's default.
const CLUSTERS_OWN: [&str; 7] = [
    "auth.issuer",
    "connection.drain_delay_ms",
    "connection.drain_window_ms",
    "nats.ca_file",
    "nats.url",
    "stream.partitions",
    "stream.replicas",
];

/// Variables that the exporter of traces reads, by the standard (https://opentelemetry.io/docs/specs/otel/protocol/exporter/
/// and …/configuration/sdk-environment-variables/).
const STANDARD: [&str; 4] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];

/// Variables of the other programs, and the file of ours that reads them; none for what the program itself knows.
const OTHERS: [(&str, Option<&str>); 5] = [
    ("POD_NAME", Some("k8s/base/nats/nats.conf")),
    ("GOMEMLIMIT", None),
    ("HOME", None),
    ("HOSTS", Some("k8s/base/mongodb/initiate.js")),
    ("SECRETS", Some("k8s/base/mongodb/initiate.js")),
];

fn secret_file(service: &str) -> String {
    format!("k8s/base/services/secrets/{service}.example.toml")
}

/// A new file below the build's folder, for what is made of the repository's files.
fn written(content: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("kubernetes-{}.toml", COUNT.fetch_add(1, Ordering::Relaxed));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// The text with those comments opened that hold a setting (`# key = value`).
fn opened(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The keys of a TOML text, with their sections.
fn keys(text: &str) -> BTreeSet<String> {
    fn collect(prefix: &str, table: &toml::Table, into: &mut BTreeSet<String>) {
        for (key, value) in table {
            match value.as_table() {
                Some(inner) => collect(&format!("{prefix}{key}."), inner, into),
                None => drop(into.insert(format!("{prefix}{key}"))),
            }
        }
    }
    let mut all = BTreeSet::new();
    collect("", &text.parse().unwrap(), &mut all);
    all
}

/// The secret's example with a password in each place that waits for one (`@NAME@`).
fn filled(service: &str) -> String {
    let example = text(&secret_file(service));
    let mut parts = example.split('@').peekable();
    let mut out = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        let is_name = !part.is_empty() && part.bytes().all(|it| it.is_ascii_uppercase() || it == b'_');
        match parts.peek() {
            Some(after) if is_name => {
                out.push_str("a-password-of-more-than-thirty-two-bytes");
                out.push_str(after);
                parts.next();
            }
            _ => {
                out.push('@');
                out.push_str(part);
            }
        }
    }
    out
}

/// The settings of a service, from the files that its pod is given, in their order, and this environment.
fn loaded(service: &str, environment: &[(String, String)]) -> Config {
    let secret = written(&filled(service));
    let arguments: Vec<String> = list(&pod(&deployment(service))["containers"][0]["args"])
        .map(|it| string(it).to_owned())
        .collect();
    let files = arguments
        .chunks(2)
        .map(|pair| match (pair[0].as_str(), pair[1].as_str()) {
            ("--config", "/etc/parley/parley.toml") => at(FILE),
            ("--config", "/etc/parley/secret/secret.toml") => secret.clone(),
            other => panic!("{service} has an argument that nobody knows: {other:?}"),
        });
    let files: Vec<PathBuf> = files.collect();
    assert_eq!(files.len(), 2, "{service} reads both files");
    let environment = environment
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load_from(files.iter().map(PathBuf::as_path), environment, |_| {})
        .unwrap_or_else(|error| panic!("{service}: {error}"))
}

#[test]
fn each_service_takes_the_files_that_its_pod_is_given() {
    for service in SERVICES {
        let config = loaded(service, &[]);
        assert_eq!(config.nats.user.as_deref(), Some(service), "the NATS user of {service}");
    }
    assert!(loaded("connection", &[]).auth.secret().is_ok());
    assert!(loaded("message", &[]).mongodb.uri.contains("parley-mongodb-2"));
}

#[test]
fn every_setting_stands_in_the_file_or_in_a_secret() {
    let mut named = keys(&opened(&text(FILE)));
    for service in SERVICES {
        named.extend(keys(&filled(service)));
    }
    let known: BTreeSet<String> = settings().map(|it| it.key.to_owned()).collect();
    assert_eq!(named, known);
}

#[test]
fn no_secret_stands_in_the_file_that_all_services_read() {
    let secret = ["nats.password", "mongodb.uri", "auth.hs256_secret"];
    for key in keys(&opened(&text(FILE))) {
        assert!(!secret.contains(&key.as_str()), "{key} is in {FILE}");
    }
}

#[test]
fn what_is_off_would_be_taken_if_it_were_on() {
    let path = written(&opened(&text(FILE)));
    let config = Config::load_from([path.as_path()], [], |_| {}).unwrap();
    assert!(config.push.apns.key_file.is_some() && config.nats.credentials.is_some());
}

/// Every setting but secrets, as text, by its key.
fn flat(config: &Config) -> BTreeMap<String, String> {
    fn collect(prefix: &str, value: &Value, into: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    collect(&format!("{prefix}.{key}"), value, into);
                }
            }
            other => drop(into.insert(prefix.trim_start_matches('.').to_owned(), other.to_string())),
        }
    }
    let mut all = BTreeMap::new();
    collect("", &serde_json::to_value(config).unwrap(), &mut all);
    all
}

#[test]
fn values_are_the_defaults_or_named_as_the_clusters_own() {
    let ours = Config::load_from([at(FILE).as_path()], [], |_| {}).unwrap();
    let (ours, defaults) = (flat(&ours), flat(&Config::default()));
    let differs = ours.iter().filter(|(key, value)| defaults.get(*key) != Some(*value));
    let differs: Vec<&str> = differs.map(|(key, _)| key.as_str()).collect();
    assert_eq!(differs, CLUSTERS_OWN);
}

/// Every environment variable of every file, also in an overlay's patch: name, value if it is given, and the file.
fn variables() -> Vec<(String, Option<String>, String)> {
    let mut found = Vec::new();
    for (path, documents) in &all() {
        for document in documents {
            walk(document, &mut |value| {
                let Some(name) = value["name"].as_str() else { return };
                let is_variable = name
                    .bytes()
                    .all(|it| it.is_ascii_uppercase() || it.is_ascii_digit() || it == b'_');
                if is_variable {
                    found.push((
                        name.to_owned(),
                        value["value"].as_str().map(str::to_owned),
                        path.clone(),
                    ));
                }
            });
        }
    }
    found
}

#[test]
fn every_environment_variable_is_one_that_somebody_reads() {
    let variables = variables();
    for (name, value, path) in &variables {
        if name.starts_with("PARLEY_") {
            // The loader refuses what it does not know, and a value that does not fit.
            let pair = (
                name.clone(),
                value.clone().unwrap_or_else(|| panic!("{path}: {name} has no value")),
            );
            assert!(
                settings().any(|it| it.variable() == *name),
                "{path}: {name} is no setting"
            );
            loaded("connection", &[pair]);
            continue;
        }
        let other = OTHERS.iter().find(|(other, _)| other == name);
        assert!(
            STANDARD.contains(&name.as_str()) || other.is_some(),
            "{path}: nobody reads {name}"
        );
        if let Some((_, Some(reader))) = other {
            assert!(
                text(reader).contains(name.as_str()),
                "{path}: {reader} does not read {name}"
            );
        }
    }
    let used: BTreeSet<&str> = variables.iter().map(|(name, ..)| name.as_str()).collect();
    for name in STANDARD.iter().chain(OTHERS.iter().map(|(name, _)| name)) {
        assert!(used.contains(name), "{name} is known here and in no manifest");
    }
}

#[test]
fn every_service_says_where_its_traces_go() {
    for service in SERVICES {
        let deployment = deployment(service);
        let names: Vec<&str> = list(&pod(&deployment)["containers"][0]["env"])
            .map(|it| string(&it["name"]))
            .collect();
        assert_eq!(names, STANDARD, "{service}");
    }
}
