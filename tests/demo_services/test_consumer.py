from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from nats.js import api

from demo_services.consumer import REASON_HEADER, Consumer, message_counter
from demo_services.errors import RejectedError
from demo_services.orders import OrderLine, OrderPlaced
from demo_services.service import end_task
from demo_services.streams import DEAD_LETTERS, Durable

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")
BACKOFF_S = (0.05,)


@contextlib.asynccontextmanager
async def consuming(shop: Shop, name: str, handler, *, max_deliver: int = 3):
    """A stream and durable of the test's own, and a consumer that handles it."""
    bus = shop.services["inventory"].bus
    durable = Durable(name, name.upper(), f"test.{name}")
    await bus.jetstream.add_stream(api.StreamConfig(name=durable.stream, subjects=[durable.subject]))
    await bus.jetstream.add_consumer(durable.stream, api.ConsumerConfig(durable_name=name, ack_wait=0.3))
    counter = message_counter(None)
    consumer = Consumer(bus, durable, handler, counter=counter, max_deliver=max_deliver, backoff_s=BACKOFF_S)
    task = asyncio.create_task(consumer.run())
    try:
        yield bus, durable, counter
    finally:
        await end_task(task)


async def dead_letter(bus, durable: Durable):
    return await bus.jetstream.get_last_msg(DEAD_LETTERS, f"dead.{durable.name}.{durable.subject}")


async def test_a_message_that_fails_is_delivered_again_until_it_succeeds(shop: Shop, eventually) -> None:
    seen = []

    async def handle(payload: bytes) -> str:
        seen.append(payload)
        if len(seen) < 3:
            raise OSError("not yet")
        return "processed"

    async with consuming(shop, "flaky", handle) as (bus, durable, counter):
        await bus.publish(durable.subject, b"one", message_id="1")
        await eventually(lambda: counter.labels(durable.subject, "processed")._value.get() == 1, "it is processed")
        assert seen == [b"one"] * 3
        assert counter.labels(durable.subject, "retried")._value.get() == 2


async def test_a_message_that_always_fails_becomes_a_dead_letter_with_its_reason(shop: Shop, eventually) -> None:
    deliveries = []

    async def handle(payload: bytes) -> str:
        deliveries.append(payload)
        raise OSError("the shelf\nis broken")

    async with consuming(shop, "broken", handle) as (bus, durable, counter):
        await bus.publish(durable.subject, b"payload", message_id="2", headers={"Kept": "yes"})
        await eventually(lambda: counter.labels(durable.subject, "dead_lettered")._value.get() == 1, "it is buried")
        letter = await dead_letter(bus, durable)
        assert letter.data == b"payload"
        assert letter.headers[REASON_HEADER] == "OSError: the shelf is broken"
        assert letter.headers["Dead-Letter-Deliveries"] == "3"
        assert letter.headers["Kept"] == "yes"
        await asyncio.sleep(0.4)  # longer than the ack wait: it must not come again
        assert len(deliveries) == 3


async def test_a_message_that_can_never_be_handled_is_buried_at_once(shop: Shop, eventually) -> None:
    async def handle(_payload: bytes) -> str:
        raise RejectedError("not an order: it is a fish")

    async with consuming(shop, "refused", handle) as (bus, durable, counter):
        await bus.publish(durable.subject, b"fish", message_id="3")
        await eventually(lambda: counter.labels(durable.subject, "dead_lettered")._value.get() == 1, "it is buried")
        letter = await dead_letter(bus, durable)
        assert (letter.headers[REASON_HEADER], letter.headers["Dead-Letter-Deliveries"]) == (
            "not an order: it is a fish",
            "1",
        )


async def test_a_message_whose_consumer_dies_each_time_is_buried_without_a_further_try(shop: Shop, eventually) -> None:
    calls = []

    async def handle(payload: bytes) -> str:
        calls.append(payload)
        return "processed"

    async with consuming(shop, "deadly", handle, max_deliver=2) as (bus, durable, counter):
        await bus.jetstream.add_consumer(durable.stream, api.ConsumerConfig(durable_name="other", ack_wait=0.05))
        await bus.publish(durable.subject, b"poison", message_id="4")
        await eventually(lambda: calls, "the live consumer has it")
        subscription = await bus.jetstream.pull_subscribe_bind("other", durable.stream)
        for _ in range(2):  # taken by processes that die before they can say anything
            await subscription.fetch(1, timeout=2)
        calls.clear()
        late = Consumer(bus, Durable("other", durable.stream, durable.subject), handle, counter=counter, max_deliver=2)
        await late.handle((await subscription.fetch(1, timeout=2))[0])
        assert calls == []
        letter = await bus.jetstream.get_last_msg(DEAD_LETTERS, f"dead.other.{durable.subject}")
        assert letter.headers[REASON_HEADER] == "delivered 2 times and never finished"
        await subscription.unsubscribe()


async def test_an_order_that_arrives_twice_leaves_the_shelf_once(shop: Shop, eventually) -> None:
    bus = shop.services["checkout"].bus
    order = OrderPlaced(
        order_id="twice",
        user="ann",
        lines=[OrderLine(sku="SKU-0033", quantity=4, price_cents=100)],
        total_cents=400,
        placed_at_unix_ms=0,
    )
    for message_id in ("first", "second"):  # other ids, so that JetStream does not drop the second
        await bus.publish("order.placed", order.model_dump_json().encode(), message_id=message_id)

    async def both_handled() -> bool:
        text = (await shop.client.get("/inventory/metrics")).text
        return 'shop_messages_total{outcome="duplicate",subject="order.placed"}' in text

    await eventually(both_handled, "inventory handled both")
    assert await shop.on_hand("SKU-0033") == 999_996


async def test_an_order_that_is_none_is_buried_by_inventory_and_by_recommendation(shop: Shop, eventually) -> None:
    bus = shop.services["checkout"].bus
    await bus.publish("order.placed", b'{"order_id": 7}', message_id="nonsense")

    async def buried() -> bool:
        info = await bus.jetstream.stream_info(DEAD_LETTERS, subjects_filter="dead.>")
        subjects = info.state.subjects or {}
        return {"dead.inventory.order.placed", "dead.recommendation.order.placed"} <= set(subjects)

    await eventually(buried, "both buried it")
