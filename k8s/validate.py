#!/usr/bin/env python3
"""Renders every overlay and checks it strictly: a field that Kubernetes does not know is an error, in each of three versions.

    python3 k8s/validate.py            # all overlays
    python3 k8s/validate.py --keep DIR # and keeps what was rendered

It needs `kubectl` or `kustomize` on the PATH (else Go, with which it builds kustomize once), and pip, with which it
fetches the schemas once into a folder of the cache (~/.cache/parley/k8s, or $PARLEY_K8S_CACHE). Custom resources are held against
the definitions that their projects publish as Go modules; without Go they are named as not checked.

What it leaves out: whether the values fit each other and the code, which `cargo test kubernetes` checks, and what only a cluster
can say (admission, whether an image exists).
"""

import argparse
import copy
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("PARLEY_K8S_CACHE") or pathlib.Path.home() / ".cache/parley/k8s")
OVERLAYS = ["base", "overlays/dev", "overlays/production", "overlays/production-external"]
# One that is still in use though out of support, one between, the newest that has a schema.
VERSIONS = ["1.30", "1.34", "1.37"]
SCHEMAS = "kubernetes-validate==1.37.0"
KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"
# Where the definitions of custom resources are published: module, version, files.
DEFINITIONS = [
    ("github.com/cert-manager/cert-manager", "v1.18.2", "deploy/crds/*.yaml"),
    ("sigs.k8s.io/gateway-api", "v1.3.0", "config/crd/standard/*.yaml"),
    ("github.com/prometheus-operator/prometheus-operator", "v0.85.0", "example/prometheus-operator-crd/*monitors.yaml"),
    ("github.com/prometheus-operator/prometheus-operator", "v0.85.0", "example/prometheus-operator-crd/*prometheusrules.yaml"),
]


def inside_the_cache():
    """Goes on in a Python of the cache that has the schemas; makes it at the first time."""
    folder = CACHE / f"venv-{SCHEMAS.replace('==', '-')}-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin/python"
    if pathlib.Path(sys.prefix) == folder:
        return
    done = folder / "complete"
    if not done.exists():
        print(f"fetching {SCHEMAS} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", SCHEMAS], check=True)
        done.touch()
    os.execv(python, [python, *sys.argv])


def renderer():
    """The command that renders a folder, or None."""
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    built = CACHE / "bin" / "kustomize"
    if not built.exists() and shutil.which("go"):
        print(f"building {KUSTOMIZE} into {built.parent}", file=sys.stderr)
        environment = {**os.environ, "GOBIN": str(built.parent), "GOFLAGS": "-mod=mod"}
        subprocess.run(["go", "install", KUSTOMIZE], check=True, env=environment)
    return [built, "build"] if built.exists() else None


