"""
An agent whose destination is down, and that is killed with `kill -9` under load meanwhile: once the destination is
back, it has every span, log record and point that the agent acknowledged, once.

`STEERSMAN_AGENT_S=180` keeps the destination down for three minutes, with a kill every few seconds, instead of
moments, and does so over gRPC too.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from agent_process import RunningAgent
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from trace_campaign import Campaign, RunningCollector, free_ports

DOWN_S = float(os.environ.get("STEERSMAN_AGENT_S", "0.8"))
MOST_S = 0.25 if DOWN_S < 10 else 8.0  # from the first acknowledgement to the kill
ENOUGH = 4  # requests of each signal
DRAINED_WITHIN_S = 120.0 + 4 * DOWN_S  # at its rate; a loaded agent takes spans in twice as fast as it sends them on
PROTOBUF = {"content-type": "application/x-protobuf"}

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300 + 12 * DOWN_S)]


def metric_request(number: int) -> bytes:
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "agent"
    metric = of_resource.scope_metrics.add().metrics.add(name="campaign_number")
    point = metric.gauge.data_points.add(time_unix_nano=time.time_ns(), as_int=number)
    point.attributes.add(key="number").value.string_value = str(number)
    return request.SerializeToString()


@pytest.mark.parametrize("transport", ["http", "grpc"] if DOWN_S > 10 else ["http"])
def test_what_the_agent_acknowledged_reaches_the_destination_once(tmp_path: Path, transport: str) -> None:
    ports, destination = free_ports(8), tmp_path / "destination"
    destination.mkdir()
    own, theirs = ports[:3], ports[3:]
    url = f"grpc://127.0.0.1:{theirs[1]}" if transport == "grpc" else f"http://127.0.0.1:{theirs[2]}"
    campaign = Campaign(destination, seed=5)
    ends = time.monotonic() + DOWN_S
    kills = 0
    while time.monotonic() < ends or min(len(campaign.traces.acknowledged), len(campaign.logs.acknowledged)) < ENOUGH:
        with RunningAgent.start(tmp_path / "agent", url, ports=own) as agent:
            asyncio.run(campaign.load(agent, most_s=MOST_S))
            kills += 1
    with RunningAgent.start(tmp_path / "agent", url, ports=own) as agent:
        points = [metric_request(number) for number in range(20)]
        _post_all(agent, "/v1/metrics", points)
        assert _waiting(agent)["traces"] >= len(campaign.traces.acknowledged)
        with RunningCollector.start(destination, ports=theirs):
            _until(lambda: _sent(agent) > 0)
        # Killed while it takes what has waited, and back again.
        with RunningCollector.start(destination, ports=theirs) as collector:
            _until(lambda: not any(_waiting(agent).values()))
            _post_all(agent, "/v1/metrics", points)  # a sender that had no answer
            found = _ask(collector, "sum(count_over_time(campaign_number[1h]))", lambda value: value == 20)
            assert found == 20, found
            assert _ask(collector, "sum(last_over_time(campaign_number[1h]))", bool) == sum(range(20))
    assert campaign.judge() == []
    assert campaign.traces.repeated + campaign.logs.repeated > 0 or kills == 1
    assert "Traceback" not in agent.log.read_text()


def _post_all(agent: RunningAgent, path: str, bodies: list[bytes]) -> None:
    with httpx.Client(base_url=agent.otlp_http, timeout=20) as http:
        for body in bodies:
            assert http.post(path, content=body, headers=PROTOBUF).status_code == 200


def _waiting(agent: RunningAgent) -> dict[str, float]:
    """Requests in the queue of each signal."""
    text = httpx.get(f"{agent.http}/metrics", timeout=20).text
    found = re.findall(r'^steersman_forward_queue_requests\{data_type="(\w+)",.*\} (\S+)$', text, re.MULTILINE)
    return {signal: float(count) for signal, count in found}


def _sent(agent: RunningAgent) -> float:
    text = httpx.get(f"{agent.http}/metrics", timeout=20).text
    return sum(map(float, re.findall(r"^otelcol_exporter_sent_spans_total\{.*\} (\S+)$", text, re.MULTILINE)))


def _ask(collector: RunningCollector, query: str, wanted: Callable[[float], object]) -> float:
    """What the query answers, once it is what is wanted, or what it still answers after a while."""
    value = float("nan")

    def answered() -> bool:
        nonlocal value
        answer = httpx.get(f"{collector.http}/api/v1/query", params={"query": query}, timeout=20).json()
        value = float(answer["data"]["result"][0]["value"][1]) if answer["data"]["result"] else float("nan")
        return bool(wanted(value))

    _until(answered)
    return value


def _until(happened: Callable[[], bool]) -> None:
    ends = time.monotonic() + DRAINED_WITHIN_S
    while not happened():
        assert time.monotonic() < ends, "not within the time"
        time.sleep(0.05)
