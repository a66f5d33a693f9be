//! Reading the manifests: resources by kind and name, and whatever stands in a file.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The services, by the names of their Deployments without `parley-`.
pub const SERVICES: [&str; 4] = ["connection", "message", "presence", "push"];

/// A path of the repository.
pub fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The text of a file of the repository.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below a folder, by their paths in the repository, in order.
pub fn files_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(at(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")) {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// The YAML files below `k8s`, each with its documents.
pub fn all() -> Vec<(String, Vec<Value>)> {
    let yaml = files_below("k8s").into_iter().filter(|path| path.ends_with(".yaml"));
    yaml.map(|path| (path.clone(), documents(&path))).collect()
}

fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The resources of a kind, of base and components, without the overlays.
pub fn resources(kind: &str) -> Vec<Value> {
    let ours = all().into_iter().filter(|(path, _)| !path.starts_with("k8s/overlays/"));
    ours.flat_map(|(_, documents)| documents)
        .filter(|it| it["kind"] == kind)
        .collect()
}

/// The one resource of a kind and name.
pub fn resource(kind: &str, name: &str) -> Value {
    let mut found = resources(kind);
    found.retain(|it| it["metadata"]["name"] == name);
    assert_eq!(found.len(), 1, "{kind} {name}");
    found.remove(0)
}

/// Whatever makes pods.
pub fn workloads() -> Vec<Value> {
    ["Deployment", "StatefulSet", "Job"]
        .into_iter()
        .flat_map(resources)
        .collect()
}

/// The Deployment of a service.
pub fn deployment(service: &str) -> Value {
    resource("Deployment", &format!("parley-{service}"))
}

/// The specification of a workload's pods.
pub fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// The name of its pods, as policies and monitors select them.
pub fn pod_name(workload: &Value) -> &str {
    string(&workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"])
}

/// The elements of a list, none where there is no list.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A value that must be text.
pub fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Calls `see` with the value and everything in it.
pub fn walk<'a>(value: &'a Value, see: &mut impl FnMut(&'a Value)) {
    see(value);
    match value {
        Value::Array(values) => values.iter().for_each(|it| walk(it, see)),
        Value::Object(fields) => fields.values().for_each(|it| walk(it, see)),
        _ => {}
    }
}
