"""Spans and log records that are too old, or too many for the disk, removed in steps that ingest can pass between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from collector.storage.traces.database import Removed, TelemetryDatabase

# Of spans, and of log records, in one transaction: about as long as the commit of a full group takes.
STEP_ROWS = 65_536
# A reader keeps the space of what was removed from being freed. While the file is as large as it was then, to within
# this share, nothing more is removed for its size.
_SAME_SIZE = 0.05
_Result = TypeVar("_Result")


class Alone(Protocol):
    """Runs work on the writer's thread, between commits."""

    def __call__(self, work: Callable[[], _Result]) -> Awaitable[_Result]: ...


class Retention:
    def __init__(self, database: TelemetryDatabase, alone: Alone, *, most_bytes: int = 0) -> None:
        """
        Args:
            most_bytes: of the file; 0 is no bound. It is kept to within what comes between two calls, and the log.
        """
        self._database = database
        self._alone = alone
        self._most_bytes = most_bytes
        self._not_freed_at = 0  # bytes; what was removed for the size has not been freed yet

    async def remove_before(self, before_ms: int) -> Removed:
        """Remove what was received before, and the oldest of what exceeds the size."""
        size = await asyncio.to_thread(self._database.used_bytes) if self._most_bytes else 0
        too_large = size > self._most_bytes and abs(size - self._not_freed_at) > size * _SAME_SIZE
        if too_large:
            share = 1 - self._most_bytes / size
            before_ms = max(before_ms, await asyncio.to_thread(self._database.received_of_oldest, share))
        spans = logs = 0
        more = True
        while more:
            removed = await self._alone(partial(self._database.remove_before, before_ms, most_rows=STEP_ROWS))
            spans, logs, more = spans + removed.spans, logs + removed.logs, removed.more
        if spans or logs:
            await self._remove_origins()
        if too_large:
            await self._alone(self._database.checkpoint)
            left = await asyncio.to_thread(self._database.used_bytes)
            self._not_freed_at = left if left > self._most_bytes else 0
        return Removed(spans, logs)

    async def _remove_origins(self) -> None:
        """To find the unused ones takes a scan of all spans, for which ingest is not to wait."""
        await self._alone(self._database.watch_origins)
        unused = await asyncio.to_thread(self._database.unused_origins)
        await self._alone(partial(self._database.remove_origins, unused))
