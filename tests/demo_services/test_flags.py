from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from demo_services import recommendation, streams
from demo_services.flags import Flags
from demo_services.recommendation import NEW_RANKING, TRAINED

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


def told(value: object, until_unix_ms: int | None = None) -> bytes:
    return json.dumps({"value": value, "until_unix_ms": until_unix_ms}).encode()


async def test_a_flag_reaches_every_replica_within_a_second_and_changes_what_it_does(
    shop: Shop, settings, running, eventually
) -> None:
    service = shop.services["recommendation"]
    bucket = await service.bus.bucket(streams.FLAGS_BUCKET)
    old, new = sorted(TRAINED)[0], "SKU-0100"
    assert new not in TRAINED
    async with running(recommendation.build(settings("recommendation", instance="recommendation-2"))) as second:
        began = time.monotonic()
        await bucket.put(f"recommendation.{NEW_RANKING}", told(True))
        for one in (service, second):
            await eventually(lambda one=one: one.flags.is_on(NEW_RANKING), "the flag is on", 1.0)
        assert time.monotonic() - began < 2
        assert (await shop.client.get(f"/recommendation/recommendations/{old}")).status_code == 200
        assert (await shop.client.get(f"/recommendation/recommendations/{new}")).status_code == 500
        assert 'shop_flag{flag="new-ranking"} 1.0' in (await shop.client.get("/recommendation/metrics")).text
        async with running(recommendation.build(settings("recommendation", instance="recommendation-3"))) as third:
            await eventually(lambda: third.flags.is_on(NEW_RANKING), "a new replica has it", 1.0)
        await bucket.put(f"recommendation.{NEW_RANKING}", told(None))
        for one in (service, second):
            await eventually(lambda one=one: one.flags.get(NEW_RANKING) is None, "it is unset", 1.0)
        assert (await shop.client.get(f"/recommendation/recommendations/{new}")).status_code == 200
        await bucket.put(f"recommendation.{NEW_RANKING}", told(True))
        await eventually(lambda: service.flags.is_on(NEW_RANKING), "it is on again", 1.0)
        await bucket.delete(f"recommendation.{NEW_RANKING}")
        await eventually(lambda: service.flags.get(NEW_RANKING) is None, "it is gone", 1.0)
    assert not shop.services["catalog"].flags.is_on(NEW_RANKING)


async def test_flag_ends_by_its_time_and_what_is_no_flag_counts_as_unset(shop: Shop) -> None:
    now = [1000]
    flags = Flags(shop.services["catalog"].bus, service="catalog", clock_ms=lambda: now[0])
    flags.replace({"catalog.a": told(True, 1500), "catalog.b": b"nonsense", "catalog.c": told("blue")})
    assert [flags.get(name) for name in "abcd"] == [True, None, "blue", None]
    now[0] = 1500
    assert flags.get("a") is None
    flags.put("catalog.c", b'{"value": 1}')
    assert flags.get("c") is None


async def test_build_with_a_defect_fails_its_share_of_the_requests_and_tells_its_version(
    shop: Shop, settings, running
) -> None:
    import httpx

    bad = recommendation.build(settings("recommendation", version="1.1.0", defect_error_ratio=1.0))
    async with running(bad):
        transport = httpx.ASGITransport(app=bad.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
            assert (await client.get("/recommendations/SKU-0001")).status_code == 500
            assert (await client.get("/-/ready")).status_code == 200, "its probes see nothing"
            assert 'shop_build_info{version="1.1.0"} 1.0' in (await client.get("/metrics")).text
