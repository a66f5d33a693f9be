#!/usr/bin/env python3
"""Writes dashboards/*.json from the lists below: `python3 dashboards.py` in this folder. A test compares.

A panel is a title, a unit, and queries with their legends; two stand in a row. `INTERVAL` becomes the window that Grafana
chooses.
"""

import json
import pathlib
import sys

SECONDS, PERCENT, RATE, COUNT, BYTES = "s", "percentunit", "ops", "short", "bytes"


def quantiles(metric, by="", select=""):
    """Median, 99th and 99.9th percentile of a histogram."""
    group = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return [
        (f"histogram_quantile({q}, sum by ({group}) (rate({metric}_bucket{select}[INTERVAL])))", f"{name}{legend}")
        for q, name in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")]
    ]


def rate(metric, by, select=""):
    """Events in a second, by a label."""
    return (f"sum by ({by}) (rate({metric}{select}[INTERVAL]))", f"{{{{{by}}}}}")


DASHBOARDS = {
    "parley-overview": ("Parley: overview", [
        "Is it healthy?",
        ("Ready replicas", COUNT, [("sum by (service) (parley_ready)", "{{service}}")]),
        ("Sends acked within 250 ms, over 6 h (objective 99.9 %)", PERCENT, [("1 - parley:send_errors:ratio_rate6h", "sends")]),
        ("Deliveries within 500 ms, over 6 h (objective 99.9 %)", PERCENT, [("1 - parley:delivery_errors:ratio_rate6h", "deliveries")]),
        ("Gaps and doubled messages, ever (must be 0)", COUNT, [
            ("sum(parley_gaps_detected_total)", "gaps"), ("sum(parley_projector_doubled_total)", "doubled")]),
        "How fast?",
        ("Send to ack", SECONDS, quantiles("parley_send_ack_seconds")),
        ("Send to deliver, live", SECONDS, quantiles("parley_delivery_seconds")),
        ("Error budget of sends: how many times too fast it burns", COUNT, [
            (f"parley:send_errors:ratio_rate{w} / 0.001", w) for w in ["5m", "1h", "6h", "1d"]]),
        ("Error budget of deliveries: how many times too fast it burns", COUNT, [
            (f"parley:delivery_errors:ratio_rate{w} / 0.001", w) for w in ["5m", "1h", "6h", "1d"]]),
        "How much?",
        ("Sends and deliveries", RATE, [
            ("sum(rate(parley_send_ack_seconds_count[INTERVAL]))", "sends acked"),
            ("sum(rate(parley_delivery_seconds_count[INTERVAL]))", "live deliveries"),
            ("sum(rate(parley_send_failures_total[INTERVAL]))", "sends failed")]),
        ("Sockets and sessions", COUNT, [
            ("sum(parley_connections)", "sockets"), ("sum(parley_sessions_live)", "sessions live"),
            ("sum(parley_sessions_catching_up)", "sessions catching up")]),
        "What does it cost?",
        ("Processor time in a second", SECONDS, [("sum by (job, instance) (rate(process_cpu_seconds_total[INTERVAL]))", "{{job}} {{instance}}")]),
        ("Memory", BYTES, [("process_resident_memory_bytes", "{{job}} {{instance}}")]),
        ("File descriptors of those allowed", PERCENT, [("process_open_fds / process_max_fds", "{{job}} {{instance}}")]),
        ("Fullest queues", PERCENT, [("topk(8, max by (queue) (parley_queue_depth / (parley_queue_capacity > 0)))", "{{queue}}")]),
        ("Time that runtimes spend on tasks, in a second", SECONDS, [
            ("sum by (job, instance) (rate(parley_runtime_busy_seconds_total[INTERVAL]))", "{{job}} {{instance}}")]),
        ("Versions that run", COUNT, [("count by (service, version) (parley_build_info)", "{{service}} {{version}}")]),
    ]),
    "parley-delivery": ("Parley: delivery", [
        "Sessions",
        ("Sessions on each node", COUNT, [("parley_sessions", "{{instance}}")]),
        ("Sessions catching up on each node", COUNT, [("parley_sessions_catching_up", "{{instance}}")]),
        ("Sockets accepted and closed by us", RATE, [
            ("sum(rate(parley_connections_accepted_total[INTERVAL]))", "accepted"), rate("parley_closes_total", "code")]),
        ("Sessions that fell behind", RATE, [("sum by (instance) (rate(parley_sessions_fell_behind_total[INTERVAL]))", "{{instance}}")]),
        "Frames",
        ("Frames in and out", RATE, [
            ("sum(rate(parley_frames_in_total[INTERVAL]))", "in"), rate("parley_frames_out_total", "kind")]),
        ("Frames and requests refused", RATE, [rate("parley_frames_refused_total", "code"), rate("parley_http_problems_total", "code")]),
        ("Rate limits hit", RATE, [rate("parley_rate_limited_total", "transport"), ("sum(rate(parley_floods_total[INTERVAL]))", "floods")]),
        ("Sends that failed", RATE, [rate("parley_send_failures_total", "code")]),
        "Replay",
        ("Steps of replays, by tier", RATE, [rate("parley_replays_total", "tier")]),
        ("Events replayed, by tier", RATE, [rate("parley_replayed_events_total", "tier")]),
        ("Clients told to read everything anew", RATE, [rate("parley_resyncs_total", "reason")]),
        ("Entries not dispatched yet", COUNT, [("max by (instance, stream) (parley_tail_lag_messages)", "{{instance}} {{stream}}")]),
        "Send to deliver, by transport",
        ("99th percentile", SECONDS, [
            ("histogram_quantile(0.99, sum by (le, transport) (rate(parley_delivery_seconds_bucket[INTERVAL])))", "{{transport}}")]),
        ("Send to ack by transport, 99th percentile", SECONDS, [
            ("histogram_quantile(0.99, sum by (le, transport) (rate(parley_send_ack_seconds_bucket[INTERVAL])))", "{{transport}}")]),
        "Presence",
        ("Changes of status", RATE, [rate("parley_presence_transitions_total", "to")]),
        ("Live signals told, and dropped", RATE, [
            rate("parley_presence_signals_total", "kind"), ("sum(rate(parley_signals_dropped_total[INTERVAL]))", "dropped")]),
        ("What each replica of presence knows", COUNT, [
            ("parley_presence_users", "users {{instance}}"), ("parley_presence_nodes", "nodes {{instance}}"),
            ("parley_presence_replicas", "replicas {{instance}}")]),
        ("Rooms and subscriptions", COUNT, [("sum(parley_rooms)", "rooms"), ("sum(parley_subscriptions)", "subscriptions")]),
    ]),
    "parley-storage": ("Parley: the log, NATS and MongoDB", [
        "The log",
        ("Append to answer", SECONDS, quantiles("parley_log_append_seconds", select='{outcome="appended"}')),
        ("Appends, by what came of them", RATE, [rate("parley_log_append_seconds_count", "outcome")]),
        ("Conflicts", RATE, [("sum(rate(parley_log_append_conflicts_total[INTERVAL]))", "conflicts")]),
        ("A send in the message service, 99th percentile", SECONDS, [
            ("histogram_quantile(0.99, sum by (le, outcome) (rate(parley_send_seconds_bucket[INTERVAL])))", "{{outcome}}")]),
        ("Receipts written and coalesced", RATE, [
            ("sum(rate(parley_receipts_written_total[INTERVAL]))", "written"), rate("parley_receipts_coalesced_total", "at")]),
        ("Sends that were repetitions", RATE, [rate("parley_duplicates_total", "known_by"), ("sum(rate(parley_lookups_total[INTERVAL]))", "looked up")]),
        "NATS",
        ("Connections that are up", COUNT, [("parley_nats_connections", "{{job}} {{instance}}")]),
        ("Disconnects, denied subjects, slow consumers", COUNT, [
            ("sum(increase(parley_nats_disconnects_total[INTERVAL]))", "disconnects"),
            ("sum(increase(parley_nats_permission_denied_total[INTERVAL]))", "denied"),
            ("sum(increase(parley_nats_slow_consumer_total[INTERVAL]))", "slow consumers")]),
        ("Requests between services that were not answered", RATE, [rate("parley_rpc_failures_total", "endpoint")]),
        ("Requests in one message, median and 99th percentile", COUNT, [
            (f"histogram_quantile({q}, sum by (le) (rate(parley_rpc_batch_requests_bucket[INTERVAL])))", f"p{n}")
            for q, n in [(0.5, 50), (0.99, 99)]]),
        "Projector",
        ("Age of the oldest entry not in MongoDB", SECONDS, [("max by (stream) (parley_projector_lag_seconds)", "{{stream}}")]),
        ("Entries not acked, by consumer", COUNT, [
            ("max by (consumer, stream) (parley_consumer_lag_messages)", "{{consumer}} {{stream}}")]),
        ("Entries carried into MongoDB", RATE, [rate("parley_projected_total", "stream")]),
        ("A batch", SECONDS, quantiles("parley_projector_batch_seconds")),
        ("What MongoDB did not do", RATE, [
            ("sum(rate(parley_projector_failed_batches_total[INTERVAL]))", "batches to be repeated"),
            ("sum(rate(parley_store_failures_total[INTERVAL]))", "queries"),
            ("sum(rate(parley_projector_poison_total[INTERVAL]))", "entries refused for good")]),
        ("Entries that cannot be read", RATE, [rate("parley_unreadable_total", "what")]),
    ]),
    "parley-push": ("Parley: push", [
        "What is decided",
        ("Decisions", RATE, [rate("parley_push_decisions_total", "decision")]),
        ("Pushes cancelled before they were made", RATE, [rate("parley_push_cancelled_total", "reason")]),
        "What providers answer",
        ("Attempts, by provider and outcome", RATE, [
            ("sum by (provider, outcome) (rate(parley_push_attempts_total[INTERVAL]))", "{{provider}} {{outcome}}")]),
        ("Decision to accepted, 99th percentile", SECONDS, [
            ("histogram_quantile(0.99, sum by (le, provider) (rate(parley_push_latency_seconds_bucket[INTERVAL])))", "{{provider}}")]),
        ("Request to answer, 99th percentile", SECONDS, [
            ("histogram_quantile(0.99, sum by (le, provider) (rate(parley_push_request_seconds_bucket[INTERVAL])))", "{{provider}}")]),
        ("Given up, and tokens forgotten, in an hour", COUNT, [
            ("sum by (provider) (increase(parley_push_dead_total[1h]))", "{{provider}} dead letters"),
            ("sum by (provider) (increase(parley_push_tokens_forgotten_total[1h]))", "{{provider}} tokens")]),
        "Queues",
        ("Jobs that wait", COUNT, [("max by (provider, app) (parley_push_jobs_waiting)", "{{provider}} {{app}}")]),
        ("Breakers that are open", COUNT, [("max by (provider, app) (parley_push_breaker_open)", "{{provider}} {{app}}")]),
        ("Messages not planned yet", COUNT, [('max by (stream) (parley_consumer_lag_messages{consumer="push"})', "{{stream}}")]),
        ("Fullness of push's own queues", PERCENT, [
            ('max by (queue) (parley_queue_depth{queue=~"push_.+"} / parley_queue_capacity)', "{{queue}}")]),
        "Connections",
        ("Open, by provider", COUNT, [("sum by (provider) (parley_push_connections)", "{{provider}}")]),
        ("Connects and fetches of tokens", RATE, [
            ("sum by (provider, outcome) (rate(parley_push_connects_total[INTERVAL]))", "{{provider}} connect {{outcome}}"),
            ("sum by (outcome) (rate(parley_push_token_fetches_total[INTERVAL]))", "fcm token {{outcome}}")]),
    ]),
}

