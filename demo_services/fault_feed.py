"""Faults over NATS: bucket `faults`, one key `{service}.{kind}`, watched by each replica of the service."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from demo_services import streams
from demo_services.bus import Bus, bus_errors
from demo_services.faults import Fault, FaultBoard, FaultKind
from demo_services.key_watch import KeyWatch

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
        self._watch = KeyWatch(bus, streams.FAULTS_BUCKET, f"{service}.>", self)

    async def set(self, fault: Fault) -> None:
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

    @property
    def is_watching(self) -> bool:
        return self._watch.is_watching

    async def run(self) -> None:
        """Keep the board as the bucket is, until cancelled. While the bus is away the board keeps what it has."""
        await self._watch.run()

    def replace(self, entries: dict[str, bytes]) -> None:
        faults = [fault for key, value in entries.items() if (fault := _read(key, value))]
        self._board.replace(faults)
        self._taken.clear()
        for fault in faults:
            self._take(fault)

    def put(self, key: str, value: bytes) -> None:
        fault = _read(key, value)
        if fault is not None:
            self._take(fault)

    def remove(self, key: str) -> None:
        self._remove(FaultKind(key.rpartition(".")[2]))

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


def _read(key: str, value: bytes) -> Fault | None:
    try:
        return Fault.from_json(value)
    except ValueError as error:
        _logger.warning("ignored the fault at %s: %s", key, error)
        return None
