"""The executor with real processes and a real Traefik."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import httpx
import psutil

from steersman.orchestrator.fleet import Fleet
from steersman.stack.settings import Settings


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  (real processes are watched)
            await asyncio.sleep(0.02)


def ready(fleet: Fleet) -> int:
    ready: int = fleet.describe("catalog")["ready"]
    return ready


def first_pid(fleet: Fleet) -> int | None:
    return next((instance["pid"] for instance in fleet.describe("catalog")["instances"]), None)


def states(fleet: Fleet) -> list[str]:
    return [instance["state"] for instance in fleet.describe("catalog")["instances"]]


class Customers:
    """Ask without pause, several at a time; count who answered and every request that was not answered 200."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self.answers: Counter[str] = Counter()
        self.lost: list[str] = []
        self._client = client
        self._url = url

    @contextlib.asynccontextmanager
    async def asking(self, count: int = 6) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._ask()) for _ in range(count)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self) -> None:
        while True:
            try:
                answer = await self._client.post(self._url)
            except httpx.HTTPError as error:
                self.lost.append(repr(error))
                continue
            if answer.status_code == 200:
                self.answers[answer.text] += 1
            else:
                self.lost.append(f"{answer.status_code} {answer.text}")


async def test_no_request_is_lost_while_scaling_out_and_in(start_fleet, settings: Settings, client):
    async with start_fleet() as fleet:
        customers = Customers(client, f"{settings.urls.mesh}/catalog/things")
        async with customers.asking():
            fleet.set_desired("catalog", 3)
            await until(lambda: len(customers.answers) == 3)
            fleet.set_desired("catalog", 1)
            await until(lambda: states(fleet) == ["ready"])
            before = customers.answers.copy()
            await until(lambda: customers.answers["catalog-1"] > before["catalog-1"] + 50)
        assert customers.lost == []
        assert set((customers.answers - before).keys()) == {"catalog-1"}


async def test_no_request_is_lost_while_all_replicas_restart_in_turn(start_fleet, settings: Settings, client):
    async with start_fleet(desired=2) as fleet:
        customers = Customers(client, f"{settings.urls.mesh}/catalog/things")
        async with customers.asking():
            fleet.restart("catalog", None)
            await until(lambda: [i["id"] for i in fleet.describe("catalog")["instances"]] == ["catalog-3", "catalog-4"])
        assert customers.lost == []


async def test_restart_of_what_started_before_a_moment_may_be_asked_for_twice(start_fleet):
    async with start_fleet(desired=2) as fleet:
        now = int(time.time() * 1000) + 1
        for _ in range(2):
            fleet.restart("catalog", None, started_before_unix_ms=now)
            await until(lambda: [i["id"] for i in fleet.describe("catalog")["instances"]] == ["catalog-3", "catalog-4"])


async def test_killed_replica_is_replaced_and_its_name_not_reused(start_fleet, settings: Settings, client):
    async with start_fleet(desired=2) as fleet:
        victim = fleet.describe("catalog")["instances"][0]
        os.kill(victim["pid"], signal.SIGKILL)
        await until(lambda: ready(fleet) < 2)
        await until(lambda: ready(fleet) == 2)
        after = fleet.describe("catalog")["instances"]
        assert [i["id"] for i in after] == ["catalog-2", "catalog-3"]
        assert after[1]["restarts"] == 1
        assert not psutil.pid_exists(victim["pid"])


async def test_frozen_replica_is_killed_and_replaced(start_fleet, monkeypatch):
    monkeypatch.setattr("steersman.orchestrator.fleet.HEALTH_TIMEOUT_S", 0.2)
    monkeypatch.setattr("steersman.orchestrator.fleet.HEALTH_EVERY_S", 0.1)
    async with start_fleet() as fleet:
        victim = fleet.describe("catalog")["instances"][0]
        os.kill(victim["pid"], signal.SIGSTOP)
        await until(lambda: [i["id"] for i in fleet.describe("catalog")["instances"]] == ["catalog-2"])
        await until(lambda: ready(fleet) == 1)
        await until(lambda: not psutil.pid_exists(victim["pid"]))


