"""
Recommendation: what was bought together, learned from orders and clicks.

Each pair of products has a weight that halves every HALF_LIFE_S, so that yesterday's habits fade. The weights are in
SQL, with the ids of the events that made them, so a restart forgets nothing and a message that comes twice counts once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from itertools import permutations
from typing import Annotated, Literal

from fastapi import Path, Query
from opentelemetry.instrumentation.utils import suppress_instrumentation
from prometheus_client import Gauge
from pydantic import BaseModel, ValidationError
from sqlalchemy import Column, Float, MetaData, String, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from demo_services import streams
from demo_services.clicks import ClickEvent, add_click_route
from demo_services.consumer import Consumer, message_counter
from demo_services.database import Database
from demo_services.errors import RejectedError, ShopError
from demo_services.orders import OrderPlaced
from demo_services.products import SKU_PATTERN, all_products
from demo_services.service import Service
from demo_services.settings import Settings
from demo_services.storage import attach_database

HALF_LIFE_S = 24 * 3600.0
ORDER_WEIGHT = 1.0
CLICK_WEIGHT = 0.1  # ten looks count as one purchase
MOST_PAIRED_LINES = 10  # of one order: pairs grow with the square, and a cart of fifty says little about each pair
SEEN_S = 2 * 24 * 3600.0  # twice as long as the stream keeps clicks, so nothing can come again later
SWEEP_S = 600.0
# The flag for a ranking that has a defect on purpose: it was trained on the older half of the products.
NEW_RANKING = "new-ranking"
TRAINED = frozenset(product.sku for product in all_products()[: len(all_products()) // 2])

metadata = MetaData()
pairs = Table(
    "pairs",
    metadata,
    Column("sku", String(16), primary_key=True),
    Column("other", String(16), primary_key=True),
    Column("weight", Float, nullable=False),  # as it was at weighed_at
    Column("weighed_at_unix_s", Float, nullable=False),
)
seen_events = Table(
    "seen_events",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("seen_at_unix_s", Float, nullable=False, index=True),
)


class Recommended(BaseModel):
    sku: str
    weight: float


class Recommendations(BaseModel):
    sku: str
    basis: Literal["bought_together", "popular", "nothing"]
    recommended: list[Recommended]


def decayed(weight: float, age_s: float) -> float:
    return float(weight * 0.5 ** (max(age_s, 0.0) / HALF_LIFE_S))


class Affinities:
    """Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def learn(self, event_id: str, together: Iterable[tuple[str, str]], weight: float, now: float) -> bool:
        """Add `weight` to each pair. False if the event was learned before."""
        async with self._database.write() as connection:
            added = await connection.execute(
                self._database.insert_ignoring(seen_events).values(id=event_id, seen_at_unix_s=now)
            )
            if not added.rowcount:
                return False
            wanted = sorted(set(together))
            if wanted:
                await self._add(connection, wanted, weight, now)
        return True

    async def _add(self, connection: AsyncConnection, wanted: list[tuple[str, str]], weight: float, now: float) -> None:
        skus, others = {sku for sku, _ in wanted}, {other for _, other in wanted}
        known = select(pairs).where(pairs.c.sku.in_(skus), pairs.c.other.in_(others)).with_for_update()
        before = {
            (row.sku, row.other): decayed(row.weight, now - row.weighed_at_unix_s)
            for row in await connection.execute(known)
        }
        rows = [
            {
                "sku": sku,
                "other": other,
                "weight": before.get((sku, other), 0.0) + weight,
                "weighed_at_unix_s": now,
            }
            for sku, other in wanted
        ]
        await connection.execute(self._database.insert_replacing(pairs), rows)

    async def recommend(self, sku: str, limit: int, now: float) -> Recommendations:
        """Best first: what was bought with `sku`; else what is bought with anything; else nothing."""
        weights = await self._weights(select(pairs).where(pairs.c.sku == sku), now)
        if weights:
            return Recommendations(sku=sku, basis="bought_together", recommended=_best(weights, limit))
        weights = await self._weights(select(pairs).where(pairs.c.other != sku), now)
        basis: Literal["popular", "nothing"] = "popular" if weights else "nothing"
        return Recommendations(sku=sku, basis=basis, recommended=_best(weights, limit))

    async def _weights(self, query, now: float) -> dict[str, float]:  # type: ignore[no-untyped-def]
        weights: dict[str, float] = {}
        async with self._database.read() as connection:
            for row in await connection.execute(query):
                weight = decayed(row.weight, now - row.weighed_at_unix_s)
                weights[row.other] = weights.get(row.other, 0.0) + weight
        return weights

    async def sweep(self, now: float) -> None:
        """Forget the ids of events that cannot come again."""
        async with self._database.write() as connection:
            await connection.execute(delete(seen_events).where(seen_events.c.seen_at_unix_s < now - SEEN_S))


