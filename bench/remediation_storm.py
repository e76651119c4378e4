"""
A thousand alerts in a moment, again and again: how soon one worker has accepted them, what it costs, and whether its
memory stays flat. `python bench/remediation_storm.py [--storms N]`

The worker is `python -m remediation` on SQLite, between the stand-ins that its tests have. Each storm is a thousand
alerts of six services in ten notifications over four connections; it is over when each service's run has ended.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from worker_neighbours import ORCHESTRATOR_TOKEN, OrchestratorStandIn, PrometheusStandIn

ALERTS, NOTIFICATIONS, CONNECTIONS = 1000, 10, 4
SERVICES = ("cart", "catalog", "checkout", "inventory", "payment", "recommendation")
AIM_S = 2.0
TOKEN = "post-alerts"  # noqa: S105
WITHIN_S = 120.0  # for the runs of a storm to end
VERIFY = {"within": "60s", "hold": "200ms", "every": "100ms"}
SCALE = {"replicas": 'wanted{job="{{ target }}"}', "warm_up": "100ms"}
POLICIES = {
    "limits": {"max_actions_per_hour": 100_000, "max_concurrent": 100, "blast_radius": {"services": 1}},
    "policies": [
        {
            "name": "scale-out",
            "match": ['alertname="HighRequestLatency"'],
            "steps": [{"name": "add replicas", "scale": SCALE, "verify": VERIFY}],
            "guards": {"cooldown": "0s", "max_actions_per_hour": 10_000, "breaker": {"repairs": 10_000}},
        }
    ],
}


class Worker:
    def __init__(self, folder: Path, orchestrator: OrchestratorStandIn, prometheus: PrometheusStandIn) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        for name, token in (("remediation", TOKEN), ("orchestrator", ORCHESTRATOR_TOKEN)):
            (folder / f"{name}.token").write_text(token)
        (folder / "policies.yaml").write_text(yaml.safe_dump(POLICIES))
        environment = os.environ | {
            "PORT": str(port),
            "REMEDIATION_TOKEN_FILE": str(folder / "remediation.token"),
            "REMEDIATION_DATA_DIR": str(folder / "data"),
            "REMEDIATION_POLICIES": str(folder / "policies.yaml"),
            "REMEDIATION_PROMETHEUS_URL": prometheus.url,
            "REMEDIATION_ORCHESTRATOR_URL": orchestrator.url,
            "REMEDIATION_ORCHESTRATOR_TOKEN_FILE": str(folder / "orchestrator.token"),
        }
        with (folder / "worker.log").open("wb") as log:
            command = [sys.executable, "-m", "remediation"]
            self._child = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._process = psutil.Process(self._child.pid)
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
            timeout=60.0,
        )
        self.wait(self._ready, "the worker is ready")

    def _ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._client.get("/-/ready").is_success
        return False

    def wait(self, condition: Any, what: str) -> None:
        end_s = time.monotonic() + WITHIN_S
        while not condition():
            if time.monotonic() > end_s:
                raise SystemExit(f"not within {WITHIN_S:g} s: {what}")
            time.sleep(0.05)

    def tell(self, alerts: list[dict[str, Any]]) -> set[str]:
        """In notifications, some at a time. The runs that answer them."""
        size = len(alerts) // NOTIFICATIONS
        bodies = [{"version": "4", "alerts": alerts[at : at + size]} for at in range(0, len(alerts), size)]
        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            answers = pool.map(lambda body: self._client.post("/api/v1/webhook/alertmanager", json=body), bodies)
            return {run_id for one in answers for run_id in one.raise_for_status().json()["accepted"]}

    def states(self) -> list[str]:
        records = self._client.get("/api/v1/remediations", params={"limit": len(SERVICES)}).json()["remediations"]
        return [one["state"] for one in records]

    @property
    def cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    @property
    def mib(self) -> float:
        return float(self._process.memory_info().rss) / 2**20

    def close(self) -> None:
        self._client.close()
        self._child.terminate()
        self._child.wait(30)


def alerts_of(storm: int, status: str) -> list[dict[str, Any]]:
    starts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_767_000_000 + 3600 * storm))
    return [
        {
            "status": status,
            "labels": {
                "alertname": "HighRequestLatency",
                "service": SERVICES[number % len(SERVICES)],
                "severity": "critical",
                "pod": str(number),
            },
            "annotations": {"summary": "slow"},
            "startsAt": starts,
            "fingerprint": f"{number:016x}",
        }
        for number in range(ALERTS)
    ]


@contextlib.contextmanager
def worker() -> Iterator[tuple[Worker, OrchestratorStandIn]]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        orchestrator, prometheus = OrchestratorStandIn(), PrometheusStandIn()
        stack.callback(orchestrator.close)
        stack.callback(prometheus.close)
        for service in SERVICES:
            orchestrator.add(service)
            prometheus.set("wanted", service, 2.0)
        prometheus.slow = lambda service: orchestrator.desired(service) < 2
        made = Worker(folder, orchestrator, prometheus)
        stack.callback(made.close)
        yield made, orchestrator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storms", type=int, default=10)
    options = parser.parse_args()
    missed = []
    with worker() as (one, orchestrator):
        print(f"before: {one.mib:.0f} MiB", flush=True)
        for storm in range(options.storms):
            for service in SERVICES:
                orchestrator.services[service]["desired"] = 1
            puts, cpu_s, began_s = len(orchestrator.puts), one.cpu_s, time.monotonic()
            runs = one.tell(alerts_of(storm, "firing"))
            took_s, cpu_s = time.monotonic() - began_s, one.cpu_s - cpu_s
            one.wait(lambda: set(one.states()) == {"resolved_pending"}, "each run has helped")
            one.tell(alerts_of(storm, "resolved"))
            one.wait(lambda: set(one.states()) == {"resolved"}, "each run is over")
            acted = len(orchestrator.puts) - puts
            print(
                f"storm {storm + 1}: {ALERTS} alerts accepted in {took_s:.2f} s ({cpu_s:.2f} s of CPU), "
                f"{len(runs)} runs, {acted} actions, {one.mib:.0f} MiB afterwards",
                flush=True,
            )
            if took_s > AIM_S or len(runs) != len(SERVICES) or acted != len(SERVICES):
                missed.append(storm + 1)
    if missed:
        raise SystemExit(f"beyond {AIM_S:g} s, or not one run and one action for each target: storms {missed}")


if __name__ == "__main__":
    main()
