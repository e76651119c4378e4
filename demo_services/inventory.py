"""
Inventory: what is in stock, what is reserved, and what has left.

A reservation takes goods off what others can reserve. The event `order.placed` then takes them off the shelf, once for
each order: the order's id is stored in the transaction that changes the stock.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated

from fastapi import Path
from opentelemetry.instrumentation.utils import suppress_instrumentation
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Column, Float, Integer, MetaData, String, Table, Text, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from demo_services import streams
from demo_services.consumer import Consumer
from demo_services.database import Database
from demo_services.errors import ConflictError, NotFoundError, RejectedError, ReusedKeyError
from demo_services.orders import OrderLine, OrderPlaced
from demo_services.products import SKU_PATTERN, all_products
from demo_services.service import Service
from demo_services.settings import Settings
from demo_services.storage import attach_database

FULL_SHELF = 1_000_000
RESTOCK_BELOW = 100_000
RESERVATION_TTL_S = 900.0  # a checkout takes seconds; one that was abandoned gives its goods back
SWEEP_S = 30.0

metadata = MetaData()
stock = Table(
    "stock",
    metadata,
    Column("sku", String(16), primary_key=True),
    Column("price_cents", Integer, nullable=False),
    Column("on_hand", Integer, nullable=False),
    Column("reserved", Integer, nullable=False),
)
reservations = Table(
    "reservations",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("contents", Text, nullable=False),  # JSON: SKU to quantity, keys sorted
    Column("expires_at_unix_s", Float, nullable=False),
)
shipped_orders = Table(
    "shipped_orders",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("shipped_at_unix_s", Float, nullable=False),
)
_SEED = [
    {"sku": product.sku, "price_cents": product.price_cents, "on_hand": FULL_SHELF, "reserved": 0}
    for product in all_products()
]


class ReservedItem(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sku: str = Field(pattern=SKU_PATTERN)
    quantity: int = Field(ge=1, le=100)


class ReservationRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    order_id: str = Field(min_length=1, max_length=64)
    items: list[ReservedItem] = Field(min_length=1, max_length=50)


class Reservation(BaseModel):
    order_id: str
    lines: list[OrderLine]
    total_cents: int


class StockView(BaseModel):
    sku: str
    on_hand: int
    reserved: int


class Shelves:
    """Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, order_id: str, items: dict[str, int], now: float) -> Reservation:
        """
        Reserve all or nothing; again for the same order changes nothing.

        Raises:
            ConflictError: an item is unknown or not there in that quantity.
            ReusedKeyError: the order has a reservation of other items.
        """
        wanted = json.dumps(items, sort_keys=True)
        async with self._database.write() as connection:
            added = await connection.execute(
                self._database.insert_ignoring(reservations).values(
                    order_id=order_id, contents=wanted, expires_at_unix_s=now + RESERVATION_TTL_S
                )
            )
            if not added.rowcount:
                existing = select(reservations.c.contents).where(reservations.c.order_id == order_id)
                if (await connection.execute(existing)).scalar_one() != wanted:
                    raise ReusedKeyError(f"order {order_id!r} has a reservation of other items")
            rows = await connection.execute(select(stock).where(stock.c.sku.in_(items)).with_for_update())
            shelves = {row.sku: row for row in rows}
            for sku, quantity in items.items():
                if sku not in shelves:
                    raise ConflictError(f"no product {sku!r}")
                free = shelves[sku].on_hand - shelves[sku].reserved
                if added.rowcount and free < quantity:
                    raise ConflictError(f"only {free} of {sku} are left, {quantity} were asked for")
            if added.rowcount:
                await _add_to_reserved(connection, items)
        lines = [
            OrderLine(sku=sku, quantity=quantity, price_cents=shelves[sku].price_cents)
            for sku, quantity in sorted(items.items())
        ]
        return Reservation(
            order_id=order_id, lines=lines, total_cents=sum(line.quantity * line.price_cents for line in lines)
        )

    async def release(self, order_id: str) -> bool:
        """Give a reservation back. False if there is none."""
        async with self._database.write() as connection:
            return await _drop_reservation(connection, order_id)

    async def ship(self, order: OrderPlaced, now: float) -> bool:
        """Take an order's goods off the shelf. False if that was done before."""
        async with self._database.write() as connection:
            added = await connection.execute(
                self._database.insert_ignoring(shipped_orders).values(order_id=order.order_id, shipped_at_unix_s=now)
            )
            if not added.rowcount:
                return False
            await _drop_reservation(connection, order.order_id)
            taken = await connection.execute(
                update(stock)
                .where(stock.c.sku == bindparam("at"))
                .values(on_hand=stock.c.on_hand - bindparam("quantity")),
                [{"at": line.sku, "quantity": line.quantity} for line in order.lines],
            )
            if taken.rowcount not in (-1, len(order.lines)):
                raise RejectedError(f"order {order.order_id!r} names a product that does not exist")
        return True

    async def sweep(self, now: float) -> None:
        """Give expired reservations back and fill shelves that run low."""
        async with self._database.write() as connection:
            expired = select(reservations.c.order_id).where(reservations.c.expires_at_unix_s < now).limit(100)
            for order_id in (await connection.execute(expired)).scalars().all():
                await _drop_reservation(connection, order_id)
            low = stock.c.on_hand - stock.c.reserved < RESTOCK_BELOW
            await connection.execute(update(stock).where(low).values(on_hand=stock.c.on_hand + FULL_SHELF))

    async def get(self, sku: str) -> StockView:
        async with self._database.read() as connection:
            row = (await connection.execute(select(stock).where(stock.c.sku == sku))).mappings().first()
        if row is None:
            raise NotFoundError(f"no product {sku!r}")
        return StockView(sku=row["sku"], on_hand=row["on_hand"], reserved=row["reserved"])


