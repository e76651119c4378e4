"""From a sample in the store to a webhook's body, with nothing replaced."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from alert_state import is_logged

from collector.alerts.config import load_config
from collector.alerts.dispatcher import Dispatcher
from collector.model.series import SampleBatch, labels_of
from collector.query.promql.engine import Engine
from collector.rules.manager import RuleManager
from collector.storage.metrics.store import MetricStore

RULES = """
groups:
  - name: shop
    interval: 100ms
    rules:
      - {record: "job:latency:double", expr: latency * 2}
      - alert: Slow
        expr: job:latency:double > 1
        for: 200ms
        labels: {severity: critical, service: "{{ $labels.job }}"}
        annotations: {summary: "{{ $labels.job }} takes {{ $value | humanizeDuration }}"}
"""


class Receiver(Protocol):
    url: str

    async def next(self, timeout_s: float = 5.0) -> dict[str, Any]: ...
    async def stays_silent(self, for_s: float = 0.4) -> bool: ...


@contextlib.asynccontextmanager
async def collector(folder: Path, url: str) -> AsyncIterator[MetricStore]:
    """Store, engine, rules and dispatcher, as they stand together in the collector."""
    store = MetricStore.open(folder / "metrics", retention_s=3600)
    config = load_config(
        {
            "route": {"receiver": "w", "group_by": ["service"], "group_wait": "0s", "group_interval": "100ms"},
            "receivers": [{"name": "w", "webhook_configs": [{"url": url}]}],
        }
    )
    dispatcher = Dispatcher(config, state_path=folder / "dispatcher.sqlite", external_url="http://c")
    manager = RuleManager(
        files=[str(folder / "rules.yml")],
        engine=Engine(store),
        sink=store,
        source=store,
        notify=dispatcher.accept,
        state_path=folder / "alerts.json",
        evaluation_interval_s=1,
        external_url="http://c",
    )
    tasks = [asyncio.create_task(dispatcher.run()), asyncio.create_task(manager.run())]
    try:
        yield store
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        dispatcher.close()
        store.close()


async def latency(store: MetricStore, value: float) -> None:
    labels = (labels_of({"__name__": "latency", "job": "cart"}),)
    await store.append([SampleBatch("test", time.time_ns() // 1_000_000, labels, np.array([value]))])


async def test_slow_job_reaches_the_webhook_and_its_resolution_does_over_a_restart(
    receiver: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    async with collector(tmp_path, receiver.url) as store:
        await latency(store, 0.75)
        started = time.perf_counter()
        fired = await receiver.next()
        assert time.perf_counter() - started < 2
        (alert,) = fired["alerts"]
        assert alert["labels"] == {"alertname": "Slow", "job": "cart", "service": "cart", "severity": "critical"}
        assert alert["annotations"] == {"summary": "cart takes 1.5s"}
        async with asyncio.timeout(5):
            while not is_logged(tmp_path / "dispatcher.sqlite"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    async with collector(tmp_path, receiver.url) as store:
        assert await receiver.stays_silent()
        await latency(store, 0.1)
        resolved = await receiver.next()
    assert resolved["status"] == "resolved"
    assert resolved["alerts"][0]["startsAt"] == alert["startsAt"]
    assert resolved["alerts"][0]["fingerprint"] == alert["fingerprint"]
