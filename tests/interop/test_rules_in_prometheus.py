"""
The shop's rules, unchanged, in Debian's Prometheus and in the collector, over the same samples: the same alerts, at the
same evaluation times, to the millisecond.

Both evaluate a group at a phase of its own, a hash of its file and name. So Prometheus is started first and its phases
read from what its groups record; then each file is copied, for the collector, to a path whose hash gives that phase.
All samples are sent before the evaluations that read them, with timestamps in the future: what an evaluation at T
sees depends on T alone, not on how late the machine comes to it. So nothing has to be tolerated, except an evaluation
that is left out altogether, which both count: the scenario is then played once more.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cramjam
import httpx
import pytest

from collector.model.series import STALE_BITS
from collector.rules.group import first_slot
from steersman.runtime import lifeline

pytestmark = pytest.mark.peer

# Objectives (slos.yml) look back over minutes, longer than the scenario is.
RULES = [path for path in sorted((Path(__file__).parents[2] / "rules").glob("*.yml")) if path.stem != "slos"]
INTERVAL_MS = 1_000  # of every group of the shop, and of the samples
ABSENT = 'ALERTS{alertname="TargetDown"}'  # before anything is sent, all of absent(…) are pending
RECORDED = {  # what tells the phase of a group
    "availability": ABSENT,
    "errors": "job:http_server_requests:rate10s",
    "latency": "job:http_server_request_duration_seconds:p50_10s",
    "queues": "job_queue:shop_queue_pending:max",
    "saturation": "job:worker_pool_arrivals:rate5s",
}
JOBS = ("cart", "catalog", "checkout", "inventory", "payment", "recommendation")
BOUNDS = ("0.1", "0.5", "0.75", "1", "+Inf")
WARM_UP_PHASE_MS = 400
REQUESTS = 40  # each second, of each replica
FAULT_S, END_S = 1, 17  # of the scenario: the rules' window is 10 s, and `keep_firing_for` 3 s
DOWN_S, BRIEFLY_S = 8, 3  # TargetDown has `for: 5s`
READY_WITHIN_S = 60  # on a machine that does much else
LEAD_MS = 1_500  # for both to take the samples
ATTEMPTS = 2
STALE = math.nan  # stands for the staleness marker, whose bits a Python float need not keep

Series = tuple[tuple[str, str], ...]
Samples = dict[Series, list[tuple[int, float]]]


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    http: httpx.Client

    def query(self, expr: str, at_ms: int) -> dict[Series, list[tuple[int, float]]]:
        """A range selector's raw samples; times in milliseconds."""
        answer = self.http.post("/api/v1/query", data={"query": expr, "time": f"{at_ms / 1000:.3f}"})
        assert answer.status_code == 200, f"{self.name}: {answer.text}"
        return {
            tuple(sorted(one["metric"].items())): [(round(at * 1000), float(text)) for at, text in one["values"]]
            for one in answer.json()["data"]["result"]
        }

    def write(self, samples: Samples) -> None:
        answer = self.http.post(
            "/api/v1/write",
            content=bytes(cramjam.snappy.compress_raw(write_request(samples))),
            headers={"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"},
        )
        assert answer.status_code in {200, 204}, f"{self.name}: {answer.status_code} {answer.text}"

    def missed(self) -> float:
        """Evaluations left out since the start."""
        text = self.http.get("/metrics").text
        return sum(map(float, re.findall(r"^prometheus_rule_group_iterations_missed_total\S* (\S+)", text, re.M)))

    def alerts(self) -> list[dict[str, Any]]:
        """Sorted, with times cut to milliseconds: Prometheus writes nanoseconds."""
        alerts = self.http.get("/api/v1/alerts").json()["data"]["alerts"]
        for alert in alerts:
            seconds, _, fraction = alert["activeAt"].rstrip("Z").partition(".")
            alert["activeAt"] = f"{seconds}.{fraction[:3]:0<3}"
            alert["value"] = f"{float(alert['value']):.9g}"  # the last digits of a sum depend on its order
            alert.pop("keepFiringSince", None)  # Prometheus 2.42 does not tell
        return sorted(alerts, key=lambda alert: json.dumps(alert["labels"], sort_keys=True))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(payload)) + payload


