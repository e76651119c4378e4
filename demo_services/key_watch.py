"""Following some keys of a bucket on the bus: all of them at first, then each change, and anew after a reconnection."""

from __future__ import annotations

from typing import Protocol

import nats.errors
from nats.js.kv import KV_DEL, KV_PURGE, KeyValue

from demo_services.bus import Bus

# How often a watcher looks whether the connection that it watches on was replaced; a change must arrive within 1 s.
CONNECTION_CHECK_S = 0.5


class Follower(Protocol):
    def replace(self, entries: dict[str, bytes]) -> None:
        """All that there is now."""
        ...

    def put(self, key: str, value: bytes) -> None: ...

    def remove(self, key: str) -> None: ...


class KeyWatch:
    def __init__(self, bus: Bus, bucket: str, pattern: str, follower: Follower) -> None:
        self._bus = bus
        self._bucket = bucket
        self._pattern = pattern
        self._follower = follower
        self.is_watching = False

    async def run(self) -> None:
        """Until cancelled. While the bus is away nothing is told, so the follower keeps what it has."""
        while True:
            await self._bus.connected()
            connection = self._bus.connections
            bucket = await self._bus.bucket(self._bucket)
            watcher = await bucket.watch(self._pattern)
            try:
                await self._follow(watcher, connection)
            finally:
                self.is_watching = False
                if self._bus.is_connected:
                    await watcher.stop()  # type: ignore[no-untyped-call]

    async def _follow(self, watcher: KeyValue.KeyWatcher, connection: int) -> None:
        current: dict[str, bytes] = {}  # until the state at the start is complete
        while self._bus.connections == connection:
            try:
                entry = await watcher.updates(timeout=CONNECTION_CHECK_S)  # type: ignore[no-untyped-call]
            except nats.errors.TimeoutError:
                continue
            if entry is None:
                self._follower.replace(current)
                self.is_watching = True
            elif entry.operation in (KV_DEL, KV_PURGE):
                self._follower.remove(entry.key)
            elif self.is_watching:
                self._follower.put(entry.key, entry.value or b"")
            else:
                current[entry.key] = entry.value or b""
