"""A collector process that scrapes synthetic data and evaluates rules over it, for as long as the tests need."""

from __future__ import annotations

import http.server
import math
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from collector.rules.remote import Remote

# Five evaluations a second for ten seconds by default; one a second for a minute, as the shop's rules run, when asked.
# What is looked at is two seconds less, and still longer than the five after which the slowest alert fires again.
LONG = os.environ.get("STEERSMAN_LONG_TESTS") == "1"
INTERVAL_MS = 1000 if LONG else 200
DURATION_S = 60.0 if LONG else 10.0
SPEED = 200 / INTERVAL_MS  # of what the synthetic services go through

# `recorded` reads what it recorded itself; `raw` looks a little back, when every scrape has long arrived.
RULES = f"""
groups:
  - name: recorded
    interval: {INTERVAL_MS}ms
    rules:
      - record: job:load:avg
        expr: avg by (job) (load)
      - alert: Loaded
        expr: job:load:avg > 0.5
        for: {3 * INTERVAL_MS}ms
        keep_firing_for: {2 * INTERVAL_MS}ms
        labels: {{severity: critical, service: "{{{{ $labels.job }}}}"}}
        annotations: {{summary: "{{{{ $labels.job }}}} is loaded {{{{ $value }}}}"}}
  - name: raw
    interval: {INTERVAL_MS}ms
    query_offset: {4 * INTERVAL_MS}ms
    rules:
      - alert: Hot
        expr: load > 0.7
        for: {2 * INTERVAL_MS}ms
      - alert: Gone
        expr: absent(load{{instance="b"}})
        for: {2 * INTERVAL_MS}ms
      - alert: Steady
        expr: load > 2
        for: {2 * INTERVAL_MS}ms
"""


class _Shop(http.server.BaseHTTPRequestHandler):
    began = time.time()

    def do_GET(self) -> None:
        since = (time.time() - self.began) * SPEED
        lines = [f'load{{instance="a"}} {0.5 + 0.5 * math.sin(since * 2.1)}']
        if since % 5 < 3.5:
            lines.append(f'load{{instance="b"}} {0.5 + 0.5 * math.sin(since * 1.3 + 1)}')
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(("# TYPE load gauge\n" + "\n".join(lines) + "\n").encode())

    def log_message(self, *_arguments: object) -> None:
        pass


@dataclass(frozen=True)
class Live:
    """A collector that has run a while, and runs on."""

    url: str
    rules: Path
    from_ms: int  # since when it evaluates
    to_ms: int
    missed: int  # evaluations within that time that the machine was too busy for
    pid: int
    interval_ms: int = INTERVAL_MS


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/-/ready", trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    pytest.fail(f"the collector does not become ready: {log.read_text()}")


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    shop = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Shop)
    threading.Thread(target=shop.serve_forever, daemon=True).start()
    rules = folder / "rules.yml"
    rules.write_text(RULES)
    (folder / "collector.yml").write_text(
        f"global: {{scrape_interval: {INTERVAL_MS}ms, scrape_timeout: {INTERVAL_MS}ms}}\nrule_files: [rules.yml]\n"
        "scrape_configs: [{job_name: shop, honor_labels: true,"
        f" static_configs: [{{targets: ['127.0.0.1:{shop.server_port}']}}]}}]\n"
    )
    ports = _free_ports(4)
    flags = ("--http", "--otlp-grpc", "--otlp-http", "--jaeger")
    command = [sys.executable, "-m", "collector", "--config", "collector.yml", "--data-dir", "data"]
    command += [word for flag, port in zip(flags, ports, strict=True) for word in (flag, f"127.0.0.1:{port}")]
    log = folder / "collector.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{ports[0]}"
    try:
        _wait(url, process, log)
        with Remote(url) as remote:
            yield _grown(remote, rules, process.pid)
    finally:
        process.terminate()
        process.wait(10)
        shop.shutdown()
        shop.server_close()


def _grown(remote: Remote, rules: Path, pid: int) -> Live:
    """
    Wait until the rules have been evaluated for long enough without missing an evaluation, which no data tells of; on a
    machine that is too busy for that, until patience ends, and take what there is.
    """
    deadline = time.monotonic() + DURATION_S + 60
    from_ms, to_ms, missed = 0, 0, 0
    while True:
        time.sleep(0.25)
        now_ms = time.time_ns() // 1_000_000
        names = {dict(labels).get("alertname") for labels, _ in remote.instant("ALERTS", now_ms)}
        so_far, (missed, evaluated_ms) = missed, _evaluations(remote.url)
        if (not from_ms and names >= {"Loaded", "Hot"}) or (from_ms and missed > so_far):
            from_ms, to_ms = now_ms + 10 * INTERVAL_MS, 0  # when `for` and windows have passed since
        patient = time.monotonic() < deadline
        if from_ms and not to_ms and (now_ms - from_ms > DURATION_S * 1000 or not patient):
            to_ms = now_ms - 6 * INTERVAL_MS
            from_ms = from_ms if patient else to_ms - round(DURATION_S * 1000)
        # What is evaluated after the end tells that all before is on disk, and what was missed is counted.
        if to_ms and evaluated_ms > to_ms:
            return Live(remote.url, rules, from_ms, to_ms, 0 if patient else missed, pid)
        assert patient or to_ms, "no alert became active"
        assert time.monotonic() < deadline + 30, f"no evaluation after {to_ms} ms"


def _evaluations(url: str) -> tuple[int, float]:
    """How many were missed, and the time (ms) of the last one of the group that is furthest behind."""
    text = httpx.get(f"{url}/metrics", trust_env=False, timeout=30).text
    missed = map(float, re.findall(r"iterations_missed_total{.*} (\S+)", text))
    last = map(float, re.findall(r"group_last_evaluation_timestamp_seconds{.*} (\S+)", text))
    return int(sum(missed)), 1000 * min(last, default=0.0)
