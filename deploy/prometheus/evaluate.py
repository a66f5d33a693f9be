#!/usr/bin/env python3
"""Asks a running Prometheus every query of rules.yml and of the dashboards once: `evaluate.py http://127.0.0.1:9090`.

Prints what each comes to: the number of series, `empty`, or the error; and exits 1 if any is an error. That an alert is
empty is good news; that a panel is empty is fine where nothing of its kind has happened.
"""

import json
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).parent


def ask(base, path, **query):
    url = f"{base}{path}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.loads(error.read() or b"{}")


def queries(base):
    """Where it stands, and the query."""
    for group in ask(base, "/api/v1/rules")["data"]["groups"]:
        for rule in group["rules"]:
            yield f"rule {rule['name']}", rule["query"]
    for path in sorted((HERE.parent / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}: {panel['title']}", target["expr"].replace("$__rate_interval", "1m")


def main(base):
    counts = {"error": 0, "empty": 0, "series": 0}
    for place, query in queries(base):
        answer = ask(base, "/api/v1/query", query=query)
        if answer.get("status") != "success":
            outcome, kind = f"error: {answer.get('error')}", "error"
        else:
            found = answer["data"]["result"]
            values = [it["value"][1] for it in found]
            some = [it for it in values if it != "NaN"]
            kind = "series" if some else "empty"
            outcome = f"{len(found)} series, {some[0]}" if some else ("only NaN" if values else "empty")
        counts[kind] += 1
        print(f"{outcome:32} {place}: {' '.join(query.split())}")
    print(counts)
    return 1 if counts["error"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].rstrip("/")))
