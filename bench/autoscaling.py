"""
How target tracking keeps a service at its utilisation while its load goes up and down.

    python bench/autoscaling.py --data-dir DIR [--peak 50] [--ramp 180] [--hold 60]

DIR is of a stack that runs (`steersman up --data-dir DIR`). Its own worker is stopped by its kill switch for the time,
and another with policies/examples/autoscaling.yaml (without its schedule) scales catalog. Prints Markdown for
docs/remediation.md: the course every ten seconds, each change with its reason, and how near to the target it was.
"""

from __future__ import annotations

import argparse
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from steersman.runtime.paths import DataDir, shipped
from steersman.runtime.tokens import read_token
from steersman.stack.settings import Urls
from steersman.stack.state import require_state

SERVICE = "catalog"
QUIET_BROWSE = 6.0  # requests a second: half of what one replica takes at the target
READY_WITHIN_S = 60.0
TELL_EVERY_S = 10.0
UTILISATION = (
    'sum(rate(worker_pool_busy_seconds_total{job="catalog"}[10s]) and on (job, instance) '
    'worker_pool_size{job="catalog"}) / sum(worker_pool_size{job="catalog"})'
)
ARRIVALS = 'sum(rate(worker_pool_arrivals_total{job="catalog"}[10s]))'
LATENCY = (
    'histogram_quantile(0.99, sum by (le) (rate(http_server_request_duration_seconds_bucket{job="catalog"}[10s])))'
)


@dataclass(frozen=True, slots=True)
class Look:
    at_s: float  # since the beginning
    arrivals: float | None
    desired: int
    ready: int
    utilisation: float | None
    latency_s: float | None


def main() -> int:
    arguments = _arguments()
    where = DataDir.at(arguments.data_dir)
    urls = Urls.of(require_state(where).ports)
    policies = yaml.safe_load((shipped("policies") / "examples" / "autoscaling.yaml").read_text())
    del policies["autoscalers"][0]["schedule"]
    with tempfile.TemporaryDirectory() as folder, _stopped(where, urls):
        file = Path(folder) / "policies.yaml"
        file.write_text(yaml.safe_dump(policies))
        with _worker(where, urls, file, Path(folder)) as worker:
            looks = _ramped(where, urls, arguments)
            answer = httpx.get(f"{worker}/api/v1/remediations?service={SERVICE}&limit=1000", trust_env=False)
    began_unix_ms = min((one["started_at_unix_ms"] for one in answer.json()["remediations"]), default=0)
    _print(looks, answer.json()["remediations"], policies["autoscalers"][0]["tracking"][0]["target"], began_unix_ms)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--peak", type=float, default=50.0, help="requests a second at the top")
    parser.add_argument("--ramp", type=float, default=180.0, help="seconds, up and down each")
    parser.add_argument("--hold", type=float, default=60.0, help="seconds at the top, and twice as long at the end")
    return parser.parse_args()


@contextmanager
def _stopped(where: DataDir, urls: Urls) -> Iterator[None]:
    """The stack's own worker does nothing meanwhile."""
    headers = {"Authorization": f"Bearer {read_token(where.token_file('remediation'))}"}
    turn = {"reason": "bench/autoscaling.py", "by": "bench"}
    switch = f"{urls.remediation}/api/v1/kill-switch"
    httpx.put(switch, json=turn | {"on": True}, headers=headers, trust_env=False).raise_for_status()
    try:
        yield
    finally:
        httpx.put(switch, json=turn | {"on": False}, headers=headers, trust_env=False).raise_for_status()


