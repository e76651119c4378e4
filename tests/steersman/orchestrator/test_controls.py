"""Versions, weights and rates, with real processes behind a real Traefik."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from steersman.errors import ConflictError, OutOfBoundsError
from steersman.orchestrator import controls
from steersman.orchestrator.controls import Controls
from steersman.orchestrator.fleet import Fleet
from steersman.orchestrator.releases import ReleaseFile
from steersman.orchestrator.service import Service, ServiceSpec
from steersman.orchestrator.traffic import checked_weights, effective_weights
from steersman.stack.settings import Settings

VERSIONS = {"1.0.0": {}, "1.1.0": {"DUMMY_DELAY_S": "0.05"}}
BUILT = {"version": "1.0.0", "versions": VERSIONS}


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  (real processes are watched)
            await asyncio.sleep(0.02)


def running(fleet: Fleet) -> list[str]:
    return [instance["version"] for instance in fleet.describe("catalog")["instances"]]


def deploy(fleet: Fleet, version: str, **more: object) -> None:
    fleet.controls.deploy("catalog", version, by="ci", reason="a test", **more)


async def answers(client: httpx.AsyncClient, url: str, count: int = 40) -> Counter[str]:
    found = await asyncio.gather(*(client.get(url) for _ in range(count)))
    return Counter(one.text if one.status_code == 200 else str(one.status_code) for one in found)


async def test_deploy_and_rollback_lose_no_request_and_are_remembered(start_fleet, settings: Settings, client):
    async with start_fleet(desired=2, **BUILT) as fleet:
        await until(lambda: fleet.controls.describe_version("catalog")["history"][0]["serving_unix_ms"])
        lost: list[int] = []
        stop = asyncio.Event()

        async def customer() -> None:
            while not stop.is_set():
                answer = await client.get(f"{settings.urls.mesh}/catalog/things")
                lost.extend([answer.status_code] if answer.status_code != 200 else [])

        asking = [asyncio.create_task(customer()) for _ in range(4)]
        deploy(fleet, "1.1.0", expected="1.0.0")
        await until(lambda: running(fleet) == ["1.1.0", "1.1.0"])
        deploy(fleet, "1.0.0", expected="1.1.0")
        await until(lambda: running(fleet) == ["1.0.0", "1.0.0"])
        stop.set()
        await asyncio.gather(*asking)
        assert lost == []
        history = fleet.controls.describe_version("catalog")["history"]
        assert [one["version"] for one in history] == ["1.0.0", "1.1.0", "1.0.0"]
        assert history[1]["serving_unix_ms"] <= history[1]["left_unix_ms"] == history[0]["at_unix_ms"]
    async with start_fleet(traefik=False, **BUILT | {"version": "1.0.0"}) as fleet:
        assert len(fleet.controls.describe_version("catalog")["history"]) == 3, "it survives the stack"


async def test_version_taken_back_in_mid_deploy_keeps_the_replicas_that_were_not_replaced_yet(start_fleet):
    async with start_fleet(desired=1, **BUILT) as fleet:
        deploy(fleet, "1.1.0")
        deploy(fleet, "1.0.0")
        await until(lambda: running(fleet) == ["1.0.0"])
        assert [one["id"] for one in fleet.describe("catalog")["instances"]] == ["catalog-1"]


async def test_unknown_version_and_one_that_somebody_else_changed_are_refused(start_fleet):
    async with start_fleet(traefik=False, **BUILT) as fleet:
        with pytest.raises(OutOfBoundsError, match=r"no version '9'; there are: 1\.0\.0, 1\.1\.0"):
            deploy(fleet, "9")
        with pytest.raises(ConflictError, match=r"is '1\.0\.0', not '9'"):
            deploy(fleet, "1.1.0", expected="9")
        deploy(fleet, "1.0.0", expected="9")  # it is as wanted already
        assert fleet.describe("catalog")["version"] == "1.0.0"
        assert len(fleet.controls.describe_version("catalog")["history"]) == 1


async def test_trial_ends_by_itself(start_fleet):
    async with start_fleet(**BUILT) as fleet:
        deploy(fleet, "1.1.0", until_unix_ms=controls.now_unix_ms() + 700)
        assert fleet.describe("catalog")["version"] == "1.1.0"
        await until(lambda: fleet.describe("catalog")["version"] == "1.0.0")
        await until(lambda: running(fleet) == ["1.0.0"])


def spec(**more: object) -> ServiceSpec:
    base = {"name": "catalog", "command": ("true",), "minimum": 1, "maximum": 6, "desired": 1, "public": True}
    return ServiceSpec(**(base | BUILT | more))  # type: ignore[arg-type]


def restored(settings: Settings, one: ServiceSpec, now_ms: int) -> str:
    services = {"catalog": Service.fresh(one)}
    made = Controls(
        services.__getitem__, services.__setitem__, file=ReleaseFile(settings.releases_file), clock_ms=lambda: now_ms
    )
    version = made.restore([one])["catalog"]
    services["catalog"] = Service(spec=one, desired=1, version=version)
    if now_ms < 100:
        made.deploy("catalog", "1.1.0", by="ci", reason="", until_unix_ms=now_ms + 1000 if now_ms == 50 else None)
    return version


@pytest.mark.parametrize(
    ("first_ms", "later", "later_ms", "version"),
    [
        (0, spec(), 500, "1.1.0"),
        (50, spec(), 500, "1.1.0"),
        (50, spec(), 5000, "1.0.0"),  # the trial ended while the stack was down
        (0, spec(version="1.2.0", versions={**VERSIONS, "1.2.0": {}}), 500, "1.2.0"),  # the services file says anew
        (0, spec(versions={"1.0.0": {}}), 500, "1.0.0"),  # there is no 1.1.0 any more
    ],
)
def test_stack_comes_up_with_what_was_deployed_last(settings: Settings, first_ms, later, later_ms, version):
    assert restored(settings, spec(), first_ms) == "1.0.0"
    assert restored(settings, later, later_ms) == version


async def test_weights_move_the_requests_between_zones_and_a_dead_zone_fails_over(
    start_fleet, settings: Settings, client, monkeypatch
):
    url = f"{settings.urls.web}/catalog/things"
    async with start_fleet(desired=2, zones=("a", "b")) as fleet:
        assert [one["zone"] for one in fleet.describe("catalog")["instances"]] == ["a", "b"]
        assert set(await answers(client, url)) == {"catalog-1", "catalog-2"}
        fleet.controls.shift("catalog", {"a": 0, "b": 100}, until_unix_ms=controls.now_unix_ms() + 60_000)
        async with asyncio.timeout(10):
            while set(await answers(client, url)) != {"catalog-2"}:
                pass
        with pytest.raises(OutOfBoundsError, match="zones a, c; its zones are a, b"):
            fleet.controls.shift("catalog", {"a": 1, "c": 1})
        victim = fleet.describe("catalog")["instances"][1]
        monkeypatch.setenv("DUMMY_READY_AFTER_S", "2")  # what comes in its place leaves the zone empty for a while
        os.kill(victim["pid"], signal.SIGKILL)
        async with asyncio.timeout(10):  # zone a serves until b is back, and then b alone again
            while "catalog-1" not in await answers(client, url):
                pass
        await until(lambda: [one["zone"] for one in fleet.describe("catalog")["instances"]] == ["a", "b"])
        async with asyncio.timeout(10):
            while set(await answers(client, url)) != {"catalog-3"}:
                pass


async def test_customers_beyond_the_rate_are_refused_and_the_services_own_calls_are_not(
    start_fleet, settings: Settings, client
):
    web, mesh = f"{settings.urls.web}/catalog/things", f"{settings.urls.mesh}/catalog/things"
    async with start_fleet() as fleet:
        fleet.controls.shed("catalog", 4, until_unix_ms=controls.now_unix_ms() + 2000)
        async with asyncio.timeout(10):
            while (await answers(client, web, 12))["429"] == 0:
                pass
        began = time.monotonic()
        evading = await client.get(web, headers={"X-Steersman-Shed": "mine"})
        assert evading.status_code == 429
        assert (await answers(client, mesh))["429"] == 0
        assert time.monotonic() - began < 2
        await until(lambda: fleet.controls.shedding("catalog").requests_per_s is None)
        async with asyncio.timeout(10):
            while (await answers(client, web, 12))["429"]:
                pass


def test_weights_that_would_leave_nobody_to_serve_are_refused():
    one = spec(zones=("a", "b"))
    with pytest.raises(OutOfBoundsError, match="no replica of catalog would serve"):
        checked_weights(one, {"a": 0, "b": 100}, {"a": 3, "b": 0})
    assert effective_weights({"a": 0, "b": 100}, {"a": 3, "b": 0}) == {}
    assert effective_weights({"a": 50, "b": 50}, {"a": 3, "b": 0}) == {"a": 50, "b": 0}
