from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from demo_services import checkout as checkout_module
from demo_services.faults import Fault, FaultKind, wall_clock_ms

if TYPE_CHECKING:
    from conftest import NatsServer, Shop


pytestmark = pytest.mark.asyncio(loop_scope="module")


def fault(kind: FaultKind, **fields: float | str) -> Fault:
    return Fault(kind=kind, expires_at_unix_ms=wall_clock_ms() + 60_000, **fields)  # type: ignore[arg-type]


async def test_an_order_reserves_charges_ships_and_empties_the_cart(shop: Shop, eventually) -> None:
    await shop.put("ann-0", SKU_0050=2, SKU_0051=1)
    answer = await shop.order("ann-0", "key-1")
    assert answer.status_code == 201
    order = answer.json()
    assert order["total_cents"] == sum(line["quantity"] * line["price_cents"] for line in order["lines"])
    charges = await shop.charges("ann-0")
    assert [(row["order_id"], row["amount_cents"]) for row in charges] == [(order["id"], order["total_cents"])]
    assert (await shop.client.get("/cart/carts/ann-0")).json()["items"] == []
    assert (await shop.client.get(f"/checkout/orders/{order['id']}")).json() == order

    async def shipped() -> bool:
        return await shop.on_hand("SKU-0050") == 999_998

    await eventually(shipped, "inventory took the goods off the shelf")

    async def recommended() -> bool:
        answer = (await shop.client.get("/recommendation/recommendations/SKU-0050")).json()
        return bool(answer["basis"] == "bought_together" and answer["recommended"][0]["sku"] == "SKU-0051")

    await eventually(recommended, "recommendation learned the pair")


async def test_one_key_gives_one_order_and_one_charge_however_often_at_once(shop: Shop) -> None:
    await shop.put("bob-1", SKU_0003=1)
    answers = await asyncio.gather(*(shop.order("bob-1", "the-key") for _ in range(8)))
    bodies = [answer.json() for answer in answers if answer.status_code == 201]
    # A twin that reads the cart after the winner has emptied it and before it has seen the order may not slip through.
    assert len(bodies) == 8
    assert all(body == bodies[0] for body in bodies)
    assert len(await shop.charges("bob-1")) == 1


async def test_a_repeated_order_gets_the_same_answer_though_the_cart_has_changed(shop: Shop) -> None:
    await shop.put("eve-2", SKU_0004=1)
    first = await shop.order("eve-2", "again")
    await shop.put("eve-2", SKU_0005=7)
    second = await shop.order("eve-2", "again")
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert len(await shop.charges("eve-2")) == 1
    cart = (await shop.client.get("/cart/carts/eve-2")).json()
    assert cart["items"] == [{"sku": "SKU-0005", "quantity": 7}]  # what was not bought stays


async def test_a_key_of_another_order_is_refused(shop: Shop) -> None:
    await shop.put("ann-3", SKU_0001=1)
    await shop.order("ann-3", "shared")
    answer = await shop.order("bob", "shared")
    assert answer.status_code == 422
    assert "used for another order" in answer.json()["error"]


async def test_bad_orders_get_a_clear_error(shop: Shop) -> None:
    for headers, body, status in (
        ({}, {"user": "ann"}, 400),
        ({"Idempotency-Key": "k" * 129}, {"user": "ann"}, 400),
        ({"Idempotency-Key": "k"}, {"user": "../etc"}, 400),
        ({"Idempotency-Key": "k"}, {"user": "ann", "total_cents": 1}, 400),
        ({"Idempotency-Key": "k"}, {"user": "has-no-cart"}, 409),
    ):
        answer = await shop.client.post("/checkout/orders", json=body, headers=headers)
        assert answer.status_code == status
        assert answer.json()["status"] == "error"


async def test_a_declined_order_releases_its_goods_and_is_declined_again(shop: Shop) -> None:
    await shop.put(
        "rich-5", **dict.fromkeys(("SKU_0022", "SKU_0023", "SKU_0024", "SKU_0025", "SKU_0048", "SKU_0049"), 100)
    )
    first, second = await shop.order("rich-5", "too-much"), await shop.order("rich-5", "too-much")
    assert (first.status_code, second.status_code) == (402, 402)
    assert first.json() == second.json()
    assert (await shop.client.get("/inventory/stock/SKU-0022")).json()["reserved"] == 0


