"""The worker's levers on the real orchestrator: that both mean the same by a version, weights, a rate and a replica."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from remediation.errors import ConflictError, PermanentScalerError
from remediation.levers.lever import Move
from remediation.levers.replica import ReplaceLever
from remediation.levers.rollback import RollbackLever, Served
from remediation.levers.traffic import ShedLever, TrafficLever
from remediation.policy.limits import BlastRadius
from remediation.scalers.local import LocalScaler
from steersman.orchestrator.api import create_app
from steersman.orchestrator.controls import now_unix_ms
from steersman.runtime.http import Listener, serve

TOKEN = "a-made-up-token"
VERSIONS: dict[str, dict[str, str]] = {"1.0.0": {}, "1.1.0": {}}


def move(before: Any, after: Any, thing: str = "") -> Move:
    return Move(before=before, after=after, was="", becomes="", reason="a test", thing=thing)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (real processes are watched)
            await asyncio.sleep(0.02)


async def test_levers_and_orchestrator_understand_one_another(start_fleet, settings):
    async with start_fleet(traefik=False, desired=2, version="1.0.0", versions=VERSIONS, zones=("a", "b")) as fleet:
        stop, port = asyncio.Event(), settings.ports.orchestrator
        app = create_app(fleet, token=TOKEN, processes=list)
        serving = asyncio.create_task(serve([Listener(app, port)], stop=stop))
        scaler = LocalScaler(f"http://127.0.0.1:{port}", TOKEN)
        try:
            await until(lambda: fleet.describe("catalog")["ready"] == 2)
            await asyncio.to_thread(pull_each, scaler, fleet)
        finally:
            scaler.close()
            stop.set()
            await serving


def pull_each(scaler: LocalScaler, fleet: Any) -> None:
    now = now_unix_ms()
    versions, radius = RollbackLever(scaler), BlastRadius()
    versions.pull("catalog", move("1.0.0", "1.1.0"), now)
    versions.pull("catalog", move("1.0.0", "1.1.0"), now)  # again is no harm
    history = [Served.of(one) for one in scaler.control("catalog", "version")["history"]]
    assert [(one.version, one.by) for one in history] == [("1.1.0", "remediation"), ("1.0.0", "services file")]
    with pytest.raises(ConflictError, match=r"version of catalog is '1\.1\.0', not '9'"):
        versions.pull("catalog", move("9", "1.0.0"), now)
    with pytest.raises(PermanentScalerError, match="no version '7'"):
        versions.pull("catalog", move("1.1.0", "7"), now)

    even = {"weights": {}, "until_unix_ms": None}
    shifted = {"weights": {"a": 0, "b": 100}, "until_unix_ms": now + 60_000}
    traffic = TrafficLever(scaler)
    traffic.pull("catalog", move(even, shifted), now)
    assert scaler.control("catalog", "traffic")["weights"] == {"a": 0, "b": 100}
    with pytest.raises(ConflictError):
        traffic.pull("catalog", move(even, shifted | {"weights": {"a": 100, "b": 0}}), now)
    traffic.pull("catalog", move(shifted, even), now)
    assert scaler.control("catalog", "traffic")["weights"] == {}

    all_, few = {"requests_per_s": None, "until_unix_ms": None}, {"requests_per_s": 5.5, "until_unix_ms": now + 60_000}
    shedding = ShedLever(scaler)
    shedding.pull("catalog", move(all_, few), now)
    assert scaler.control("catalog", "shedding") == few
    shedding.pull("catalog", move(few, all_), now)
    assert scaler.control("catalog", "shedding") == all_

    replaced = ReplaceLever(scaler, radius, lambda service, since: 0)
    replaced.pull("catalog", move("catalog-99", None, thing="catalog-99"), now_unix_ms())  # it has gone: nothing
    assert scaler.get("catalog").desired == 2