@contextmanager
def _worker(where: DataDir, urls: Urls, policies: Path, folder: Path) -> Iterator[str]:
    """Its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "REMEDIATION_TOKEN_FILE": str(where.token_file("remediation")),
        "REMEDIATION_DATA_DIR": str(folder / "worker"),
        "REMEDIATION_POLICIES": str(policies),
        "REMEDIATION_PROMETHEUS_URL": urls.prometheus,
        "REMEDIATION_ORCHESTRATOR_URL": urls.orchestrator,
        "REMEDIATION_ORCHESTRATOR_TOKEN_FILE": str(where.token_file("orchestrator")),
    }
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "remediation"], env=environment, stdout=log, stderr=log)
    url, end_s = f"http://127.0.0.1:{port}", time.monotonic() + READY_WITHIN_S
    try:
        while not _ready(url):
            if process.poll() is not None or time.monotonic() > end_s:
                raise SystemExit(f"the worker is not ready:\n{(folder / 'worker.log').read_text()}")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(15)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _ramped(where: DataDir, urls: Urls, arguments: argparse.Namespace) -> list[Look]:
    """Once a second the rate, and what is seen of it."""
    headers = {"Authorization": f"Bearer {read_token(where.token_file('load'))}"}
    looks: list[Look] = []
    began_s = time.monotonic()
    length_s = 2 * arguments.ramp + 3 * arguments.hold
    with httpx.Client(trust_env=False, timeout=10) as client:
        while (at_s := time.monotonic() - began_s) < length_s:
            rate = _rate(at_s, arguments)
            client.put(f"{urls.load}/rate", json={"browse": rate, "ttl_s": 30}, headers=headers).raise_for_status()
            looks.append(_look(client, urls, at_s))
            time.sleep(max(0.0, 1 - (time.monotonic() - began_s - at_s)))
    return looks


def _rate(at_s: float, arguments: argparse.Namespace) -> float:
    ramp_s, hold_s, peak = float(arguments.ramp), float(arguments.hold), float(arguments.peak)
    up = min(1.0, at_s / ramp_s)
    down = min(1.0, max(0.0, at_s - ramp_s - hold_s) / ramp_s)
    return QUIET_BROWSE + (peak - QUIET_BROWSE) * (up - down)


def _look(client: httpx.Client, urls: Urls, at_s: float) -> Look:
    service = client.get(f"{urls.orchestrator}/api/v1/services/{SERVICE}").json()
    arrivals, utilisation, latency = (_value(client, urls, one) for one in (ARRIVALS, UTILISATION, LATENCY))
    return Look(at_s, arrivals, service["desired"], service["ready"], utilisation, latency)


def _value(client: httpx.Client, urls: Urls, query: str) -> float | None:
    found = client.get(f"{urls.prometheus}/api/v1/query", params={"query": query}).json()["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def _print(looks: list[Look], records: list[dict[str, Any]], target: float, began_unix_ms: int) -> None:
    print("| s | requests/s | utilisation | desired | ready | p99 latency, ms |\n| --: | --: | --: | --: | --: | --: |")
    told_s = -TELL_EVERY_S
    for one in looks:
        if one.at_s - told_s >= TELL_EVERY_S:
            told_s = one.at_s
            latency = None if one.latency_s is None else one.latency_s * 1000
            cells = (_cell(one.arrivals, 1), _cell(one.utilisation, 2), one.desired, one.ready, _cell(latency, 0))
            print(f"| {one.at_s:.0f} | " + " | ".join(str(cell) for cell in cells) + " |")
    print("\n| s after the first change | replicas | reason |\n| --: | --- | --- |")
    changes = [action for record in reversed(records) for action in record["actions"]]
    for action in changes:
        since_s = (action["at_unix_ms"] - began_unix_ms) / 1000
        print(f"| {since_s:.0f} | {action['from']} → {action['to']} | {action['reason']} |")
    known = [one.utilisation for one in looks if one.utilisation is not None]
    near = sum(abs(value - target) <= 0.15 for value in known) / len(known)
    over = sum(value > 0.8 for value in known) / len(known)
    ways = [action["to"] > action["from"] for action in changes]
    turns = sum(one != other for one, other in itertools.pairwise(ways))
    print(
        f"\n{len(changes)} changes, {turns} turn(s) of direction; within 0.15 of the target {near:.0%} of the time, "
        f"above 0.8 {over:.1%}, at most {max(known):.2f}."
    )


def _cell(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"


if __name__ == "__main__":
    sys.exit(main())