def _best(weights: dict[str, float], limit: int) -> list[Recommended]:
    ranked = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]
    return [Recommended(sku=sku, weight=round(weight, 6)) for sku, weight in ranked]


def require_trained(sku: str) -> None:
    """The defect of the new ranking: a product that it has not seen makes it fail."""
    if sku not in TRAINED:
        raise ShopError(f"the new ranking knows no weights of {sku!r}")


def build(settings: Settings) -> Service:
    service = Service(settings, title="Recommendation", description="What was bought together.")
    database = attach_database(service, metadata, [])
    affinities = Affinities(database)
    add_click_route(service)
    messages = message_counter(service.registry)

    async def on_order(payload: bytes) -> str:
        try:
            order = OrderPlaced.model_validate_json(payload)
        except ValidationError as error:
            raise RejectedError(f"not an order: {error.errors()[0]['msg']}") from error
        skus = sorted(line.sku for line in order.lines)[:MOST_PAIRED_LINES]
        learned = await affinities.learn(f"order-{order.order_id}", permutations(skus, 2), ORDER_WEIGHT, time.time())
        return "processed" if learned else "duplicate"

    async def on_click(payload: bytes) -> str:
        try:
            click = ClickEvent.model_validate_json(payload)
        except ValidationError as error:
            raise RejectedError(f"not a click: {error.errors()[0]['msg']}") from error
        together = [(click.seen_with, click.sku)] if click.seen_with and click.seen_with != click.sku else []
        learned = await affinities.learn(f"click-{click.id}", together, CLICK_WEIGHT, time.time())
        return "processed" if learned else "duplicate"

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            with suppress_instrumentation():
                await affinities.sweep(time.time())

    orders = Consumer(
        service.bus,
        streams.RECOMMENDATION_ORDERS,
        on_order,
        counter=messages,
        message_time_s=settings.message_time_s,
    )
    pending = Gauge("shop_queue_pending", "Messages that wait for a replica", ["queue"], registry=service.registry)
    pending.labels(streams.RECOMMENDATION_ORDERS.name).set_function(lambda: orders.pending)
    Gauge("shop_message_time_seconds", "The stated time that handling a message takes", registry=service.registry).set(
        settings.message_time_s
    )
    clicks = Consumer(service.bus, streams.RECOMMENDATION_CLICKS, on_click, counter=messages)
    service.background("orders", orders.run)
    service.background("clicks", clicks.run)
    service.background("sweep", sweep)
    service.ready_when("the consumers of orders and clicks", lambda: orders.is_bound and clicks.is_bound)

    @service.app.get("/recommendations/{sku}", tags=["recommendations"])
    async def recommend(
        sku: Annotated[str, Path(pattern=SKU_PATTERN)], limit: Annotated[int, Query(ge=1, le=20)] = 5
    ) -> Recommendations:
        """Best first. `basis` says what they rest on."""
        if service.flags.is_on(NEW_RANKING):
            require_trained(sku)
        return await affinities.recommend(sku, limit, time.time())

    return service


if __name__ == "__main__":
    from demo_services.replica import run

    run("recommendation", build)
