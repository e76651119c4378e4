"""
A real worker process between stand-ins for its neighbours.

The orchestrator's stand-in keeps the documented API and its state; Prometheus's stand-in answers `NAME{job="SERVICE"}`
with the number that the test has set, nothing if it has set none, `latency > 0.5` with the services that are slow, and
`queue > 10` with those of which the test has set such a number.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from postgres_cluster import PostgresCluster, require_postgres

TOKEN = "post-alerts"
ORCHESTRATOR_TOKEN = "scale-services"
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


class StandIn:
    """An HTTP server on a free port, in threads of this process; `handle` answers (status, body)."""

    def __init__(self) -> None:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                status, answer = stand_in.handle(self.command, self.path, body, self.headers.get("Authorization"))
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = _answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # the worker was killed in the middle of a request
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def handle(self, method: str, path: str, body: Any, authorization: str | None) -> tuple[int, Any]:
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class OrchestratorStandIn(StandIn):
    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.restarted: list[tuple[str, int]] = []  # service, and the moment before which its replicas had started
        self.puts: list[tuple[str, int]] = []  # every PUT that was let in, changes or not
        self.put_at: dict[str, float] = {}
        self.before_put: Callable[[str], None] = lambda service: None
        self.unavailable = False
        self.controls: dict[tuple[str, str], dict[str, Any]] = {}  # by service and control, as GET tells them
        self.set_to: list[tuple[str, str, Any]] = []  # each change of a control that took effect
        super().__init__()

    def settings_of(self, service: str, control: str) -> list[Any]:
        return [value for name, kind, value in self.set_to if (name, kind) == (service, control)]

    def _control(self, method: str, service: str, control: str, body: Any) -> tuple[int, Any]:
        """As steersman/orchestrator/controls.py has it: absolute, and compared with what is expected."""
        told = self.controls[service, control]
        if method == "PUT":
            self.before_put(service)
            what = {"version": "version", "traffic": "weights", "shedding": "requests_per_s"}[control]
            if told[what] not in (body["expected"], body[what]):
                return 409, {"status": "error", "errorType": "conflict", "error": f"{what} is {told[what]!r}"}
            if told[what] != body[what]:
                self.set_to.append((service, control, body[what]))
                if control == "version":
                    now = time.time_ns() // 1_000_000
                    told["history"][0]["left_unix_ms"] = now
                    release = {"at_unix_ms": now, "serving_unix_ms": now, "left_unix_ms": None}
                    told["history"].insert(0, {"version": body[what], "by": body["by"], **release})
            told[what] = body[what]
        return 200, told

    def add(self, name: str, *, desired: int = 1, minimum: int = 1, maximum: int = 6) -> None:
        self.services[name] = {"name": name, "desired": desired, "minimum": minimum, "maximum": maximum}

    def desired(self, name: str) -> int:
        return int(self.services[name]["desired"])

    def changes(self, name: str) -> list[int]:
        return [desired for service, desired in self.puts if service == name]

    def restarts(self, name: str) -> list[int]:
        return [before for service, before in self.restarted if service == name]

    def handle(self, method: str, path: str, body: Any, authorization: str | None) -> tuple[int, Any]:
        if authorization != f"Bearer {ORCHESTRATOR_TOKEN}":
            return 401, {"status": "error", "errorType": "unauthorized", "error": "missing or wrong bearer token"}
        if self.unavailable:
            return 503, {"status": "error", "errorType": "unavailable", "error": "starting"}
        if path == "/api/v1/services":
            return 200, {"services": list(self.services.values())}
        found = re.fullmatch(r"/api/v1/services/([^/]+)(/desired|/restart|/version|/traffic|/shedding)?", path)
        service = self.services.get(found.group(1)) if found else None
        if found is not None and service is not None and (found.group(1), (found.group(2) or "/")[1:]) in self.controls:
            return self._control(method, found.group(1), found.group(2)[1:], body)
        if found is None or service is None:
            return 404, {"status": "error", "errorType": "not_found", "error": f"no service at {path}"}
        if method == "POST":
            if body.get("instance"):
                self.before_put(service["name"])
                self.set_to.append((service["name"], "restart", (body["instance"], body["started_before_unix_ms"])))
            self.restarted.append((service["name"], body["started_before_unix_ms"]))
            return 202, {**service, "ready": service["desired"], "instances": []}
        if method == "PUT":
            if not service["minimum"] <= body["desired"] <= service["maximum"]:
                return 422, {"status": "error", "errorType": "execution", "error": "out of bounds"}
            self.before_put(service["name"])
            service["desired"] = body["desired"]
            self.puts.append((service["name"], body["desired"]))
            self.put_at.setdefault(service["name"], time.monotonic())
        return 200, {**service, "ready": service["desired"], "instances": []}


class PrometheusStandIn(StandIn):
    def __init__(self) -> None:
        # By name and service; a dict has one number for each instance.
        self.numbers: dict[tuple[str, str], float | dict[str, float] | Callable[[], float | None]] = {}
        self.asked_at: dict[tuple[str, str], float] = {}  # by the same, when a query named a time, Unix seconds
        self.histories: dict[tuple[str, str], Callable[[float], float]] = {}  # by Unix seconds
        self.slow: Callable[[str], bool] = lambda service: False
        self.unavailable = False
        super().__init__()

    def set(self, name: str, service: str, value: float | dict[str, float] | Callable[[], float | None]) -> None:
        self.numbers[name, service] = value

    def handle(self, method: str, path: str, body: Any, authorization: str | None) -> tuple[int, Any]:
        if self.unavailable:
            return 503, {"status": "error", "errorType": "unavailable", "error": "starting"}
        url = urlsplit(path)
        query = parse_qs(url.query).get("query", [""])[0]
        if url.path == "/api/v1/rules":
            rules = [
                {"type": "alerting", "name": name, "query": "latency > 0.5", "labels": {"severity": "critical"}}
                for name in ("HighRequestLatency", "CarefulLatency", "PatientLatency")
            ]
            rules.append({"type": "alerting", "name": "QueueGrows", "query": "queue > 10", "labels": {}})
            return 200, {"status": "success", "data": {"groups": [{"name": "shop", "rules": rules}]}}
        if url.path == "/api/v1/query_exemplars":
            exemplar = {"labels": {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}, "value": "1.9", "timestamp": 1}
            return 200, {"status": "success", "data": [{"seriesLabels": {}, "exemplars": [exemplar]}]}
        if query == "latency > 0.5":
            names = {service for _, service in self.numbers}
            return self._vector([({"service": name}, 1.9) for name in sorted(names) if self.slow(name)])
        if query == "queue > 10":
            told = [(service, value) for (name, service), value in list(self.numbers.items()) if name == "queue"]
            lengths = [(service, value() if callable(value) else value) for service, value in told]
            return self._vector([({"service": service}, length) for service, length in lengths if length > 10])
        found = re.fullmatch(r'(\w+)\{job="([^"]*)"\}', query)
        if found is None:
            return 400, {"status": "error", "errorType": "bad_data", "error": f"unknown query {query!r}"}
        if "time" in (asked := parse_qs(url.query)):
            self.asked_at[found.group(1), found.group(2)] = float(asked["time"][0])
        if url.path == "/api/v1/query_range":
            return self._matrix(self.histories.get((found.group(1), found.group(2))), parse_qs(url.query))
        value = self.numbers.get((found.group(1), found.group(2)))
        value = value() if callable(value) else value
        if isinstance(value, dict):
            return self._vector([({"instance": name}, number) for name, number in value.items()])
        return self._vector([] if value is None else [({}, value)])

    def _matrix(self, history: Callable[[float], float] | None, asked: dict[str, list[str]]) -> tuple[int, Any]:
        start, end, step = (float(asked[name][0]) for name in ("start", "end", "step"))
        times = [start + number * step for number in range(int((end - start) / step) + 1)]
        values = [] if history is None else [[at, str(history(at))] for at in times]
        result = [{"metric": {}, "values": values}] if values else []
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": result}}

    def _vector(self, samples: list[tuple[dict[str, str], float]]) -> tuple[int, Any]:
        result = [{"metric": labels, "value": [time.time(), str(value)]} for labels, value in samples]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": result}}


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
