"""A thousand rules as services have them, and what evaluating them costs."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import statistics
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from peers.dataset import JOBS, QUEUES, ROUTES, TIMED_ROUTES, fleet
from peers.process import Process
from peers.remote_write import send, write_bodies
from peers.servers import PROMETHEUS, VICTORIA, Server, start_vmalert

GROUP_RULES = 100
HISTORY_S = 660  # before the first round: the longest window and the longest `for`
_SUM = {
    "Prometheus": re.compile(r"^prometheus_rule_group_duration_seconds_sum (\S+)", re.M),
    "vmalert": re.compile(r"^vmalert_iteration_duration_seconds_sum\{.*?\} (\S+)", re.M),
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    rules: int
    rounds_s: list[float]  # of all groups together, each round
    cpu_s: float  # of a round, everything that the process did then
    rss_bytes: int
    recorded: int  # series
    alerts: dict[str, int]  # by state

    @property
    def median_s(self) -> float:
        return statistics.median(self.rounds_s)


def rule_file(count: int, *, interval_s: float) -> dict[str, Any]:
    """Half record, half alert; groups of GROUP_RULES."""
    rules = [_rule(number) for number in range(count)]
    groups = [
        {
            "name": f"group-{start // GROUP_RULES}",
            "interval": f"{interval_s:g}s",
            "rules": rules[start : start + GROUP_RULES],
        }
        for start in range(0, count, GROUP_RULES)
    ]
    return {"groups": groups}


def _rule(number: int) -> dict[str, Any]:
    """One of ten kinds, for one of a hundred pairs of service and route; `n` keeps them apart."""
    pair, kind = divmod(number, 10)
    job, route = JOBS[pair % 10], ROUTES[pair // 10 % 10]
    timed, queue = TIMED_ROUTES[pair % 3], QUEUES[pair % 4]
    of = f'job="{job}",route="{route}"'
    errors = f'sum(rate(http_requests_total{{{of},status=~"5.."}}[5m])) / sum(rate(http_requests_total{{{of}}}[5m]))'
    p99 = (
        "histogram_quantile(0.99, sum by (job, le) "
        f'(rate(http_request_duration_seconds_bucket{{job="{job}",route="{timed}"}}[5m])))'
    )
    n = {"n": str(pair)}
    kinds: tuple[dict[str, Any], ...] = (
        {"record": "bench:requests:rate5m", "expr": f"sum by (instance) (rate(http_requests_total{{{of}}}[5m]))"},
        {"record": "bench:errors:ratio5m", "expr": errors},
        {"record": "bench:latency:p99_5m", "expr": p99},
        {"record": "bench:memory:avg10m", "expr": f'avg_over_time(process_resident_memory_bytes{{job="{job}"}}[10m])'},
        {"record": "bench:queue:sum", "expr": f'sum(queue_depth{{job="{job}",queue="{queue}"}})'},
        {"alert": "ErrorRatio", "expr": f"{errors} > 0.0{1 + pair % 3}", "for": "10s"},
        {"alert": "Latency", "expr": f"{p99} > 1", "for": "10s"},
        {"alert": "Down", "expr": f'up{{job="{job}"}} == 0', "for": "15s"},
        {"alert": "Queue", "expr": f'avg_over_time(queue_depth{{job="{job}",queue="{queue}"}}[5m]) > 24'},
        {"alert": "Descriptors", "expr": f'process_open_fds{{job="{job}"}} / process_max_fds{{job="{job}"}} > 0.9'},
    )
    rule = kinds[kind]
    if "alert" in rule:
        rule["annotations"] = {"summary": "{{ $labels.job }} {{ $labels.instance }}: {{ $value | humanize }}"}
    return {**rule, "labels": n}


def measure(
    server: Server, directory: Path, *, series: int, count: int, rounds: int, interval_s: float, sample_interval_ms: int
) -> Evaluation:
    """Start `server` on an empty directory, with samples up to the end of the last round; evaluate; stop."""
    (directory / "rules").mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        process = server.start(directory)
        stack.callback(process.stop)
        after_s = (rounds + 3) * interval_s + 60
        end_ms = int((time.time() + after_s) * 1000)
        ticks = int((HISTORY_S + after_s) * 1000) // sample_interval_ms
        bodies = write_bodies(
            fleet(series=series, ticks=ticks, end_ms=end_ms, interval_ms=sample_interval_ms), directory / "bodies"
        )
        send(bodies, port=process.port, path=server.write_path)
        (directory / "bodies").unlink()
        (directory / "rules" / "bench.yml").write_text(yaml.safe_dump(rule_file(count, interval_s=interval_s)))
        evaluating = [process]
        if server is VICTORIA:
            port = stack.enter_context(_sink())
            alerting = start_vmalert(directory, process, interval_s=interval_s, notifier_port=port)
            stack.callback(alerting.stop)
            evaluating.append(alerting)
        elif server is PROMETHEUS:
            status, body = process.get("/-/reload", method="POST")
            assert status == 200, body
        return _watch(process, evaluating, count=count, rounds=rounds, interval_s=interval_s)


def _watch(process: Process, evaluating: list[Process], *, count: int, rounds: int, interval_s: float) -> Evaluation:
    asked = evaluating[-1]
    time.sleep(2 * interval_s)  # until every group was evaluated; the first rounds meet cold caches
    durations: list[float] = []
    cpu_s = _cpu_s(evaluating)
    before = _duration_sum(asked)
    for _ in range(rounds):
        time.sleep(interval_s)  # a round is what is measured
        after = _duration_sum(asked)
        durations.append(_group_times(asked) if after is None or before is None else after - before)
        before = after
    cpu_s = (_cpu_s(evaluating) - cpu_s) / rounds
    rss = sum(each.usage().rss_bytes for each in evaluating)
    recorded = _count(process, 'count({__name__=~"bench:.+"})')
    alerts = {state: _count(process, f'count(ALERTS{{alertstate="{state}"}})') for state in ("pending", "firing")}
    return Evaluation(count, durations, cpu_s, rss, recorded, alerts)


def _cpu_s(processes: list[Process]) -> float:
    return sum(each.usage().cpu_s for each in processes)


def _duration_sum(process: Process) -> float | None:
    """Seconds spent in evaluations of groups since the start; None if the process does not count them."""
    text = process.get("/metrics")[1].decode()
    found = [float(value) for pattern in _SUM.values() for value in pattern.findall(text)]
    return sum(found) if found else None


def _group_times(process: Process) -> float:
    """Of the last evaluation of every group, from the rules API."""
    groups = json.loads(process.get("/api/v1/rules")[1])["data"]["groups"]
    return float(sum(group["evaluationTime"] for group in groups))


def _count(process: Process, query: str) -> int:
    _, body = process.get("/api/v1/query?" + urllib.parse.urlencode({"query": query, "time": f"{time.time():.3f}"}))
    result = json.loads(body)["data"]["result"]
    return int(float(result[0]["value"][1])) if result else 0


@contextlib.contextmanager
def _sink() -> Iterator[int]:
    """An Alertmanager that takes everything: vmalert will not start without one. Yields its port."""

    class Taken(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taken)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
