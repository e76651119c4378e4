from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from demo_services.cart import MOST_LINES, CartStore
from demo_services.errors import BusUnavailableError, ConflictError

if TYPE_CHECKING:
    from conftest import NatsServer, Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_writers_of_one_cart_at_once_never_lose_each_others_item(shop: Shop) -> None:
    conflicts = []
    store = CartStore(shop.services["cart"].bus, on_conflict=lambda: conflicts.append(1))
    skus = [f"SKU-{number:04d}" for number in range(1, 13)]
    await asyncio.gather(
        *(store.change("crowd", lambda items, sku=sku: items | {sku: 1}) for sku in skus)  # type: ignore[misc]
    )
    assert (await store.get("crowd")).items == dict.fromkeys(skus, 1)
    assert conflicts  # they did meet


async def test_emptying_at_a_revision_that_has_passed_changes_nothing(shop: Shop) -> None:
    store = CartStore(shop.services["cart"].bus)
    seen = await store.change("passed", lambda items: items | {"SKU-0001": 1})
    await store.change("passed", lambda items: items | {"SKU-0002": 1})
    with pytest.raises(ConflictError, match=f"changed since revision {seen.revision}"):
        await store.empty("passed", seen.revision)
    assert len((await store.get("passed")).items) == 2


async def test_items_can_be_put_read_and_removed(shop: Shop) -> None:
    await shop.put("careful", SKU_0001=2)
    await shop.put("careful", SKU_0001=3)
    path = "/cart/carts/careful/items/SKU-0001"
    assert (await shop.client.get(path)).json() == {"quantity": 3, "sku": "SKU-0001"}
    assert (await shop.client.delete(path)).status_code == 200
    assert (await shop.client.delete(path)).status_code == 200
    assert (await shop.client.get(path)).status_code == 404
    assert (await shop.client.get("/cart/carts/nobody")).json() == {"user": "nobody", "items": [], "revision": 0}


async def test_bad_items_get_a_clear_error(shop: Shop) -> None:
    client = shop.client
    assert (await client.put("/cart/carts/u/items/SKU-0001", json={"quantity": 101})).status_code == 400
    assert (await client.put("/cart/carts/u/items/SKU-0001", json={"quantity": 0})).status_code == 400
    assert (await client.put("/cart/carts/u/items/rope", json={"quantity": 1})).status_code == 400
    assert (await client.put("/cart/carts/a.b.>/items/SKU-0001", json={"quantity": 1})).status_code == 400
    assert (await client.put("/cart/carts/u/items/SKU-0001", content=b"{" * 70_000)).status_code == 413


async def test_a_cart_has_a_limit_of_lines(shop: Shop) -> None:
    store = CartStore(shop.services["cart"].bus)
    await store.change("hoarder", lambda _items: {f"SKU-{number:04d}": 1 for number in range(1, MOST_LINES + 1)})
    answer = await shop.client.put("/cart/carts/hoarder/items/SKU-0060", json={"quantity": 1})
    assert answer.status_code == 409
    assert f"{MOST_LINES} is the limit" in answer.json()["error"]


@pytest.mark.chaos
async def test_without_the_bus_requests_fail_at_once_and_afterwards_the_cart_is_still_there(
    shop: Shop, nats_server: NatsServer, eventually
) -> None:
    await shop.put("patient", SKU_0001=5)
    cart = shop.services["cart"]
    nats_server.kill()
    await eventually(lambda: not cart.bus.is_connected, "cart noticed")
    answer = await asyncio.wait_for(shop.client.get("/cart/carts/patient"), 1)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "the message bus" in (await shop.client.get("/cart/-/ready")).json()["error"]
    with pytest.raises(BusUnavailableError):
        await CartStore(cart.bus).get("patient")
    nats_server.start()

    async def is_back() -> bool:
        return (await shop.client.get("/cart/carts/patient")).status_code == 200

    await eventually(is_back, "cart is back")
    assert (await shop.client.get("/cart/carts/patient")).json()["items"] == [{"quantity": 5, "sku": "SKU-0001"}]
    await eventually(lambda: not any(service.waits_for() for service in shop.services.values()), "all are ready")
