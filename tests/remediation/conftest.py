"""A real worker process between stand-ins for its neighbours (tests/support/worker_neighbours.py)."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from postgres_cluster import PostgresCluster, require_postgres
from worker_neighbours import ORCHESTRATOR_TOKEN, OrchestratorStandIn, PrometheusStandIn

TOKEN = "post-alerts"
POLICIES = """
limits:
  max_actions_per_hour: 1000
  max_concurrent: 100
  blast_radius: {services: 1}
policies:
  - name: scale-out
    match: ['alertname="HighRequestLatency"', 'service=~".+"']
    evidence:
      - {name: latency, query: 'latency{job="{{ target }}"}'}
      - {name: slow traces, exemplars: 'duration_bucket{job="{{ target }}"}'}
    steps:
      - name: add replicas
        scale: {replicas: 'wanted{job="{{ target }}"}', maximum_step: 4, raises: 1, warm_up: 300ms}
        verify: {within: 1500ms, hold: 300ms, every: 50ms}
    guards:
      cooldown: 0s
      max_actions_per_hour: 5
      escalation_hold_off: 10m
      patience: 3s
      telemetry: 'telemetry{job="{{ target }}"}'
    scale_in:
      replicas: 'wanted{job="{{ target }}"}'
      stabilisation: 200ms
      every: 50ms
      settle: 100ms
      to_minimum: true
  - name: careful
    match: ['alertname="CarefulLatency"']
    steps:
      - name: add replicas
        scale: {replicas: 'wanted{job="{{ target }}"}'}
        verify: {within: 1500ms, hold: 200ms, every: 50ms}
    guards: {cooldown: 5m}
  - name: by-query
    match: ['alertname="CloudLatency"', 'source="cloudwatch"']
    steps:
      - name: add replicas
        scale: {replicas: 'wanted{job="{{ target }}"}'}
        verify: {alert_over: false, query: 'fine{job="{{ target }}"}', within: 1500ms, hold: 200ms, every: 50ms}
    scale_in:
      replicas: 'wanted{job="{{ target }}"}'
      stabilisation: 200ms
      every: 50ms
      settle: 100ms
      to_minimum: true
  - name: patient
    match: ['alertname="PatientLatency"']
    steps:
      - name: add replicas
        scale: {replicas: 'wanted{job="{{ target }}"}', raises: 0}
        verify: {within: 30s, hold: 200ms, every: 50ms}
  - name: queues
    match: ['alertname="QueueGrows"']
    steps:
      - name: add replicas
        scale: {replicas: 'wanted{job="{{ target }}"}', raises: 0}
        verify: {within: 5s, hold: 200ms, every: 50ms}
    guards: {cooldown: 2s}