def float_bytes(value: float) -> bytes:
    return struct.pack("<Q", STALE_BITS) if math.isnan(value) else struct.pack("<d", value)


def write_request(samples: Samples) -> bytes:
    """Remote write 1.0 (prompb/remote.proto)."""
    parts = []
    for series, points in samples.items():
        labels = b"".join(field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in series)
        values = b"".join(field(2, b"\x09" + float_bytes(value) + b"\x10" + varint(at)) for at, value in points)
        parts.append(field(1, labels + values))
    return b"".join(parts)


# --- the two


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(name: str, folder: Path, argv: list[str], port: int) -> Iterator[Peer]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(lifeline.command(argv), cwd=folder, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:

            def ready() -> bool:
                assert process.poll() is None, (folder / f"{name}.log").read_text()
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/-/ready").status_code == 200
                return False

            wait_for(ready, READY_WITHIN_S, f"{name} to be ready")
            yield Peer(name, client)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    if shutil.which("prometheus") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have prometheus on PATH")
        pytest.skip("prometheus is not on PATH")
    folder = tmp_path_factory.mktemp("prometheus")
    files = [shutil.copy(rules, folder) for rules in RULES]
    (folder / "prometheus.yml").write_text(json.dumps({"rule_files": [str(file) for file in files]}))
    port = free_port()
    argv = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]
    argv += ["--web.enable-remote-write-receiver", f"--web.listen-address=127.0.0.1:{port}"]
    with running("prometheus", folder, argv, port) as peer:
        yield peer


def learnt(prometheus: Peer, found: dict[str, int], *groups: str) -> bool:
    for group in groups:
        for points in prometheus.query(f"{RECORDED[group]}[10s]", now_ms()).values():
            found[group] = points[-1][0] % INTERVAL_MS
    return found.keys() >= set(groups)


@pytest.fixture(scope="module")
def warm_up(prometheus: Peer) -> Samples:
    """Up to now, when rules are evaluated already; both get them, so that they answer from the same samples."""
    wait_for(lambda: learnt(prometheus, {}, "availability"), READY_WITHIN_S, "an alert that is pending")
    return samples(now_ms() - 15_000, now_ms(), faults_ms=(), phase_ms=WARM_UP_PHASE_MS)


@pytest.fixture(scope="module")
def phases(prometheus: Peer, warm_up: Samples) -> dict[str, int]:
    """When in each second Prometheus evaluates each group: milliseconds."""
    found: dict[str, int] = {}
    prometheus.write(warm_up)
    wait_for(lambda: learnt(prometheus, found, *RECORDED), READY_WITHIN_S, "a recording of every group")
    return found


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory, phases: dict[str, int], warm_up: Samples) -> Iterator[Peer]:
    folder = tmp_path_factory.mktemp("collector")
    files = [placed(rules, folder, phases[rules.stem]) for rules in RULES]
    (folder / "collector.yml").write_text(json.dumps({"rule_files": [str(file) for file in files]}))
    port = free_port()
    argv = [sys.executable, "-m", "collector", "--config", "collector.yml", "--data-dir", "data"]
    argv += ["--http", f"127.0.0.1:{port}"]
    for flag in ("--otlp-grpc", "--otlp-http", "--jaeger"):
        argv += [flag, f"127.0.0.1:{free_port()}"]
    with running("collector", folder, argv, port) as peer:
        peer.write(warm_up)
        yield peer


def placed(rules: Path, folder: Path, phase_ms: int) -> Path:
    """A copy at a path under which the collector evaluates the file's one group, named as the file, at this phase."""
    for number in range(100_000):
        path = folder / str(number) / rules.name
        if first_slot(f"{path};{rules.stem}", 0, INTERVAL_MS) == phase_ms:
            path.parent.mkdir(exist_ok=True)
            return Path(shutil.copy(rules, path))
    raise AssertionError(f"no path of 100,000 gives phase {phase_ms}")


# --- what both are sent