async def test_a_failing_payment_leaves_an_order_that_the_same_key_completes(shop: Shop) -> None:
    await shop.put("ann-6", SKU_0001=1)
    shop.services["payment"].faults.put(fault(FaultKind.ERRORS, error_ratio=1.0))
    failed = await shop.order("ann-6", "retry-me")
    assert failed.status_code == 502
    shop.services["payment"].faults.remove(FaultKind.ERRORS)
    assert (await shop.order("ann-6", "retry-me")).status_code == 201
    assert len(await shop.charges("ann-6")) == 1


async def test_an_order_placed_while_the_bus_is_killed_is_published_when_it_is_back(
    shop: Shop, nats_server: NatsServer, eventually
) -> None:
    await shop.put("ann-7", SKU_0007=3)
    checkout = shop.services["checkout"]
    checkout.faults.put(fault(FaultKind.SLOW_DEPENDENCY, dependency="payment", latency_ms=400.0))
    placing = asyncio.create_task(shop.order("ann-7", "no-bus"))

    async def reserved() -> bool:
        return bool((await shop.client.get("/inventory/stock/SKU-0007")).json()["reserved"])

    await eventually(reserved, "the goods are reserved")
    nats_server.kill()
    answer = await placing
    assert answer.status_code == 201
    assert (await shop.client.get("/cart/carts/ann-7")).status_code == 503
    nats_server.start()

    async def shipped() -> bool:
        return await shop.on_hand("SKU-0007") == 999_997

    await eventually(shipped, "the order reached inventory")
    again = await shop.order("ann-7", "no-bus")
    assert again.json() == answer.json()
    assert len(await shop.charges("ann-7")) == 1


@pytest.mark.chaos
async def test_checkout_killed_between_charge_and_answer_charges_once(
    shop: Shop, nats_server: NatsServer, shop_dir: Path, free_port, eventually
) -> None:
    """A checkout in a process of its own, on the same database, killed with -9 while it holds a charged order."""
    port = free_port()
    environment = os.environ | {
        "PORT": str(port),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "NATS_URL": nats_server.url,
        "NATS_TOKEN_FILE": str(nats_server.token_file),
        "SHOP_MESH_URL": shop.url,
        "SHOP_DATA_DIR": str(shop_dir),
        "SHOP_FAULTS_TOKEN_FILE": str(shop_dir / "faults.token"),
        "SHOP_SERVICE_TIME_MS": "1",
    }
    await shop.put("killed", SKU_0009=1)
    process = subprocess.Popen([sys.executable, "-m", "demo_services.checkout"], env=environment)  # noqa: ASYNC220
    bearer = {"Authorization": "Bearer " + (shop_dir / "faults.token").read_text()}
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/-/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, "the second checkout is ready")
            slow = {"kind": "slow_dependency", "dependency": "database", "latency_ms": 300, "ttl_s": 60}
            assert (await client.put("/admin/faults", json=slow, headers=bearer)).status_code == 200
            placing = asyncio.create_task(
                client.post("/orders", json={"user": "killed"}, headers={"Idempotency-Key": "killed"})
            )

            async def charged() -> bool:
                return bool(await shop.charges("killed"))

            await eventually(charged, "payment charged")
            os.kill(process.pid, signal.SIGKILL)  # within the 300 ms before the order is written
            with pytest.raises(httpx.TransportError):
                await placing
    finally:
        process.kill()
        process.wait()
        assert (await shop.client.delete("/checkout/admin/faults", headers=bearer)).status_code == 200
    answer = await shop.order("killed", "killed")
    assert answer.status_code == 201
    assert len(await shop.charges("killed")) == 1


async def test_order_ids_follow_from_the_key() -> None:
    assert checkout_module.order_id_for("a") == checkout_module.order_id_for("a") != checkout_module.order_id_for("b")
