//! The kustomizations: whatever they name exists, and whatever exists is named.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::manifests::{all, at, files_below, list, string, text};

/// What is no manifest, and why.
const NOT_MANIFESTS: [&str; 1] = ["k8s/components/prometheus-operator/adapter-rules.yaml"];

/// The files and folders that a kustomization names, as paths of the repository.
fn named(path: &str, page: &Value) -> BTreeSet<String> {
    let folder = Path::new(path).parent().unwrap().to_str().unwrap();
    let lists = ["resources", "components"].into_iter().flat_map(|it| list(&page[it]));
    let generated = list(&page["configMapGenerator"]).flat_map(|it| list(&it["files"]));
    let patches = list(&page["patches"]).filter_map(|it| it.get("path"));
    let all = lists.chain(generated).chain(patches);
    all.map(|it| normal(&format!("{folder}/{}", string(it)))).collect()
}

/// The path without `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// Every kustomization, with its path.
fn kustomizations() -> Vec<(String, Value)> {
    let mut found: Vec<(String, Value)> = Vec::new();
    for (path, mut pages) in all() {
        if path.ends_with("/kustomization.yaml") {
            assert_eq!(pages.len(), 1, "{path}");
            found.push((path, pages.remove(0)));
        }
    }
    let shared = "deploy/nats/kustomization.yaml";
    found.push((shared.to_owned(), serde_saphyr::from_str(&text(shared)).unwrap()));
    found
}

#[test]
fn what_a_kustomization_names_exists() {
    assert!(kustomizations().len() >= 12, "the kustomizations were not found");
    for (path, page) in kustomizations() {
        for name in named(&path, &page) {
            let target = at(&name);
            let found = target.is_file() || target.join("kustomization.yaml").is_file();
            assert!(found, "{path} names {name}, which does not exist");
        }
    }
}

#[test]
fn every_manifest_is_named_by_a_kustomization() {
    let used: BTreeSet<String> = kustomizations()
        .iter()
        .flat_map(|(path, page)| named(path, page))
        .collect();
    for path in files_below("k8s") {
        let is_manifest = path.ends_with(".yaml") && !path.ends_with("/kustomization.yaml");
        if is_manifest && !NOT_MANIFESTS.contains(&path.as_str()) {
            assert!(
                used.contains(&path),
                "no kustomization names {path}: it would never be applied"
            );
        }
    }
}

#[test]
fn images_have_the_names_of_the_services() {
    for service in crate::manifests::SERVICES {
        let deployment = crate::manifests::deployment(service);
        let image = string(&crate::manifests::pod(&deployment)["containers"][0]["image"]);
        assert_eq!(image, format!("parley-{service}:latest"));
    }
}

#[test]
fn the_development_cluster_runs_the_images_that_compose_builds() {
    let compose: Value = serde_saphyr::from_str(&text("docker-compose.yml")).unwrap();
    let overlay: Value = serde_saphyr::from_str(&text("k8s/overlays/dev/kustomization.yaml")).unwrap();
    let rendered: BTreeSet<String> = list(&overlay["images"])
        .map(|it| format!("{}:{}", string(&it["name"]), string(&it["newTag"])))
        .collect();
    let built: BTreeSet<String> = crate::manifests::SERVICES
        .map(|it| string(&compose["services"][it]["image"]).to_owned())
        .into();
    assert_eq!(rendered, built);
}
