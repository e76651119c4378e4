"""Faults over NATS: bucket `faults`, one key `{service}.{kind}`, watched by each replica of the service."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

import nats.errors
from nats.js.kv import KV_DEL, KV_PURGE, KeyValue

from demo_services import streams
from demo_services.bus import Bus, bus_errors
from demo_services.faults import Fault, FaultBoard, FaultKind

# How often a watcher looks whether the connection that it watches on was replaced; a fault must arrive within 1 s.
CONNECTION_CHECK_S = 0.5
CRASH_DELAY_S = 0.1  # so that the answer to the request that set the fault can leave
CRASH_EXIT_CODE = 1

_logger = logging.getLogger(__name__)


def _crash() -> None:
    os._exit(CRASH_EXIT_CODE)


class FaultFeed:
    def __init__(self, bus: Bus, board: FaultBoard, *, service: str, crash: Callable[[], None] = _crash) -> None:
        self._bus = bus
        self._board = board
        self._service = service
        self._crash = crash
        self._taken: dict[FaultKind, Fault] = {}
        self.is_watching = False

    async def put(self, fault: Fault) -> None:
        """
        Raises:
            BusUnavailableError: the fault could not be stored; no replica has it.
        """
        bucket = await self._bus.bucket(streams.FAULTS_BUCKET)
        with bus_errors():
            await bucket.put(f"{self._service}.{fault.kind}", fault.to_json())
        self._take(fault)

    async def delete(self, kinds: list[FaultKind]) -> None:
        """
        Raises:
            BusUnavailableError: some may still be in force.
        """
        bucket = await self._bus.bucket(streams.FAULTS_BUCKET)
        for kind in kinds:
            with bus_errors():
                await bucket.delete(f"{self._service}.{kind}")
            self._remove(kind)

    async def run(self) -> None:
        """Keep the board as the bucket is, until cancelled. While the bus is away the board keeps what it has."""
        while True:
            await self._bus.connected()
            connection = self._bus.connections
            bucket = await self._bus.bucket(streams.FAULTS_BUCKET)
            watcher = await bucket.watch(f"{self._service}.>")
            try:
                await self._follow(watcher, connection)
            finally:
                self.is_watching = False
                if self._bus.is_connected:
                    await watcher.stop()  # type: ignore[no-untyped-call]

    async def _follow(self, watcher: KeyValue.KeyWatcher, connection: int) -> None:
        current: list[Fault] = []  # until the state at the start is complete
        while self._bus.connections == connection:
            try:
                entry = await watcher.updates(timeout=CONNECTION_CHECK_S)  # type: ignore[no-untyped-call]
            except nats.errors.TimeoutError:
                continue
            if entry is None:
                self._board.replace(current)
                self._taken.clear()
                self.is_watching = True
                for fault in current:
                    self._take(fault)
                continue
            kind = FaultKind(entry.key.rpartition(".")[2])
            if entry.operation in (KV_DEL, KV_PURGE):
                self._remove(kind)
                continue
            try:
                fault = Fault.from_json(entry.value or b"")
            except ValueError as error:
                _logger.warning("ignored the fault at %s: %s", entry.key, error)
                continue
            if self.is_watching:
                self._take(fault)
            else:
                current.append(fault)

    def _remove(self, kind: FaultKind) -> None:
        self._board.remove(kind)
        self._taken.pop(kind, None)

    def _take(self, fault: Fault) -> None:
        if self._taken.get(fault.kind) == fault:
            return  # set through this replica, and seen again by its watch
        self._taken[fault.kind] = fault
        self._board.put(fault)
        if self._board.in_force(fault.kind) is None:
            return
        _logger.warning("fault in force: %s", fault.to_json().decode())
        if fault.kind is FaultKind.CRASH:
            asyncio.get_running_loop().call_later(CRASH_DELAY_S, self._crash)