"""


@dataclass
class WorkerProcess:
    """`python -m remediation` on a data directory; may be killed and started again."""

    directory: Path
    orchestrator: OrchestratorStandIn
    prometheus: PrometheusStandIn
    url: str = ""
    name: str = "worker-1"
    database_url: str = ""  # of PostgreSQL; SQLite without it
    lease: str = "3s"
    environment: dict[str, str] = field(default_factory=dict)  # more of it
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.launch()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        self.wait_for(self._ready, "the worker is ready", within_s=40)

    def launch(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        for name, token in (("remediation", TOKEN), ("orchestrator", ORCHESTRATOR_TOKEN)):
            (self.directory / f"{name}.token").write_text(token)
        policies = self.directory / "policies.yaml"
        if not policies.exists():
            policies.write_text(POLICIES)
        environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(port),
            "REMEDIATION_TOKEN_FILE": str(self.directory / "remediation.token"),
            "REMEDIATION_DATA_DIR": str(self.directory / f"data-{self.name}"),
            "REMEDIATION_DATABASE_URL": self.database_url,
            "REMEDIATION_EXECUTOR_ID": self.name,
            "REMEDIATION_LEASE": self.lease,
            "REMEDIATION_POLICIES": str(policies),
            "REMEDIATION_PROMETHEUS_URL": self.prometheus.url,
            "REMEDIATION_ORCHESTRATOR_URL": self.orchestrator.url,
            "REMEDIATION_ORCHESTRATOR_TOKEN_FILE": str(self.directory / "orchestrator.token"),
            "REMEDIATION_JAEGER_URL": "http://127.0.0.1:16686",
            **self.environment,
        }
        self.url = f"http://127.0.0.1:{port}"
        with (self.directory / "worker.log").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "remediation"], env=environment, stdout=out, stderr=out
            )

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "worker.log").read_text()
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(15)

    def post(self, *alerts: dict[str, Any]) -> list[str]:
        answer = httpx.post(
            f"{self.url}/api/v1/webhook/alertmanager",
            json={"version": "4", "groupKey": "{}", "status": "firing", "receiver": "worker", "alerts": list(alerts)},
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return list(answer.json()["accepted"])

    def record(self, run_id: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/api/v1/remediations/{run_id}", trust_env=False)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def state(self, run_id: str) -> str:
        return str(self.record(run_id)["state"])

    def wait_for_state(self, run_id: str, *states: str, within_s: float = 20) -> dict[str, Any]:
        self.wait_for(lambda: self.state(run_id) in states, f"{run_id} is {' or '.join(states)}", within_s=within_s)
        return self.record(run_id)

    def wait_for(self, condition: Callable[[], bool], what: str, *, within_s: float = 10) -> None:
        end_s = time.monotonic() + within_s
        while not condition():
            log = self.directory / "worker.log"
            assert time.monotonic() < end_s, f"not within {within_s} s: {what}\n{log.read_text()[-4000:]}"
            time.sleep(0.03)


@pytest.fixture(scope="session")
def worker_process() -> type[WorkerProcess]:
    """For a file that has a worker of its own."""
    return WorkerProcess


def make_alert(
    service: str, *, name: str = "HighRequestLatency", status: str = "firing", starts: str = "2026-01-02T03:04:05.123Z"
) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "service": service, "severity": "critical", "team": "shop"},
        "annotations": {"summary": f"{service} is slow"},
        "startsAt": starts,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://127.0.0.1:9090/graph",
        "fingerprint": hashlib.sha256(f"{service} {name}".encode()).hexdigest()[:16],
    }


@pytest.fixture(scope="session")
def alert() -> Callable[..., dict[str, Any]]:
    """Makes one alert of a webhook payload."""
    return make_alert


@pytest.fixture(scope="session")
def orchestrator() -> Iterator[OrchestratorStandIn]:
    stand_in = OrchestratorStandIn()
    yield stand_in
    stand_in.close()


@pytest.fixture(scope="session")
def prometheus() -> Iterator[PrometheusStandIn]:
    stand_in = PrometheusStandIn()
    yield stand_in
    stand_in.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    cluster = PostgresCluster(require_postgres())
    yield cluster
    cluster.close()


@pytest.fixture
def two_workers(
    tmp_path: Path,
    postgres: PostgresCluster,
    orchestrator: OrchestratorStandIn,
    prometheus: PrometheusStandIn,
) -> Iterator[tuple[WorkerProcess, WorkerProcess]]:
    """Two workers on one PostgreSQL, started at the same time, to be killed."""
    url = postgres.database()
    pair = []
    for name in ("worker-1", "worker-2"):
        folder = tmp_path / name
        folder.mkdir()
        pair.append(WorkerProcess(folder, orchestrator, prometheus, name=name, database_url=url))
    try:
        for running in pair:
            running.launch()
        for running in pair:
            running.wait_until_ready()
        yield pair[0], pair[1]
    finally:
        for running in pair:
            if running.process is not None and running.process.poll() is None:
                running.process.send_signal(signal.SIGCONT)
                running.kill()


@pytest.fixture(scope="session")
def worker(
    tmp_path_factory: pytest.TempPathFactory, orchestrator: OrchestratorStandIn, prometheus: PrometheusStandIn
) -> Iterator[WorkerProcess]:
    """One worker for all tests that do not kill it; each test has services of its own."""
    running = WorkerProcess(tmp_path_factory.mktemp("worker"), orchestrator, prometheus)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def mortal_worker(
    tmp_path: Path, orchestrator: OrchestratorStandIn, prometheus: PrometheusStandIn
) -> Iterator[WorkerProcess]:
    """A worker of the test's own, started, to be killed."""
    running = WorkerProcess(tmp_path, orchestrator, prometheus)
    running.start()
    yield running
    if running.process is not None and running.process.poll() is None:
        running.kill()


@pytest.fixture
def mortal_worker_with(
    tmp_path: Path, orchestrator: OrchestratorStandIn, prometheus: PrometheusStandIn
) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts a worker of the test's own with these policies, to be killed."""
    running = WorkerProcess(tmp_path, orchestrator, prometheus)
    orchestrator.restarted.clear()

    def start(policies: str, environment: dict[str, str] | None = None) -> WorkerProcess:
        running.environment = environment or {}
        (tmp_path / "policies.yaml").write_text(policies)
        running.start()
        return running

    yield start
    if running.process is not None and running.process.poll() is None:
        running.kill()


@pytest.fixture
def slow_until(orchestrator: OrchestratorStandIn, prometheus: PrometheusStandIn) -> Iterator[Callable[..., None]]:
    """Adds a service that is slow until it has so many replicas, or until `cured_by` says that it is cured."""
    demand: dict[str, int | Callable[[], object]] = {}
    former = prometheus.slow

    def is_slow(name: str) -> bool:
        cure = demand.get(name, 0)
        return not cure() if callable(cure) else name in demand and orchestrator.desired(name) < cure

    prometheus.slow = is_slow

    def add(
        service: str, *, wanted: float = 1.0, cured_by: int | Callable[[], object], desired: int = 1, maximum: int = 6
    ) -> None:
        orchestrator.add(service, desired=desired, maximum=maximum)
        prometheus.set("wanted", service, wanted)
        prometheus.set("telemetry", service, 1.0)
        prometheus.set("latency", service, 1.9)
        demand[service] = cured_by

    yield add
    prometheus.slow = former
