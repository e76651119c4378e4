"""A collector that counts and samples, killed under load: what was acknowledged is counted once, and decided."""

from __future__ import annotations

import itertools
import threading
import time

import httpx
import pytest
from made_spans import ERROR, Made, encoded
from trace_campaign import RunningCollector

CONFIG = """
global: {scrape_interval: 15s}
connectors:
  spanmetrics: {metrics_flush_interval: 200ms}
  servicegraph: {metrics_flush_interval: 200ms}
processors:
  tail_sampling:
    decision_wait: 1s
    policies: [{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}]
"""
PROTOBUF = {"content-type": "application/x-protobuf"}
SPANS = 10  # of one request, which are one trace; of every second trace one failed
SENDERS = 3
WITHIN_S = 60.0


def request(number: int) -> bytes:
    now = time.time_ns()
    spans = [Made(trace=number + 1, span=number * SPANS + n + 1, at_nano=now) for n in range(SPANS - 1)]
    last = Made(trace=number + 1, span=(number + 1) * SPANS, at_nano=now, status=ERROR * (number % 2))
    return encoded([*spans, last])


def send_until_killed(running: RunningCollector, bodies: dict[int, bytes]) -> set[int]:
    """The numbers that were acknowledged; `bodies` gets all that was sent."""
    acknowledged: set[int] = set()
    numbers = itertools.count()

    def send() -> None:
        with httpx.Client() as client:
            while True:
                number = next(numbers)
                bodies[number] = request(number)
                try:
                    answer = client.post(f"{running.otlp_http}/v1/traces", content=bodies[number], headers=PROTOBUF)
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    acknowledged.add(number)

    threads = [threading.Thread(target=send) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(acknowledged) >= 20, "twenty acknowledged requests")
    finally:
        running.process.kill()
    for thread in threads:
        thread.join(WITHIN_S)
    return acknowledged


def wait_for(condition, what: str):
    deadline = time.monotonic() + WITHIN_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)
    return found


def calls(running: RunningCollector) -> float:
    answer = httpx.get(f"{running.http}/api/v1/query", params={"query": "sum(traces_span_metrics_calls_total)"}).json()
    found = answer["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


def found_traces(running: RunningCollector) -> set[int]:
    answer = httpx.get(f"{running.jaeger}/api/traces", params={"service": "shop", "limit": 1500}).json()
    return {int(trace["traceID"], 16) - 1 for trace in answer["data"] if len(trace["spans"]) == SPANS}


@pytest.mark.chaos
def test_spans_are_counted_once_and_traces_decided_whole_over_a_kill(tmp_path):
    bodies: dict[int, bytes] = {}
    with RunningCollector.start(tmp_path, config_text=CONFIG) as running:
        acknowledged = send_until_killed(running, bodies)
    assert len(acknowledged) < len(bodies), "requests were in flight"
    with RunningCollector.start(tmp_path, config_text=CONFIG) as running:
        for number in bodies.keys() - acknowledged | set(sorted(acknowledged)[-3:]):
            httpx.post(f"{running.otlp_http}/v1/traces", content=bodies[number], headers=PROTOBUF).raise_for_status()
        wait_for(lambda: calls(running) >= SPANS * len(bodies), "a count of all spans")
        failed = {number for number in bodies if number % 2}
        wait_for(lambda: found_traces(running) >= failed, "every trace with an error")
        assert found_traces(running) == failed
        assert calls(running) == SPANS * len(bodies)
        answer = httpx.get(f"{running.jaeger}/api/metrics/calls", params={"service": "shop", "ratePer": 60_000}).json()
        assert answer["name"] == "service_call_rate"
        assert "Traceback" not in running.log.read_text(), running.log.read_text()
