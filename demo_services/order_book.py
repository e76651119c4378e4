"""
Orders in SQL. An order is begun once for each idempotency key, with what it is about, and finished once.

    begun ──► placed     charged, and `order.placed` is in the outbox
      └─────► rejected   out of stock or declined; the reason is kept and answered again

What a begun order is about never changes: whoever finishes it, after a crash or beside a twin, reserves and charges for
the same lines under the same ids, so it does not matter how many try.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Float, Integer, MetaData, String, Table, Text, select, update

from demo_services import streams
from demo_services.database import Database
from demo_services.errors import NotFoundError, ReusedKeyError
from demo_services.orders import OrderLine, OrderPlaced
from demo_services.outbox import Outbox

# Any UUID, the same for ever: an order's id follows from its key, so that twins agree on it.
_ORDER_IDS = uuid.UUID("b7f8e2a4-6d0c-4f6e-9a53-2c1d8e7f4b90")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    id: str
    user: str
    state: str  # begun, placed, rejected
    items: dict[str, int]  # SKU to quantity, as the cart was
    cart_revision: int
    lines: list[OrderLine]  # with prices; empty until placed
    total_cents: int
    status: int  # the HTTP status that it is answered with, once it is finished
    reason: str  # why it was rejected


def order_id_for(key: str) -> str:
    return str(uuid.uuid5(_ORDER_IDS, key))


class OrderBook:
    """Each method is one transaction."""

    def __init__(self, metadata: MetaData) -> None:
        self.table = Table(
            "orders",
            metadata,
            Column("id", String(64), primary_key=True),
            Column("user", String(64), nullable=False),
            Column("state", String(16), nullable=False),
            Column("items", Text, nullable=False),
            Column("cart_revision", Integer, nullable=False),
            Column("lines", Text, nullable=False),
            Column("total_cents", Integer, nullable=False),
            Column("status", Integer, nullable=False),
            Column("reason", Text, nullable=False),
            Column("begun_at_unix_s", Float, nullable=False),
        )

    async def find(self, database: Database, order_id: str) -> Order | None:
        async with database.read() as connection:
            found = await connection.execute(select(self.table).where(self.table.c.id == order_id))
            row = found.mappings().first()
        return _order(row) if row else None

    async def get(self, database: Database, order_id: str) -> Order:
        """
        Raises:
            NotFoundError: no such order.
        """
        order = await self.find(database, order_id)
        if order is None:
            raise NotFoundError(f"no order {order_id!r}")
        return order

    async def begin(
        self, database: Database, order_id: str, *, user: str, items: dict[str, int], cart_revision: int
    ) -> Order:
        """The order as it is now: begun by this call, or by another before it, with what that one found in the cart."""
        async with database.write() as connection:
            await connection.execute(
                database.insert_ignoring(self.table).values(
                    id=order_id,
                    user=user,
                    state="begun",
                    items=json.dumps(items, sort_keys=True),
                    cart_revision=cart_revision,
                    lines="[]",
                    total_cents=0,
                    status=0,
                    reason="",
                    begun_at_unix_s=time.time(),
                )
            )
            found = await connection.execute(select(self.table).where(self.table.c.id == order_id))
            return _order(found.mappings().one())

    async def place(
        self, database: Database, outbox: Outbox, order: Order, lines: list[OrderLine], total_cents: int
    ) -> Order:
        """Finish a begun order and write its event, in one transaction. What was finished before stays as it is."""
        event = OrderPlaced(
            order_id=order.id,
            user=order.user,
            lines=lines,
            total_cents=total_cents,
            placed_at_unix_ms=time.time_ns() // 1_000_000,
        )
        fresh = None
        async with database.write() as connection:
            finished = await connection.execute(
                update(self.table)
                .where(self.table.c.id == order.id, self.table.c.state == "begun")
                .values(
                    state="placed",
                    lines=json.dumps([line.model_dump() for line in lines]),
                    total_cents=total_cents,
                    status=201,
                )
            )
            if finished.rowcount:
                fresh = await outbox.add(
                    connection, event_id=order.id, subject=streams.ORDER_PLACED, payload=event.model_dump_json()
                )
            found = await connection.execute(select(self.table).where(self.table.c.id == order.id))
            placed = _order(found.mappings().one())
        if fresh:
            outbox.publish_soon(fresh)
        return placed

    async def reject(self, database: Database, order: Order, status: int, reason: str) -> Order:
        """Finish a begun order without effect. What was finished before stays as it is."""
        async with database.write() as connection:
            await connection.execute(
                update(self.table)
                .where(self.table.c.id == order.id, self.table.c.state == "begun")
                .values(state="rejected", status=status, reason=reason)
            )
            found = await connection.execute(select(self.table).where(self.table.c.id == order.id))
            return _order(found.mappings().one())


def same_user_or_refuse(order: Order, user: str) -> None:
    """
    Raises:
        ReusedKeyError: the key belongs to another user's order.
    """
    if order.user != user:
        raise ReusedKeyError("this idempotency key was used for another order")


def _order(row: Mapping[Any, Any]) -> Order:
    return Order(
        id=row["id"],
        user=row["user"],
        state=row["state"],
        items=json.loads(row["items"]),
        cart_revision=row["cart_revision"],
        lines=[OrderLine(**line) for line in json.loads(row["lines"])],
        total_cents=row["total_cents"],
        status=row["status"],
        reason=row["reason"],
    )
