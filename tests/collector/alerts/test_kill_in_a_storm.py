"""
`kill -9` at random moments while alerts pour in: what was acknowledged is told, and what was told is not told again.

Short by default; STEERSMAN_ALERT_KILLS=50 makes it as long as one likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dispatcher_process
import httpx
import pytest
import yaml
from alertmanager_server import TOKEN, Alertmanager, Hook, free_port, served

KILLS = int(os.environ.get("STEERSMAN_ALERT_KILLS", "2"))
GROUPS = 5  # of alerts, told apart by the label `job`
START_S = 30


@contextlib.asynccontextmanager
async def process(folder: Path) -> AsyncIterator[tuple[Alertmanager, asyncio.subprocess.Process]]:
    port = free_port()
    with (folder / "log").open("ab") as log:
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, dispatcher_process.__file__, str(folder), str(port), TOKEN), stdout=log, stderr=log
        )
    alertmanager = Alertmanager(f"http://127.0.0.1:{port}")
    try:
        async with asyncio.timeout(START_S):
            while True:
                assert running.returncode is None, (folder / "log").read_text()
                with contextlib.suppress(httpx.HTTPError):
                    await alertmanager.call("GET", "/-/ready")
                    break
                await asyncio.sleep(0.05)
        yield alertmanager, running
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.send_signal(signal.SIGKILL)
        await running.wait()


def alert(number: int) -> dict[str, Any]:
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    labels = {"alertname": "Slow", "job": str(number % GROUPS), "instance": str(number)}
    return {"labels": labels, "startsAt": "2026-01-01T00:00:00Z", "endsAt": ends}


async def pour(alertmanager: Alertmanager, acknowledged: list[int]) -> None:
    """Until it answers no more."""
    number = len(acknowledged)
    with contextlib.suppress(httpx.HTTPError):
        while True:
            await alertmanager.post(*(alert(one) for one in range(number, number + 10)))
            acknowledged += range(number, number + 10)
            number += 10


def told(hook: Hook) -> Counter[tuple[str, tuple[int, ...]]]:
    """How often each group was told of exactly these alerts."""
    return Counter(
        (payload["groupKey"], tuple(sorted(int(one["labels"]["instance"]) for one in payload["alerts"])))
        for payload in hook.received
    )


@pytest.mark.chaos
@pytest.mark.timeout(60 + 30 * KILLS)
async def test_what_was_acknowledged_is_told_and_what_was_told_is_not_told_again(tmp_path: Path) -> None:
    chance = random.Random(7)
    hook, acknowledged = Hook(), list[int]()
    async with served(hook) as url:
        route = {"receiver": "w", "group_by": ["job"], "group_wait": "0s", "group_interval": "50ms"}
        config = {"route": route, "receivers": [{"name": "w", "webhook_configs": [{"url": url}]}]}
        (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
        for _ in range(KILLS):
            async with process(tmp_path) as (alertmanager, running):
                pouring = asyncio.create_task(pour(alertmanager, acknowledged))
                await asyncio.sleep(chance.uniform(0.1, 0.8))
                running.send_signal(signal.SIGKILL)
                await pouring
        async with process(tmp_path) as (alertmanager, _running):
            async with asyncio.timeout(30):
                while not set(acknowledged) <= {one for _, alerts in told(hook) for one in alerts}:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            known = {int(one["labels"]["instance"]) for one in await alertmanager.get("/api/v2/alerts")}
            assert set(acknowledged) <= known
            settled = len(hook.received)
            await asyncio.sleep(0.5)  # ten group intervals
            assert len(hook.received) <= settled + GROUPS  # at most what was on its way
    assert len(acknowledged) > 10 * KILLS
    # Of the same alerts a group is told once more only if the kill came between a receiver's answer and the log.
    assert sum(times - 1 for times in told(hook).values()) <= GROUPS * KILLS
    assert max(told(hook).values()) <= 2
