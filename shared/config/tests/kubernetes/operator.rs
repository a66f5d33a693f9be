//! `k8s/operator.json`, from which `kubectl run` makes an operator's pod: no kustomization names it, so nothing else looks at it.

use serde_json::{Value, json};

use crate::manifests::{list, resources, string, text};

fn pod() -> Value {
    let file: Value = serde_json::from_str(&text("k8s/operator.json")).unwrap();
    file["spec"].clone()
}

#[test]
fn an_operators_pod_is_one_that_the_namespace_admits() {
    let pod = pod();
    let container = &pod["containers"][0];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"],
        json!({"type": "RuntimeDefault"})
    );
    let expected = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    assert_eq!(container["securityContext"], expected);
    // `--override-type=strategic` merges containers by their names, and `kubectl run` gives the pod's.
    assert_eq!(container["name"], "operator");
    let readme = text("k8s/README.md");
    assert!(readme.contains("run operator ") && readme.contains("--override-type=strategic"));
    assert!(readme.contains("--labels=app.kubernetes.io/name=parley-operator"));
}

#[test]
fn its_variables_are_settings_and_its_secrets_are_made() {
    let (pod, made) = (pod(), text("k8s/new-secrets.py"));
    let container = &pod["containers"][0];
    for variable in list(&container["env"]) {
        let name = string(&variable["name"]);
        let known = config::settings().any(|it| it.variable() == name);
        assert!(known || !name.starts_with("PARLEY_"), "{name} is no setting");
        if let Some(key) = variable["valueFrom"]["secretKeyRef"]["key"].as_str() {
            assert!(made.contains(&format!("\"{key}\": ")), "no Secret has {key}");
        }
    }
    assert_eq!(container["envFrom"][0]["secretRef"]["name"], "parley-operator");
    for secret in ["parley-operator", "parley-nats-tls"] {
        assert!(
            made.contains(&format!("secret(options.namespace, \"{secret}\"")),
            "{secret} is not made"
        );
    }
    // What the page's commands use of it.
    assert!(
        made.contains("\"MONGODB_BACKUP_PASSWORD\": ") && text("k8s/README.md").contains("$MONGODB_BACKUP_PASSWORD")
    );
}

#[test]
fn it_asks_servers_that_are_there_and_mounts_what_it_names() {
    let pod = pod();
    let container = &pod["containers"][0];
    let services = resources("Service");
    for name in ["PARLEY_NATS__URL", "NATS_URL"] {
        let variable = list(&container["env"]).find(|it| it["name"] == name).unwrap();
        let service = services
            .iter()
            .find(|it| it["metadata"]["name"] == "parley-nats")
            .unwrap();
        let port = service["spec"]["ports"][0]["port"].as_u64().unwrap();
        assert_eq!(variable["value"], format!("tls://parley-nats:{port}"));
    }
    let volumes: Vec<&Value> = list(&pod["volumes"]).map(|it| &it["name"]).collect();
    let mounts: Vec<&Value> = list(&container["volumeMounts"]).map(|it| &it["name"]).collect();
    assert_eq!(volumes, mounts);
}