async def _drop_reservation(connection: AsyncConnection, order_id: str) -> bool:
    found = select(reservations.c.contents).where(reservations.c.order_id == order_id)
    items = (await connection.execute(found)).scalar_one_or_none()
    if items is None:
        return False
    await connection.execute(delete(reservations).where(reservations.c.order_id == order_id))
    await _add_to_reserved(connection, {sku: -quantity for sku, quantity in json.loads(items).items()})
    return True


async def _add_to_reserved(connection: AsyncConnection, items: dict[str, int]) -> None:
    await connection.execute(
        update(stock).where(stock.c.sku == bindparam("at")).values(reserved=stock.c.reserved + bindparam("quantity")),
        [{"at": sku, "quantity": quantity} for sku, quantity in sorted(items.items())],
    )


def build(settings: Settings) -> Service:
    service = Service(settings, title="Inventory", description="What is in stock, reserved and shipped.")
    database = attach_database(service, metadata, [(stock, _SEED)])
    shelves = Shelves(database)
    counted = Counter("shop_reservations", "Reservations, by outcome", ["outcome"], registry=service.registry)

    async def on_order(payload: bytes) -> str:
        try:
            order = OrderPlaced.model_validate_json(payload)
        except ValidationError as error:
            raise RejectedError(f"not an order: {error.errors()[0]['msg']}") from error
        return "processed" if await shelves.ship(order, time.time()) else "duplicate"

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            with suppress_instrumentation():
                await shelves.sweep(time.time())

    consumer = Consumer(service.bus, streams.INVENTORY_ORDERS, on_order, registry=service.registry)
    service.background("orders", consumer.run)
    service.background("sweep", sweep)
    service.ready_when("the consumer of orders", lambda: consumer.is_bound)

    @service.app.get("/stock/{sku}", tags=["stock"])
    async def get_stock(sku: Annotated[str, Path(pattern=SKU_PATTERN)]) -> StockView:
        return await shelves.get(sku)

    @service.app.post("/reservations", status_code=201, tags=["reservations"])
    async def reserve(body: ReservationRequest) -> Reservation:
        """All items or none, once for each order id. 409 if something is not there in that quantity."""
        items = {item.sku: item.quantity for item in body.items}
        if len(items) != len(body.items):
            raise RejectedError("a product is named twice")
        try:
            reservation = await shelves.reserve(body.order_id, items, time.time())
        except ConflictError:
            counted.labels("out_of_stock").inc()
            raise
        counted.labels("reserved").inc()
        return reservation

    @service.app.delete("/reservations/{order_id}", status_code=204, tags=["reservations"])
    async def release(order_id: Annotated[str, Path(min_length=1, max_length=64)]) -> None:
        """Giving back what is not reserved is no error."""
        if await shelves.release(order_id):
            counted.labels("released").inc()

    return service


if __name__ == "__main__":
    from demo_services.replica import run

    run("inventory", build)
