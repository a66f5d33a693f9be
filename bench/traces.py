#!/usr/bin/env python3
"""What traces cost: `parley bench pairs` with traces off and at 1 % sampling, in turn, and the ratio of their medians.

A collector is played here, in this process: it takes spans by OTLP over HTTP and throws them away, but counts them. Its own
time, and the load generator's, are not the servers'. Needs a release build, Python 3 and nothing else.

    bench/traces.py --rounds 8 --rate 9000        # a little more than two cores carry: acked/s is the throughput
"""

import argparse
import http.server
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    exports = 0
    received = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        Collector.exports += 1
        Collector.received += len(body)
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def run(options, environment):
    """One deployment of its own under load; the figures of its one step."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [options.parley, "bench", "pairs", "--rate", str(options.rate), "--pairs", str(options.pairs),
                   "--seconds", str(options.seconds), "--json", report.name]
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        text = open(report.name).read()
        if not text:
            sys.exit(f"parley bench failed: {done.stderr.strip()}")
        figures = json.loads(text)
    faults = {name: count for name, count in figures["proof"]["faults"].items() if count and name != "overtaken"}
    if faults:
        sys.exit(f"messages went wrong: {faults}")
    return figures["steps"][0]


def cpu_ms_per_1000(step):
    seconds = sum(server["seconds"] for server in step["cpu"]["servers"])
    return 1e6 * seconds / step["acked_measured"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parley", default="target/release/parley")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=9000)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--ratio", default="0.01", help="of messages that are traced")
    options = parser.parse_args()

    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    traced = dict(plain, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_address[1]}",
                  OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG=options.ratio)

    rows = {"off": [], "on": []}
    for number in range(options.rounds):
        # In turn, and the other one first in every second round: a machine that warms up favours neither.
        order = ["off", "on"] if number % 2 == 0 else ["on", "off"]
        for name in order:
            step = run(options, traced if name == "on" else plain)
            rows[name].append(step)
            print(f"round {number + 1}, traces {name:3}: {step['acked_per_second']:8.0f} acked/s, "
                  f"{cpu_ms_per_1000(step):6.1f} ms of CPU for 1,000, p99 {step['deliver_ms']['p99']:7.1f} ms, "
                  f"others {step['cpu']['others_cores']:.2f} cores", flush=True)
    if Collector.exports == 0:
        sys.exit("nothing was exported: what was measured is not what was meant")

    def median(name, figure):
        return statistics.median(figure(step) for step in rows[name])

    for title, figure in [("acked/s", lambda step: step["acked_per_second"]), ("ms of CPU for 1,000", cpu_ms_per_1000)]:
        off, on = median("off", figure), median("on", figure)
        print(f"median {title}: off {off:.1f}, on {on:.1f}, ratio {on / off:.3f}")
    print(f"exported: {Collector.exports} requests, {Collector.received} bytes")


if __name__ == "__main__":
    main()
