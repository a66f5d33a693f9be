"""Stands for Grafana where its image cannot be had: reads what Grafana would be provisioned with, and shows nothing.

It ends with an error if a file cannot be read, if a dashboard has no title, uid or panels, or if a panel asks a data source
that is not provisioned. What it leaves out: Grafana's own judgement of the files.
"""

import glob
import http.server
import json
import sys

import yaml


def read(pattern):
    return [yaml.safe_load(open(file)) for file in sorted(glob.glob(pattern, recursive=True))]


def sources_of(node):
    """Every uid of a data source, at any depth."""
    if isinstance(node, dict):
        source = node.get("datasource")
        if isinstance(source, dict) and "uid" in source:
            yield source["uid"]
        for value in node.values():
            yield from sources_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from sources_of(value)


def problems():
    base = "/etc/grafana/provisioning"
    known = {"grafana", "-- Grafana --", "-- Mixed --"}
    for file in read(f"{base}/datasources/*.yml"):
        known |= {source["uid"] for source in file["datasources"]}
    folders = [it["options"]["path"] for file in read(f"{base}/dashboards/*.yml") for it in file["providers"]]
    if not folders:
        yield "no folder of dashboards is provisioned"
    boards = [file for folder in folders for file in sorted(glob.glob(f"{folder}/*.json"))]
    if not boards:
        yield f"no dashboard is in {folders}"
    for file in boards:
        board = json.load(open(file))
        for needed in ("title", "uid", "panels"):
            if not board.get(needed):
                yield f"{file} has no {needed}"
        for uid in set(sources_of(board)):
            if uid not in known and not uid.startswith("$"):
                yield f"{file} asks the data source {uid}, which is not provisioned"
    print(f"stand-in for Grafana: {len(boards)} dashboards, data sources {sorted(known)}", flush=True)


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()
        self.wfile.write(b'{"stand-in": true}\n')

    def log_message(self, *_):
        pass


found = list(problems())
for problem in found:
    print(problem, file=sys.stderr)
if found:
    sys.exit(1)
http.server.ThreadingHTTPServer(("0.0.0.0", 3000), Health).serve_forever()