SOURCE = {"type": "prometheus", "uid": "${source}"}


def panel(number, title, unit, queries, place):
    targets = [
        {"refId": chr(ord("A") + at), "datasource": SOURCE, "legendFormat": legend,
         "expr": query.replace("INTERVAL", "$__rate_interval")}
        for at, (query, legend) in enumerate(queries)
    ]
    return {
        "id": number, "type": "timeseries", "title": title, "datasource": SOURCE, "gridPos": place, "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 5}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
    }


def dashboard(uid, title, items):
    panels, column, y = [], 0, 0
    for item in items:
        if isinstance(item, str):
            y += 8 * (column % 2)
            column = 0
            panels.append({"id": len(panels) + 1, "type": "row", "title": item, "collapsed": False, "panels": [],
                           "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
            y += 1
            continue
        panels.append(panel(len(panels) + 1, *item, {"x": 12 * (column % 2), "y": y, "w": 12, "h": 8}))
        column += 1
        y += 8 if column % 2 == 0 else 0
    return {
        "uid": uid, "title": title, "tags": ["parley"], "schemaVersion": 39, "version": 1, "editable": True,
        "timezone": "browser", "refresh": "30s", "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}]},
        "links": [{"type": "dashboards", "title": "Parley", "tags": ["parley"], "asDropdown": True}],
        "panels": panels,
    }


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1] if sys.argv[1:] else pathlib.Path(__file__).parent / "dashboards")
    folder.mkdir(exist_ok=True)
    for uid, (title, items) in DASHBOARDS.items():
        text = json.dumps(dashboard(uid, title, items), indent=1, ensure_ascii=False)
        (folder / f"{uid}.json").write_text(text + "\n")