async def test_targets_name_the_serving_replicas_for_prometheus(start_fleet, settings: Settings):
    async with start_fleet(desired=2) as fleet:
        groups = json.loads((settings.targets / "catalog.json").read_text())
        ports = [instance["port"] for instance in fleet.describe("catalog")["instances"]]
        assert groups == [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"job": "catalog", "instance": f"catalog-{number}"}}
            for number, port in enumerate(ports, start=1)
        ]
        fleet.set_desired("catalog", 1)
        assert len(json.loads((settings.targets / "catalog.json").read_text())) == 1


async def test_what_keeps_dying_is_visibly_failed_and_still_retried(start_fleet):
    dies = [sys.executable, "-c", "raise SystemExit('cannot')"]
    async with start_fleet(command=dies, traefik=False) as fleet:
        await until(lambda: states(fleet) == ["failed"])
        first = fleet.describe("catalog")["instances"][0]
        assert first["pid"] is None
        await until(lambda: fleet.describe("catalog")["instances"][0]["restarts"] >= 3)


async def test_replica_is_not_served_before_it_says_it_is_ready(start_fleet, settings: Settings, client, monkeypatch):
    monkeypatch.setenv("DUMMY_READY_AFTER_S", "0.6")
    async with start_fleet(ready=False) as fleet:
        await until(lambda: first_pid(fleet))
        assert (await client.get(f"{settings.urls.mesh}/catalog/")).status_code in (404, 503)
        assert ready(fleet) == 0
        assert await fleet.wait_serving(timeout_s=10.0) == []
        assert (await client.get(f"{settings.urls.mesh}/catalog/")).status_code == 200


async def test_scale_in_goes_on_while_the_gateway_is_down(start_fleet, monkeypatch):
    monkeypatch.setattr("steersman.orchestrator.fleet.GATEWAY_WAIT_S", 0.2)
    async with start_fleet(desired=2, traefik=False) as fleet:
        await until(lambda: ready(fleet) == 2)
        fleet.set_desired("catalog", 1)
        await until(lambda: states(fleet) == ["ready"])


async def test_customers_reach_public_paths_only_and_operators_the_mesh(start_fleet, settings: Settings, client):
    async with start_fleet():
        statuses = {
            path: (await client.get(f"{settings.urls.web}{path}")).status_code
            for path in ("/catalog", "/catalog/x", "/catalogue", "/catalog/admin/faults", "/catalog/metrics", "/other")
        }
        assert statuses == {"/catalog": 200, "/catalog/x": 200} | dict.fromkeys(
            ("/catalogue", "/catalog/admin/faults", "/catalog/metrics", "/other"), 404
        )
        assert (await client.get(f"{settings.urls.mesh}/catalog/admin/faults")).status_code == 200


async def test_customer_who_asks_too_much_is_told_so(start_fleet, settings: Settings, client, monkeypatch):
    monkeypatch.setattr("steersman.orchestrator.gateway.EDGE_AVERAGE_PER_S", 1)
    monkeypatch.setattr("steersman.orchestrator.gateway.EDGE_BURST", 2)
    async with start_fleet():
        answers = [(await client.get(f"{settings.urls.web}/catalog/x")).status_code for _ in range(4)]
        assert answers == [200, 200, 429, 429]
        assert (await client.get(f"{settings.urls.mesh}/catalog/x")).status_code == 200


async def test_shut_down_ends_even_what_ignores_sigterm(start_fleet, settings: Settings):
    deaf = (
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    async with start_fleet(command=[sys.executable, "-c", deaf], traefik=False) as fleet:
        log = settings.data_dir.logs / "catalog-1.log"
        await until(lambda: log.exists() and "deaf" in log.read_text())
        pid = first_pid(fleet)
        await fleet.shut_down(deadline_s=0.3)
        assert not psutil.pid_exists(pid)
