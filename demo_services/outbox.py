"""
The outbox: how an event is published if and only if its transaction was committed.

The event is a row, written in the transaction that it tells of. After the commit the relay publishes it and, once the
bus has acknowledged it, deletes the row. A crash in between publishes it a second time with the same message id, which
JetStream drops within its deduplication window, and consumers tolerate after it.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import NamedTuple

from opentelemetry import propagate
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import Column, Float, MetaData, String, Table, Text, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from demo_services.bus import Bus
from demo_services.database import Database
from demo_services.errors import BusUnavailableError

SWEEP_S = 1.0  # how often rows are looked for that nobody published
# The replica that wrote a row publishes it at once; only what is older was left behind by one that died.
LEFT_BEHIND_S = 2.0
BATCH = 100


class OutboxEvent(NamedTuple):
    id: str
    subject: str
    payload: str
    headers: str  # JSON: the trace context of the request that wrote it


class Outbox:
    def __init__(self, metadata: MetaData, bus: Bus) -> None:
        self.table = Table(
            "outbox",
            metadata,
            Column("id", String(100), primary_key=True),
            Column("subject", String(100), nullable=False),
            Column("payload", Text, nullable=False),
            Column("headers", Text, nullable=False),
            Column("created_at_unix_s", Float, nullable=False, index=True),
        )
        self._bus = bus
        self._fresh: asyncio.Queue[OutboxEvent] = asyncio.Queue()

    async def add(self, connection: AsyncConnection, *, event_id: str, subject: str, payload: str) -> OutboxEvent:
        """Write the event within the caller's transaction. Give what is returned to `publish_soon` after the commit."""
        headers: dict[str, str] = {}
        propagate.inject(headers)
        event = OutboxEvent(event_id, subject, payload, json.dumps(headers))
        await connection.execute(insert(self.table).values(**event._asdict(), created_at_unix_s=time.time()))
        return event

    def publish_soon(self, event: OutboxEvent) -> None:
        self._fresh.put_nowait(event)

    async def relay(self, database: Database) -> None:
        """Publish events until cancelled. While the bus is away they stay where they are."""
        await database.prepared.wait()
        while True:
            try:
                async with asyncio.timeout(SWEEP_S):
                    events = [await self._fresh.get()]
                while not self._fresh.empty() and len(events) < BATCH:
                    events.append(self._fresh.get_nowait())
            except TimeoutError:
                events = await self._left_behind(database) if self._bus.is_connected else []
            await self._publish(database, events)

    async def _left_behind(self, database: Database) -> list[OutboxEvent]:
        table = self.table
        old = (
            select(table.c.id, table.c.subject, table.c.payload, table.c.headers)
            .where(table.c.created_at_unix_s < time.time() - LEFT_BEHIND_S)
            .order_by(table.c.created_at_unix_s)
            .limit(BATCH)
        )
        with suppress_instrumentation():  # or every second would be a trace
            async with database.read() as connection:
                return [OutboxEvent(*row) for row in await connection.execute(old)]

    async def _publish(self, database: Database, events: list[OutboxEvent]) -> None:
        published = []
        for event in events:
            try:
                await self._bus.publish(
                    event.subject, event.payload.encode(), message_id=event.id, headers=json.loads(event.headers)
                )
            except BusUnavailableError:
                break  # the rows are still there for the next sweep
            published.append(event.id)
        if not published:
            return
        with suppress_instrumentation():  # these rows belong to several traces, or to none
            async with database.write() as connection:
                await connection.execute(delete(self.table).where(self.table.c.id.in_(published)))
