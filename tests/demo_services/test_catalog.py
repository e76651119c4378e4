from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from demo_services import catalog

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_products_are_listed_found_and_searched(shop: Shop) -> None:
    listed = (await shop.client.get("/catalog/products", params={"limit": 3})).json()["products"]
    assert [product["sku"] for product in listed] == ["SKU-0001", "SKU-0002", "SKU-0003"]
    assert (await shop.client.get("/catalog/products/SKU-0002")).json() == listed[1]
    found = (await shop.client.get("/catalog/search", params={"q": "LANTERN"})).json()["products"]
    assert len(found) == 6
    assert (await shop.client.get("/catalog/search", params={"q": "%"})).json()["products"] == []


async def test_bad_questions_get_a_clear_error(shop: Shop) -> None:
    for path, status in (
        ("/catalog/products/SKU-9999", 404),
        ("/catalog/products/rope", 400),
        ("/catalog/products?limit=0", 400),
        ("/catalog/products?limit=1e9", 400),
        ("/catalog/search", 400),
        ("/catalog/search?q=" + "x" * 101, 400),
        ("/catalog/nothing", 404),
    ):
        answer = await shop.client.get(path)
        assert (answer.status_code, answer.json()["status"]) == (status, "error"), path


async def test_clicks_teach_recommendation(shop: Shop, eventually) -> None:
    click = {"user": "ann", "sku": "SKU-0042", "seen_with": "SKU-0041"}
    for prefix in ("catalog", "recommendation"):
        assert (await shop.client.post(f"/{prefix}/clicks", json=click)).status_code == 202

    async def learned() -> bool:
        answer = (await shop.client.get("/recommendation/recommendations/SKU-0041")).json()
        weights = {row["sku"]: row["weight"] for row in answer["recommended"]}
        return answer["basis"] == "bought_together" and weights == {"SKU-0042": pytest.approx(0.2, rel=0.01)}

    await eventually(learned, "both clicks are learned")


async def test_a_replica_serves_what_its_pool_predicts_and_rejects_the_rest(shop: Shop, settings, running) -> None:
    """Eight customers who never pause, on two workers of 100 ms: 20 requests a second."""
    service = catalog.build(settings("catalog", instance="catalog-9", pool_size=2, service_time_s=0.1))
    async with running(service):
        transport = httpx.ASGITransport(app=service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://catalog") as client:
            statuses: list[int] = []
            started = time.monotonic()

            async def customer() -> None:
                while time.monotonic() < started + 2:
                    answer = await client.get("/products/SKU-0001")
                    statuses.append(answer.status_code)

            await asyncio.gather(*(customer() for _ in range(8)))
            assert set(statuses) == {200}
            # Never more than the prediction, whatever the machine; less by what a busy machine adds to each request.
            # That the prediction itself is right is tested in virtual time, in test_worker_pool.py.
            measured = len(statuses) / (time.monotonic() - started)
            assert 0.75 * service.pool.capacity < measured < 1.1 * service.pool.capacity

            service.pool.queue_timeout_s = 0.05
            answers = await asyncio.gather(*(client.get("/products/SKU-0001") for _ in range(6)))
            rejected = [answer for answer in answers if answer.status_code == 503]
            assert len(rejected) == 4
            assert rejected[0].headers["retry-after"] == "1"
            assert "no worker became free within 0.05 s" in rejected[0].json()["error"]
            assert service.pool.rejected == 4


async def test_two_replicas_may_make_the_database_at_once(settings, running, tmp_path) -> None:
    first, second = (
        catalog.build(settings("catalog", instance=f"catalog-{number}", data_dir=tmp_path)) for number in (1, 2)
    )
    async with running(first), running(second):
        assert first.waits_for() == second.waits_for() == []
