from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from demo_services import catalog
from demo_services.fault_feed import FaultFeed
from demo_services.faults import Fault, FaultBoard, FaultKind, wall_clock_ms
from demo_services.service import end_task

if TYPE_CHECKING:
    from conftest import NatsServer, Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def bearer(shop_dir) -> dict[str, str]:
    return {"Authorization": "Bearer " + (shop_dir / "faults.token").read_text()}


async def test_faults_ask_for_the_token(shop: Shop, bearer) -> None:
    body = {"kind": "latency", "ttl_s": 5, "latency_ms": 10}
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        for call in (shop.client.get, shop.client.delete):
            assert (await call("/catalog/admin/faults", headers=headers)).status_code == 401
        assert (await shop.client.put("/catalog/admin/faults", json=body, headers=headers)).status_code == 401
    assert shop.services["catalog"].faults.active() == []


async def test_a_fault_reaches_every_replica_and_a_new_one_within_a_second_and_ends(
    shop: Shop, bearer, settings, running, eventually
) -> None:
    body = {"kind": "latency", "ttl_s": 2, "latency_ms": 150}
    async with running(catalog.build(settings("catalog", instance="catalog-2"))) as second:
        started = time.monotonic()
        answer = await shop.client.put("/catalog/admin/faults", json=body, headers=bearer)
        assert answer.json()["faults"][0]["latency_ms"] == 150
        await eventually(lambda: second.faults.active(), "the second replica has it", 1.0)
        async with running(catalog.build(settings("catalog", instance="catalog-3"))) as third:
            await eventually(lambda: third.faults.active(), "the new replica has it", 1.0)
            before = time.monotonic()
            assert (await shop.client.get("/catalog/products/SKU-0001")).status_code == 200
            assert time.monotonic() - before > 0.15
            await eventually(lambda: not third.faults.active(), "it ended by itself", 3.0)
        assert second.faults.active() == shop.services["catalog"].faults.active() == []
        assert time.monotonic() - started < 3
    assert shop.services["payment"].faults.active() == []


async def test_a_fault_can_be_ended_early_everywhere(shop: Shop, bearer, settings, running, eventually) -> None:
    async with running(catalog.build(settings("catalog", instance="catalog-2"))) as second:
        for body in (
            {"kind": "errors", "ttl_s": 60, "error_ratio": 1},
            {"kind": "slow_dependency", "ttl_s": 60, "latency_ms": 1, "dependency": "database"},
        ):
            await shop.client.put("/catalog/admin/faults", json=body, headers=bearer)
        await eventually(lambda: len(second.faults.active()) == 2, "both arrived")
        answer = await shop.client.get("/catalog/products/SKU-0001")
        assert (answer.status_code, answer.json()["error"]) == (500, "failed on purpose: a fault is in force")
        await shop.client.delete("/catalog/admin/faults", params={"kind": "errors"}, headers=bearer)
        await eventually(lambda: len(second.faults.active()) == 1, "one ended")
        assert (await shop.client.get("/catalog/products/SKU-0001")).status_code == 200
        await shop.client.delete("/catalog/admin/faults", headers=bearer)
        await eventually(lambda: not second.faults.active(), "all ended")


async def test_a_crash_reaches_the_replicas_that_come_later(shop: Shop, eventually) -> None:
    bus = shop.services["catalog"].bus
    crashed: list[str] = []
    feeds = [
        FaultFeed(bus, FaultBoard(), service="doomed", crash=lambda name=name: crashed.append(name))  # type: ignore[misc]
        for name in ("old", "new")
    ]
    watching = [asyncio.create_task(feeds[0].run())]
    await eventually(lambda: feeds[0].is_watching, "the first watches")
    await feeds[0].set(Fault(kind=FaultKind.CRASH, expires_at_unix_ms=wall_clock_ms() + 60_000))
    await eventually(lambda: crashed == ["old"], "the first crashed, once")
    watching.append(asyncio.create_task(feeds[1].run()))
    await eventually(lambda: crashed == ["old", "new"], "the one that took its place crashed")
    await feeds[0].delete([FaultKind.CRASH])
    for task in watching:
        await end_task(task)


@pytest.mark.chaos
async def test_a_fault_ends_while_the_bus_is_dead_and_the_watch_goes_on_after_it(
    shop: Shop, bearer, nats_server: NatsServer, eventually
) -> None:
    service = shop.services["recommendation"]
    body = {"kind": "latency", "ttl_s": 1, "latency_ms": 1}
    await shop.client.put("/recommendation/admin/faults", json=body, headers=bearer)
    nats_server.kill()
    await eventually(lambda: not service.bus.is_connected, "the bus is gone")
    assert (await shop.client.put("/recommendation/admin/faults", json=body, headers=bearer)).status_code == 503
    await eventually(lambda: not service.faults.active(), "it ended without the bus", 2.0)
    nats_server.start()
    await eventually(lambda: not any(other.waits_for() for other in shop.services.values()), "all are ready")
    other_replica = FaultFeed(shop.services["catalog"].bus, FaultBoard(), service="recommendation")
    await other_replica.set(Fault(kind=FaultKind.ERRORS, expires_at_unix_ms=wall_clock_ms() + 60_000, error_ratio=0.1))
    await eventually(lambda: service.faults.active(), "the watch works again", 1.5)
    await shop.client.delete("/recommendation/admin/faults", headers=bearer)
