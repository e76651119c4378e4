"""`kill -9` of a real collector in the middle of an alert."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from alert_state import is_logged

RULES = """
groups:
  - name: g
    interval: 200ms
    rules:
      - {record: one, expr: vector(1)}
      - {alert: Always, expr: one == 1, for: 400ms, annotations: {summary: "value {{ $value }}"}}
      - {alert: Waiting, expr: one == 1, for: 1h}
"""
START_S = 40  # a machine that is busy with other tests takes its time to import DuckDB and Arrow


class Receiver(Protocol):
    url: str

    async def next(self, timeout_s: float = 5.0) -> dict[str, Any]: ...
    async def stays_silent(self, for_s: float = 0.4) -> bool: ...


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


class Collector:
    """A collector process of which only its API and its webhooks are seen."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port

    async def kill(self) -> None:
        if self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGKILL)
            await self.process.wait()

    async def alerts(self) -> dict[str, dict[str, Any]]:
        """Once it answers and has evaluated; by alertname."""
        async with asyncio.timeout(START_S):
            while True:
                assert self.process.returncode is None, "the collector ended"
                with contextlib.suppress(OSError, ValueError, IndexError):
                    body = await self._get("/api/v1/alerts")
                    if body["data"]["alerts"]:
                        return {alert["labels"]["alertname"]: alert for alert in body["data"]["alerts"]}
                await asyncio.sleep(0.05)

    async def _get(self, path: str) -> dict[str, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: c\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
        body: dict[str, Any] = json.loads(answer.split(b"\r\n\r\n", 1)[1])
        return body


@contextlib.asynccontextmanager
async def collector(folder: Path) -> AsyncIterator[Collector]:
    ports = free_ports(5)
    flags = ("--http", "--otlp-grpc", "--otlp-http", "--jaeger", "--alertmanager")
    addresses = [word for flag, port in zip(flags, ports, strict=True) for word in (flag, f"127.0.0.1:{port}")]
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "collector", "--config", str(folder / "collector.yml")),
            *("--data-dir", str(folder / "data"), "--external-url", "http://c", *addresses),
            stdout=log,
            stderr=log,
        )
    running = Collector(process, ports[0])
    try:
        yield running
    finally:
        await running.kill()


@pytest.mark.chaos
async def test_killed_collector_neither_forgets_nor_repeats_an_alert(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    config = {
        "global": {"evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "alertmanager": {
            "route": {"receiver": "w", "group_wait": "0s", "group_interval": "200ms"},
            "receivers": [{"name": "w", "webhook_configs": [{"url": receiver.url}]}],
        },
    }
    (tmp_path / "collector.yml").write_text(json.dumps(config))  # JSON is YAML
    async with collector(tmp_path) as running:
        fired = await receiver.next(START_S)
        before = await running.alerts()
        async with asyncio.timeout(5):
            while not is_logged(tmp_path / "data" / "dispatcher.sqlite"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await running.kill()
    async with collector(tmp_path) as running:
        after = await running.alerts()
        assert await receiver.stays_silent(1)
        (tmp_path / "rules.yml").write_text(RULES.replace("one == 1", "one == 2"))
        resolved = await receiver.next(10)
    assert after["Always"]["state"] == "firing"
    assert after["Always"]["activeAt"][:19] == before["Always"]["activeAt"][:19]
    assert after["Waiting"]["state"] == "pending"
    (old,), (new,) = fired["alerts"], resolved["alerts"]
    assert new["status"] == "resolved"
    assert [new[key] for key in ("startsAt", "fingerprint", "annotations")] == [
        old[key] for key in ("startsAt", "fingerprint", "annotations")
    ]
