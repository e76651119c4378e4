"""A collector process: rules raise alerts, its port 9093 shows and silences them, Debian's Alertmanager hears them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from alertmanager_server import Alertmanager, Hook, debians, free_port, served

START_S = 60
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
RULES = """
groups:
  - name: g
    interval: 200ms
    rules:
      - {record: "job:slow", expr: "sum by (job) (latency_seconds_count) > 0"}
      - {alert: Slow, expr: 'job:slow > 0', labels: {severity: critical}, annotations: {summary: "{{ $labels.job }}"}}
"""


class Collector:
    def __init__(self, folder: Path, process: asyncio.subprocess.Process, ports: list[int]) -> None:
        self.folder, self.process = folder, process
        self.otlp = f"http://127.0.0.1:{ports[2]}"
        self.alertmanager = Alertmanager(f"http://127.0.0.1:{ports[4]}")
        self.token = ""

    async def ready(self) -> None:
        async with asyncio.timeout(START_S):
            while True:
                assert self.process.returncode is None, (self.folder / "log").read_text()
                with contextlib.suppress(httpx.HTTPError):
                    await self.alertmanager.call("GET", "/-/ready")
                    break
                await asyncio.sleep(0.1)
        self.token = (self.folder / "token").read_text().strip()

    async def kill(self) -> None:
        if self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    async def observe(self) -> None:
        """One slow request of the cart, with its trace."""
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{self.otlp}/v1/metrics", json=histogram())
            answer.raise_for_status()


def histogram() -> dict[str, Any]:
    at = str(time.time_ns())
    exemplar = {"timeUnixNano": at, "asDouble": 3.0, "traceId": TRACE_ID, "spanId": "00f067aa0ba902b7"}
    point = {
        "startTimeUnixNano": at, "timeUnixNano": at, "count": "1", "sum": 3.0, "bucketCounts": ["0", "1"],
        "explicitBounds": [1.0], "exemplars": [exemplar],
    }  # fmt: skip
    metric = {"name": "latency", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [point]}}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]}


@contextlib.asynccontextmanager
async def collector(folder: Path) -> AsyncIterator[Collector]:
    ports = [free_port() for _ in range(5)]
    flags = ("--http", "--otlp-grpc", "--otlp-http", "--jaeger", "--alertmanager")
    addresses = [word for flag, port in zip(flags, ports, strict=True) for word in (flag, f"127.0.0.1:{port}")]
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "collector", "--config", str(folder / "collector.yml")),
            *("--data-dir", str(folder / "data"), "--alertmanager-token-file", str(folder / "token"), *addresses),
            stdout=log,
            stderr=log,
        )
    running = Collector(folder, process, ports)
    try:
        await running.ready()
        yield running
    finally:
        await running.kill()


async def until(hook: Hook, count: int) -> None:
    async with asyncio.timeout(30):
        while len(hook.received) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.peer
async def test_alert_reaches_both_alertmanagers_with_its_traces_and_a_silence_outlives_a_kill(tmp_path: Path) -> None:
    hook, peers_hook = Hook(), Hook()
    (tmp_path / "peer").mkdir()
    async with served(hook) as url, served(peers_hook) as peers_url:
        route = {"receiver": "w", "group_wait": "0s", "group_interval": "300ms"}
        own = {"route": route, "receivers": [{"name": "w", "webhook_configs": [{"url": url}]}]}
        theirs = {"route": route, "receivers": [{"name": "w", "webhook_configs": [{"url": peers_url}]}]}
        (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(own))
        (tmp_path / "rules.yml").write_text(RULES)
        async with debians(tmp_path / "peer", theirs) as peer:
            config = {
                "global": {"external_labels": {"cluster": "test", "replica": "a"}},
                "rule_files": ["rules.yml"],
                "alertmanager_file": "alertmanager.yml",
                "alerting": {
                    "alert_relabel_configs": [{"regex": "replica", "action": "labeldrop"}],
                    "alertmanagers": [{"static_configs": [{"targets": [peer.url.removeprefix("http://")]}]}],
                },
            }
            (tmp_path / "collector.yml").write_text(json.dumps(config))
            async with collector(tmp_path) as running:
                await running.observe()
                await until(hook, 1)
                await until(peers_hook, 1)
                (alert,) = hook.received[0]["alerts"]
                assert alert["labels"] == {
                    "alertname": "Slow",
                    "cluster": "test",
                    "job": "cart",
                    "severity": "critical",
                }
                assert alert["annotations"] == {"summary": "cart", "trace_ids": TRACE_ID}
                (same,) = peers_hook.received[0]["alerts"]
                assert {**same, "startsAt": "", "generatorURL": ""} == {**alert, "startsAt": "", "generatorURL": ""}
                silence = {
                    "matchers": [{"name": "job", "value": "cart", "isRegex": False}], "comment": "", "createdBy": "me",
                    "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z",
                }  # fmt: skip
                answer = await running.alertmanager.call("POST", "/api/v2/silences", silence, token=running.token)
                silence_id = answer.raise_for_status().json()["silenceID"]
                await running.kill()
            told = len(hook.received)
            async with collector(tmp_path) as running:
                assert (await running.alertmanager.get("/api/v2/silences"))[0]["id"] == silence_id
                (shown,) = await running.alertmanager.get("/api/v2/alerts")
                assert shown["status"]["silencedBy"] == [silence_id]
                path = f"/api/v2/silence/{silence_id}"
                assert (await running.alertmanager.call("DELETE", path, token="wrong")).status_code == 401
                answer = await running.alertmanager.call("DELETE", path, token=running.token)
                assert answer.status_code == 200
                await asyncio.sleep(1)  # several group intervals
        assert len(hook.received) == told == 1  # neither the kill nor the silence made it tell again
