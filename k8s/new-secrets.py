#!/usr/bin/env python3
"""Prints every Secret of a deployment, with new random passwords, for `kubectl create -f -`.

    python3 k8s/new-secrets.py --tls | kubectl create -f -

`create`, not `apply`: a second run would replace passwords that servers hold already, and must fail instead. Nothing is kept
anywhere else: back the Secrets up as you do others.
"""

import argparse
import base64
import json
import pathlib
import re
import secrets
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SERVICES = ["connection", "message", "presence", "push"]
USERS = [*SERVICES, "operator"]
NAMES = ["parley-nats", "parley-nats.{0}", "parley-nats.{0}.svc", "*.parley-nats-pods", "*.parley-nats-pods.{0}.svc", "localhost"]


def secret(namespace, name, files):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "parley"}},
        "stringData": files,
    }


def filled(path, values):
    """An example with its placeholders replaced; one that nobody knows is an error."""
    return re.sub(r"@([A-Z][A-Z_]+)@", lambda found: values[found[1]], path.read_text())


def tls(namespace):
    """An authority and the NATS nodes' certificate, for ten years, by the openssl program."""
    def run(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: str(pathlib.Path(folder) / name)  # noqa: E731
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        run("req", "-x509", *curve, "-days", "3650", "-subj", "/CN=Parley authority",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", at("ca.key"), "-out", at("ca.crt"))
        run("req", *curve, "-subj", "/CN=parley-nats", "-keyout", at("tls.key"), "-out", at("tls.csr"))
        names = ",".join("DNS:" + name.format(namespace) for name in NAMES)
        pathlib.Path(at("names")).write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
        run("x509", "-req", "-in", at("tls.csr"), "-CA", at("ca.crt"), "-CAkey", at("ca.key"), "-CAcreateserial",
            "-days", "3650", "-extfile", at("names"), "-out", at("tls.crt"))
        return {name: pathlib.Path(at(name)).read_text() for name in ("ca.crt", "tls.crt", "tls.key")}


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--namespace", default="parley")
    options.add_argument("--tls", action="store_true", help="parley-nats-tls too: where no cert-manager makes it")
    options = options.parse_args()
    names = [f"NATS_{it.upper()}" for it in USERS] + ["MONGODB_PARLEY", "MONGODB_BACKUP"]
    values = {name: secrets.token_urlsafe(24) for name in names} | {"TOKEN_KEY": secrets.token_urlsafe(48)}
    made = [
        secret(options.namespace, f"parley-{it}", {
            "secret.toml": filled(HERE / f"base/services/secrets/{it}.example.toml", values)
        })
        for it in SERVICES
    ]
    made.append(secret(options.namespace, "parley-nats-passwords", {
        # Variables of deploy/nats/permissions.conf, as deploy/nats/passwords.conf.example lists them.
        "passwords.conf": "".join(f'{it.upper()}_PASSWORD: "{values["NATS_" + it.upper()]}"\n' for it in USERS)
    }))
    made.append(secret(options.namespace, "parley-mongodb", {
        # At most 1,024 characters of base64.
        "keyfile": base64.b64encode(secrets.token_bytes(741)).decode(),
        "parley-password": values["MONGODB_PARLEY"],
        "backup-password": values["MONGODB_BACKUP"],
    }))
    # The environment of an operator's pod.
    message = filled(HERE / "base/services/secrets/message.example.toml", values)
    made.append(secret(options.namespace, "parley-operator", {
        "PARLEY_NATS__USER": "operator",
        "PARLEY_NATS__PASSWORD": values["NATS_OPERATOR"],
        "PARLEY_MONGODB__URI": re.search(r'^uri = "(.*)"$', message, re.M)[1],
        "MONGODB_BACKUP_PASSWORD": values["MONGODB_BACKUP"],
    }))
    if options.tls:
        made.append(secret(options.namespace, "parley-nats-tls", tls(options.namespace)))
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": made}, indent=2))


if __name__ == "__main__":
    main()
