"""A drill on made-up observations and a fake clock, and a small stand-in for the stack's HTTP seams."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from remediation.drills.capacity import replica_capacity_query
from remediation.drills.command import Command, EndTheInjection, Inject
from remediation.drills.definition import Definition, parse
from remediation.drills.endpoints import Endpoints
from remediation.drills.engine import Engine
from remediation.drills.observation import Action, Alert, Observation, Remediation, Service
from steersman.runtime.paths import DataDir
from steersman.runtime.tokens import ensure_token

SURGE = """
name: surge
title: A surge
description: Load rises.
service: catalog
timeout: 100s
steady_state:
  within: 10s
  hold: 1s
  conditions:
    - {name: fast, promql: p99, below: 0.5}
inject:
  - load: {journey: browse, service: catalog, times_capacity: 3}
confirm:
  - {name: landed, promql: arrivals / $capacity, at_least: 2, within: 10s}
expect:
  - {name: alert, alert_firing: {alertname: Slow, service: catalog}, within: 20s, grade: detect, aim: 10s}
  - {name: scaled, replicas: {service: catalog, is: above_initial}, after: alert, within: 5s, grade: act}
  - {name: recovered, promql: p99, below: 0.5, hold: 3s, after: alert, within: 60s, grade: recover}
then:
  - {name: returned, replicas: {service: catalog, is: initial}, within: 30s, grade: return}
stop_conditions:
  - {name: shop is down, promql: errors, above: 0.5, hold: 2s}