def samples(start_ms: int, end_ms: int, *, faults_ms: Sequence[int], phase_ms: int) -> Samples:
    """
    A sample of every series at `phase_ms` of each second in [start_ms, end_ms).

    At each of `faults_ms`, within a second: catalog is slow, payment fails, cart is busy beyond its pools. Then, for
    DOWN_S: inventory-1 is down, recommendation is gone (its `up` ends). checkout-1 is down for BRIEFLY_S, too short
    to fire.
    """
    found: Samples = {}
    for at_ms in range(start_ms + (phase_ms - start_ms) % INTERVAL_MS, end_ms, INTERVAL_MS):
        since = [at_ms - fault for fault in faults_ms if fault <= at_ms]  # counters keep what each has added
        for job in JOBS:
            for instance in (f"{job}-1", f"{job}-2"):
                place = {"job": job, "instance": instance}
                values = [*requests(job, at_ms // 1_000, len(since)), *pool(job, at_ms // 1_000, len(since))]
                up = up_of(job, instance, min(since, default=None))
                if up is not None:
                    values.append(("up", up, {}))
                for name, value, labels in values:
                    series = tuple(sorted({"__name__": name, **place, **labels}.items()))
                    found.setdefault(series, []).append((at_ms, value))
    return found


Values = Iterator[tuple[str, float, dict[str, str]]]


def requests(job: str, second: int, bursts: int) -> Values:
    """All requests are quick but for 60 of each of catalog's bursts."""
    slow, failed = 60 * bursts * (job == "catalog"), 30 * bursts * (job == "payment")
    for status, quick in (("200", REQUESTS * second), ("500", 1_000 + failed)):
        late = slow if status == "200" else 0
        labels = {"http_route": "/", "http_request_method": "GET", "http_response_status_code": status}
        yield "http_server_request_duration_seconds_count", quick + late, labels
        for bound in BOUNDS:
            within = quick + late if bound == "+Inf" else quick
            yield "http_server_request_duration_seconds_bucket", within, labels | {"le": bound}


def pool(job: str, second: int, bursts: int) -> Values:
    yield "worker_pool_size", 4, {}
    yield "worker_pool_busy_seconds_total", second * 1.5 + 40 * bursts * (job == "cart"), {}
    yield "worker_pool_arrivals_total", REQUESTS * second, {}
    yield "shop_queue_pending", second % 7, {"queue": job}


def up_of(job: str, instance: str, since_ms: int | None) -> float | None:
    """`since_ms` the last fault; None: no sample."""
    if since_ms is None or since_ms >= DOWN_S * 1_000:
        return 1.0
    if job == "recommendation":
        return STALE if since_ms < INTERVAL_MS else None
    down = instance == "inventory-1" or (instance == "checkout-1" and since_ms < BRIEFLY_S * 1_000)
    return 0.0 if down else 1.0


# --- the scenario


@dataclass(frozen=True, slots=True)
class Played:
    start_ms: int
    end_ms: int
    missed: float
    shown: list[list[dict[str, Any]]]  # by /api/v1/alerts, whenever both said the same


def play(prometheus: Peer, collector: Peer, phases: dict[str, int], former_ms: Sequence[int]) -> Played:
    phase_ms = next(phase for phase in range(500, INTERVAL_MS) if phase not in phases.values())
    missed = prometheus.missed() + collector.missed()
    # Between evaluations, and when both surely have all samples.
    start_ms = now_ms() + LEAD_MS
    start_ms += (phase_ms - start_ms) % INTERVAL_MS
    end_ms = start_ms + END_S * 1_000
    faults_ms = [*former_ms, start_ms + FAULT_S * 1_000]
    scenario = samples(now_ms(), end_ms, faults_ms=faults_ms, phase_ms=phase_ms)
    for peer in (prometheus, collector):
        peer.write(scenario)
    assert now_ms() < start_ms, f"both did not take the samples within {LEAD_MS} ms"
    shown = []
    while now_ms() < end_ms:
        theirs, ours = prometheus.alerts(), collector.alerts()
        if theirs == ours:
            shown.append(ours)
        time.sleep(0.1)
    return Played(start_ms, end_ms, prometheus.missed() + collector.missed() - missed, shown)


@pytest.fixture(scope="module")
def played(prometheus: Peer, phases: dict[str, int], collector: Peer) -> Played:
    faults_ms: list[int] = []
    for _ in range(ATTEMPTS):
        scenario = play(prometheus, collector, phases, faults_ms)
        if not scenario.missed:
            return scenario
        faults_ms.append(scenario.start_ms + FAULT_S * 1_000)
    pytest.fail(f"{scenario.missed:g} evaluations were left out: this machine cannot evaluate once a second")


def written(peer: Peer, played: Played, selector: str) -> dict[Series, list[tuple[int, float]]]:
    """What rules wrote during the scenario; the last second may not be stored yet."""
    length_ms = played.end_ms - played.start_ms - INTERVAL_MS
    return peer.query(f"{selector}[{length_ms}ms]", played.end_ms - INTERVAL_MS)


def of_alerts(series: dict[Series, list[tuple[int, float]]], state: str) -> set[tuple[str, str]]:
    """(alert, service) of those in this state."""
    labels = [dict(one) for one in series]
    return {(one["alertname"], one["service"]) for one in labels if one["alertstate"] == state}


FIRED = {
    ("HighRequestLatency", "catalog"),
    ("HighErrorRatio", "payment"),
    ("WorkerPoolSaturated", "cart"),
    ("TargetDown", "inventory"),
}
PENDED_ONLY = {("TargetDown", "checkout"), ("TargetDown", "recommendation")}


@pytest.mark.usefixtures("played")  # by then all have been evaluated
def test_both_load_the_same_rules_and_they_are_well(prometheus: Peer, collector: Peer) -> None:
    def loaded(peer: Peer) -> set[str]:
        found = set()
        for group in peer.http.get("/api/v1/rules").json()["data"]["groups"]:
            for rule in group["rules"]:
                kept = {key: rule.get(key) for key in ("type", "name", "labels", "annotations", "health")}
                # Prometheus prints the expression anew, and each version with other blanks.
                kept |= {"query": "".join(rule["query"].split()), "for": float(rule.get("duration", 0))}
                found.add(json.dumps({"group": group["name"], **kept}, sort_keys=True))
        return found

    ours, theirs = loaded(collector), loaded(prometheus)
    assert ours - theirs == set()
    assert theirs - ours == set()
    assert len(ours) > len(RULES)


def test_the_scenario_makes_alerts_fire_and_resolve_and_others_pend_only(prometheus: Peer, played: Played) -> None:
    series = written(prometheus, played, "ALERTS")
    assert of_alerts(series, "firing") == FIRED
    assert of_alerts(series, "pending") == FIRED | PENDED_ONLY
    assert all(points[-1][0] < played.end_ms - 2 * INTERVAL_MS for points in series.values()), "all have resolved"


def test_alerts_are_pending_and_firing_at_the_same_evaluations(
    prometheus: Peer, collector: Peer, played: Played
) -> None:
    assert written(collector, played, "ALERTS") == written(prometheus, played, "ALERTS")


def test_alerts_are_active_since_the_same_time(prometheus: Peer, collector: Peer, played: Played) -> None:
    theirs = written(prometheus, played, "ALERTS_FOR_STATE")
    assert len(theirs) == len(FIRED | PENDED_ONLY)
    assert written(collector, played, "ALERTS_FOR_STATE") == theirs


def test_rules_record_the_same_values_at_the_same_evaluations(
    prometheus: Peer, collector: Peer, played: Played
) -> None:
    theirs, ours = (written(peer, played, '{__name__=~"job(_le|_queue)?:.+"}') for peer in (prometheus, collector))
    assert ours.keys() == theirs.keys()
    assert len(theirs) > len(JOBS)
    for series, points in theirs.items():
        assert [at for at, _ in ours[series]] == [at for at, _ in points], series
        assert [value for _, value in ours[series]] == pytest.approx(
            [value for _, value in points], rel=1e-9, abs=1e-9, nan_ok=True
        ), series


def test_the_alerts_api_shows_the_same_labels_annotations_and_times(played: Played) -> None:
    seen = {
        (one["labels"]["alertname"], one["labels"]["service"], one["state"]) for same in played.shown for one in same
    }
    assert seen >= {(*alert, state) for alert in FIRED for state in ("pending", "firing")}
    assert seen >= {(*alert, "pending") for alert in PENDED_ONLY}