def strict(schema):
    """A definition's schema, closed: what it does not name is refused, as the API server's strict mode does."""
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    out = {key: strict(value) for key, value in schema.items() if key not in ("properties", "format")}
    if isinstance(out.get("pattern"), str):
        # Go takes a flag after the anchor, Python only before it.
        out["pattern"] = out["pattern"].replace("^(?i)", "(?i)^")
    if "properties" in schema:
        out["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            out["additionalProperties"] = False
    for key in ("allOf", "anyOf", "oneOf"):
        # Conditions on the fields named above, not lists of fields.
        if key in schema:
            out[key] = schema[key]
    return out


def definitions():
    """Schemas of custom resources by API version and kind."""
    import yaml

    found = {}
    if not shutil.which("go"):
        return found
    for module, version, files in DEFINITIONS:
        # In a folder without a module of its own; the module cache is Go's.
        said = subprocess.run(
            ["go", "mod", "download", "-json", f"{module}@{version}"], capture_output=True, text=True, cwd=CACHE
        )
        if said.returncode != 0:
            print(f"{module}: {said.stdout.strip()[-300:]}{said.stderr.strip()[-300:]}", file=sys.stderr)
            continue
        for path in pathlib.Path(json.loads(said.stdout)["Dir"]).glob(files):
            for page in yaml.load_all(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
                if not page or page.get("kind") != "CustomResourceDefinition":
                    continue
                for served in page["spec"]["versions"]:
                    schema = strict(served["schema"]["openAPIV3Schema"])
                    schema["properties"]["metadata"] = {"type": "object"}
                    name = f"{page['spec']['group']}/{served['name']}"
                    found[name, page["spec"]["names"]["kind"]] = schema
    return found


def problem(page, version, custom):
    """What is wrong with a resource, or None; "no schema" where nobody knows its kind."""
    import jsonschema
    import kubernetes_validate

    schema = custom.get((page["apiVersion"], page["kind"]))
    try:
        if schema:
            jsonschema.validate(page, schema)
        else:
            kubernetes_validate.validate(page, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return "no schema"
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
        where = ".".join(str(part) for part in error.absolute_path)
        return f"{where}: {error.message}"[:300]
    return None


def called(page):
    return f"{page['kind']} {page['metadata']['name']}"


def sees_mistakes(pages, custom):
    """A field that does not exist must be seen in each kind; a check that passes everything is none. Returns what was not."""
    unseen, tried = [], set()
    for page in pages:
        fields = page.get("spec", page.get("data"))
        if page["kind"] in tried or not isinstance(fields, dict) or page["kind"] in ("ConfigMap", "Secret"):
            continue
        tried.add(page["kind"])
        broken = copy.deepcopy(page)
        name = next(iter(fields))
        broken["spec"][name + "x"] = broken["spec"][name]
        for version in VERSIONS:
            if problem(broken, version, custom) is None:
                unseen.append(f"{called(page)} with a field {name}x in {version}")
    return unseen, len(tried)


# Secrets that others make: the public certificate, and push keys for those who have some.
OTHERS_SECRETS = {"parley-public-tls", "parley-push-keys"}


def secrets():
    """What new-secrets.py prints."""
    said = subprocess.run([sys.executable, HERE / "new-secrets.py", "--tls"], capture_output=True, text=True, check=True)
    return json.loads(said.stdout)["items"]


def mounted(value):
    """Names of all Secrets that a resource mounts, and the keys that it wants of each."""
    if isinstance(value, list):
        for inner in value:
            yield from mounted(inner)
    elif isinstance(value, dict):
        for kind, name in (("secret", "name"), ("secret", "secretName")):
            secret = value.get(kind)
            if isinstance(secret, dict) and name in secret:
                yield secret[name], [item["key"] for item in secret.get("items", [])]
        for inner in value.values():
            yield from mounted(inner)


def missing_secrets(pages, made):
    """What pods mount and new-secrets.py does not make, and passwords that NATS asks for and does not get."""
    files = {page["metadata"]["name"]: page["stringData"] for page in made}
    for page in pages:
        for name, keys in mounted(page.get("spec")):
            if name not in OTHERS_SECRETS and not (name in files and set(keys) <= set(files[name])):
                yield f"{called(page)}: the Secret {name} with {', '.join(keys) or 'anything'} is not made by new-secrets.py"
    asked = set(re.findall(r"\$([A-Z_]+)", (HERE.parent / "deploy/nats/permissions.conf").read_text()))
    # $JS, $KV and the like are subjects.
    asked = {name for name in asked if name.endswith("_PASSWORD")}
    given = set(re.findall(r"^([A-Z_]+):", files["parley-nats-passwords"]["passwords.conf"], re.M))
    if asked != given:
        yield f"NATS asks for {', '.join(sorted(asked ^ given))}, which new-secrets.py does not know, or the other way round"


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--keep", type=pathlib.Path, metavar="DIR", help="keep what was rendered, a file for each")
    keep = options.parse_args().keep
    CACHE.mkdir(parents=True, exist_ok=True)
    inside_the_cache()
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    command, custom = renderer(), definitions()
    if command is None:
        sys.exit("neither kubectl nor kustomize on the PATH, and no Go to build it with: nothing was rendered or checked")
    failures, unknown, checked, all_pages = [], set(), {}, []
    for overlay in OVERLAYS:
        said = subprocess.run([*command, HERE / overlay], capture_output=True, text=True)
        if said.returncode != 0:
            failures.append(f"{overlay}: {said.stderr.strip()}")
            continue
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{overlay.replace('/', '-')}.yaml").write_text(said.stdout)
        pages = [page for page in yaml.load_all(said.stdout, Loader=loader) if page]
        all_pages += pages
        for page in pages:
            for version in VERSIONS:
                # Overlays share most of what they hold.
                key = json.dumps([version, page], sort_keys=True, default=str)
                wrong = checked[key] = checked[key] if key in checked else problem(page, version, custom)
                if wrong == "no schema":
                    unknown.add(page["kind"])
                elif wrong:
                    failures.append(f"{overlay}: {called(page)} ({version}): {wrong}")
    made = secrets()
    failures += sorted(set(missing_secrets(all_pages, made)))
    for page in made:
        failures += [f"new-secrets.py: {called(page)}: {wrong}" for v in VERSIONS if (wrong := problem(page, v, custom))]
    unseen, kinds = sees_mistakes(all_pages, custom)
    failures += [f"a mistake was not seen: {it}" for it in unseen]
    for line in failures:
        print(line)
    if unknown:
        print(f"not checked, for want of their definitions: {', '.join(sorted(unknown))}")
    print(f"{' '.join(map(str, command))}: {len(OVERLAYS)} overlays, {len(checked)} checks against {', '.join(VERSIONS)}, "
          f"an unknown field seen in {kinds} kinds, {len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