"""


@pytest.fixture
def surge_document() -> dict[str, Any]:
    """The YAML of a small drill, to be changed and parsed."""
    document: dict[str, Any] = yaml.safe_load(SURGE)
    return document


@pytest.fixture
def surge(surge_document: dict[str, Any]) -> Definition:
    return parse(yaml.safe_dump(surge_document), "surge.yaml")


def service(desired: int = 1, ready: int | None = None) -> Service:
    return Service("catalog", desired, desired if ready is None else ready, 1, 9)


FIRING = Alert({"alertname": "Slow", "service": "catalog", "severity": "page"}, "firing", 1.8)

CALM = Observation(
    alerts=(),
    remediations=(),
    services={"catalog": service()},
    samples={
        replica_capacity_query("catalog"): (20.0,),
        "p99": (0.1,),
        "arrivals / 20.0": (0.4,),
        "errors": (0.0,),
    },
)


@dataclass
class Course:
    """Drives an engine along a script: from each time on, the observation looks like this."""

    engine: Engine
    now: float = 1000.0
    seen: Observation = CALM
    commands: list[Command] = field(default_factory=list)
    injected_at: float = 0.0

    def __post_init__(self) -> None:
        self.engine.begin(self.now)

    def look(self, **changes: Any) -> None:
        """Change parts of what is seen; `samples` and `services` are merged."""
        if "samples" in changes:
            changes["samples"] = {**self.seen.samples, **changes["samples"]}
        if "services" in changes and changes["services"] is not None:
            changes["services"] = {**(self.seen.services or {}), **changes["services"]}
        self.seen = replace(self.seen, **changes)

    def poll(self) -> None:
        command = self.engine.observe(self.seen, self.now)
        if isinstance(command, Inject):
            self.commands.append(command)
            self.injected_at = self.now
            self.engine.injected(self.now, ["load: browse at 60/s"])
        elif isinstance(command, EndTheInjection):
            self.commands.append(command)
            self.engine.ended(self.now, ["load: browse back at 8/s"])

    def run(self, duration_s: float, step_s: float = 0.5) -> None:
        """Poll for so long, or until the drill is done."""
        end = self.now + duration_s
        while self.now < end and not self.engine.done:
            self.poll()
            self.now += step_s

    def inject(self) -> None:
        while not self.commands:
            assert not self.engine.done, self.engine.reasons
            self.poll()
            self.now += 0.5

    def status(self, name: str) -> str:
        return next(tracker.status.value for tracker in self.engine.trackers if tracker.name == name)


@pytest.fixture
def course(surge: Definition) -> Course:
    return Course(Engine(surge))


@pytest.fixture
def make_course(surge_document: dict[str, Any]) -> Callable[..., Course]:
    """A course of the drill with keys of its document replaced."""

    def make(*, keep_going: bool = False, **keys: Any) -> Course:
        text = yaml.safe_dump({**surge_document, **keys})
        return Course(Engine(parse(text, "surge.yaml"), keep_going=keep_going))

    return make


@pytest.fixture
def calm() -> Observation:
    return CALM


@pytest.fixture
def firing() -> Alert:
    return FIRING


@pytest.fixture
def catalog() -> Callable[..., dict[str, Service]]:
    return lambda *args: {"catalog": service(*args)}


@pytest.fixture
def remediation() -> Callable[..., Remediation]:
    def make(state: str = "acting", number: int = 1, *, actions: int = 0, evidence: bool = False) -> Remediation:
        return Remediation(
            id=f"r{number}",
            service="catalog",
            alertname="Slow",
            state=state,
            started_at_unix_ms=1,
            actions=tuple(Action("scale", "catalog", str(n + 1), str(n + 2), "p99 1.8") for n in range(actions)),
            evidence=("p99 = 1.8",) if evidence else (),
        )

    return make


class SeamStandIn:
    """
    All seams on one port: a stack in which load above 20/s makes an alert fire, and the alert makes 4 replicas.

    What the drill sends is kept in `received`; `down` holds path prefixes that answer 503.
    """

    def __init__(self) -> None:
        self.rates = {"browse": 8.0, "recommend": 1.0, "cart": 1.0, "buy": 1.0}
        self.faults: list[dict[str, Any]] = []
        self.received: list[tuple[str, str, str | None, Any]] = []  # method, path, authorization, body
        self.down: set[str] = set()
        self.never_alert = False
        self.surged_at: float | None = None
        self.calmed_at: float | None = None
        self.lock = threading.Lock()

    def _elapsed(self) -> tuple[bool, float]:
        """Whether there is a surge, and the seconds since it came, or went."""
        if self.surged_at is None:
            return False, 1e9
        if self.calmed_at is None:
            return True, time.monotonic() - self.surged_at
        return False, time.monotonic() - self.calmed_at

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        parts = urlsplit(target)
        if any(parts.path.startswith(prefix) for prefix in self.down):
            return 503, {"status": "error", "errorType": "unavailable", "error": "starting"}
        surging, elapsed = self._elapsed()
        firing = surging and 0.2 < elapsed < 0.6 and not self.never_alert
        scaled = (surging and elapsed > 0.3 and not self.never_alert) or (self.calmed_at is not None and elapsed < 0.2)
        if method == "GET" and parts.path == "/api/v1/alerts":
            labels = {"alertname": "Slow", "service": "catalog"}
            alerts = [{"labels": labels, "state": "firing", "value": "1.8e+00", "activeAt": "2026-01-01T00:00:00Z"}]
            return 200, {"status": "success", "data": {"alerts": alerts if firing else []}}
        if method == "GET" and parts.path == "/api/v1/query":
            return self._query(parse_qs(parts.query)["query"][0], surging, elapsed)
        if method == "GET" and parts.path == "/api/v1/remediations":
            return 200, {"remediations": []}
        if method == "GET" and parts.path == "/api/v1/services":
            count = 4 if scaled else 1
            return 200, {
                "services": [
                    {"name": "catalog", "desired": count, "ready": count, "minimum": 1, "maximum": 9, "instances": []}
                ]
            }
        if parts.path == "/api/v1/services/catalog/version":
            return 200, {"version": "1.0.0", "history": []}
        if parts.path == "/api/v1/webhook/alertmanager":
            return 200, {"accepted": []}
        if parts.path == "/rate":
            if method == "PUT":
                self._set_rates(body)
            return 200, dict(self.rates)
        if parts.path.endswith("/admin/faults"):
            self.faults = [body] if method == "PUT" else []
            return 200, {"faults": self.faults}
        return 404, {"status": "error", "errorType": "not_found", "error": parts.path}

    def _query(self, promql: str, surging: bool, elapsed: float) -> tuple[int, Any]:
        if promql == "syntax(":
            return 400, {"status": "error", "errorType": "bad_data", "error": "unexpected end of input"}
        slow = surging and elapsed < 0.5
        if promql.startswith("avg(worker_pool_size"):
            value = 20.0
        elif promql.startswith("arrivals"):
            value = 3.0 if surging else 0.4
        else:
            value = (1.8 if slow else 0.1) if promql == "p99" else 0.0
        result = [{"metric": {}, "value": [1.0, str(value)]}]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": result}}

    def _set_rates(self, body: dict[str, float]) -> None:
        self.rates.update({name: rate for name, rate in body.items() if name in self.rates})
        if self.rates["browse"] > 20:
            self.surged_at, self.calmed_at = time.monotonic(), None
        elif self.surged_at is not None:
            self.calmed_at = time.monotonic()

    def changes(self) -> list[tuple[str, str, str | None, Any]]:
        with self.lock:
            return [each for each in self.received if each[0] != "GET"]


@dataclass
class StandIn:
    seams: SeamStandIn
    url: str
    endpoints: Endpoints
    environment: dict[str, str]


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    seams = SeamStandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(raw) if raw else None
            with seams.lock:
                seams.received.append((self.command, self.path, self.headers.get("authorization"), body))
                status, answer = seams.answer(self.command, self.path, body)
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815  (http.server's names)

        def log_message(self, *_args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    data_dir = DataDir.at(tmp_path / "data")
    data_dir.create()
    for audience in ("load", "faults", "orchestrator", "remediation"):
        ensure_token(data_dir.token_file(audience))
    parts = ("prometheus", "remediation", "orchestrator", "load", "mesh", "jaeger")
    environment = {f"STEERSMAN_{part.upper()}_URL": url for part in parts}
    environment["STEERSMAN_DATA_DIR"] = str(data_dir.root)
    yield StandIn(seams, url, Endpoints.from_environment(environment), environment)
    server.shutdown()
    server.server_close()
    thread.join()
