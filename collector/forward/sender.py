"""Delivers what is in one queue, in order, some requests at a time, for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from collector.forward.answer import Answer, Verdict
from collector.forward.destination import Destination
from collector.forward.pacing import Pace, retry_delay_s
from collector.forward.queue import DiskQueue, Taken
from collector.forward.refused import RefusedRequests
from collector.forward.splitting import count, halves
from collector.receivers.otlp_ingest import REQUEST_TYPES, Signal

_log = logging.getLogger(__name__)
# Serialised, of all requests of one signal that are under way; one alone may be larger.
IN_FLIGHT_BYTES = 8 << 20
# An internal error may pass, or may come back each time because of the data; then what is behind it must get on.
UNSURE_TRIES = 5
KEEP_AGAIN_S = 5.0  # a full disk may find room
REPORT_EVERY_S = 60.0  # that something goes wrong is said at once, and then at this distance


@dataclass(slots=True)
class SendStats:
    """Items are spans, log records or data points."""

    sent: int = 0  # items that the destination took
    rejected: int = 0  # items that it left out of requests that it took otherwise
    refused: int = 0  # items of requests that it will never take
    retries: Counter[str] = field(default_factory=Counter)  # tries in vain, by the answer's code


class Sender:
    def __init__(
        self,
        signal: Signal,
        queue: DiskQueue,
        destination: Destination,
        refused: RefusedRequests,
        *,
        in_flight: int,
        bytes_per_s: float,
    ) -> None:
        """
        Args:
            in_flight: Requests at once. 1: each is delivered before the next is sent.
            bytes_per_s: Serialised, not packed.
        """
        self.signal = signal
        self.queue = queue
        self.stats = SendStats()
        self._destination = destination
        self._refused = refused
        self._in_flight = in_flight
        self._pace = Pace(bytes_per_s)
        self._woken = asyncio.Event()
        self._landed = asyncio.Event()
        self._flying = self._flying_bytes = 0  # requests under way
        self._failures = 0  # in a row, those of requests sent side by side counted once
        self._resume_s = 0.0  # when to try again, on the monotonic clock
        self._one_at_a_time = asyncio.Lock()  # while the destination fails
        self._reported_s = -REPORT_EVERY_S

    @property
    def failing(self) -> bool:
        return self._failures > 0

    def wake(self) -> None:
        """There is something in the queue."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. What is not delivered then, is when it is run again."""
        self.queue.rewind()
        self._flying = self._flying_bytes = 0
        async with asyncio.TaskGroup() as group:
            while True:
                taken = await self._next()
                size = taken.request.size
                await self._room(size)
                await asyncio.sleep(self._pace.delay_s(size, now_s=time.monotonic()))
                self._flying += 1
                self._flying_bytes += size
                group.create_task(self._deliver(taken))

    async def _next(self) -> Taken:
        while True:
            self._woken.clear()
            taken = self.queue.take()
            if taken is not None:
                return taken
            await self._woken.wait()

    async def _room(self, size: int) -> None:
        def full() -> bool:
            return self._flying >= self._in_flight or self._flying_bytes + size > IN_FLIGHT_BYTES

        while self._flying and full():
            self._landed.clear()
            await self._landed.wait()

    async def _deliver(self, taken: Taken) -> None:
        parts = [taken.request.request()]
        while parts:
            request = parts.pop()
            answer = await self._settled(request)
            delivered = answer.verdict is Verdict.DELIVERED
            if not delivered and answer.too_large and (divided := halves(self.signal, request)) is not None:
                parts += reversed(divided)
                continue
            if not delivered:
                await self._set_aside(request, answer.reason)
            whole = len(request) == taken.request.size
            self._count(taken.request.items if whole else self._items(request), answer)
        self.queue.done(taken)
        self._flying -= 1
        self._flying_bytes -= taken.request.size
        self._landed.set()

    async def _settled(self, request: bytes) -> Answer:
        """The answer after which the request is not sent again: it is delivered, or will never be."""
        unsure = 0
        while True:
            answer = await self._try(request)
            unsure += answer.verdict is Verdict.UNSURE
            if answer.verdict in (Verdict.DELIVERED, Verdict.REFUSED) or unsure >= UNSURE_TRIES:
                return answer

    async def _try(self, request: bytes) -> Answer:
        """While the destination fails, one request at a time asks whether it is back; the others wait behind it."""
        if self._failures:
            async with self._one_at_a_time:
                if self._failures:
                    await asyncio.sleep(self._resume_s - time.monotonic())
                    return await self._send(request)
        return await self._send(request)

    async def _send(self, request: bytes) -> Answer:
        failures = self._failures
        answer = await self._destination.send(self.signal, request)
        if answer.verdict in (Verdict.DELIVERED, Verdict.REFUSED):
            if self._failures:
                _log.info("%s: the destination takes them again", self.signal.value)
            self._failures = 0
            return answer
        self.stats.retries[answer.code] += 1
        if failures == self._failures:  # else one beside it has failed meanwhile
            self._failures += 1
            delay_s = retry_delay_s(self._failures, answer.delay_s, random.random())
            self._resume_s = time.monotonic() + delay_s
            self._report(
                f"{answer.reason}; trying again in {delay_s:.1f} s, {self.queue.requests} requests wait",
            )
        return answer

    def _count(self, items: int, answer: Answer) -> None:
        if answer.verdict is not Verdict.DELIVERED:
            self.stats.refused += items
            return
        rejected = min(answer.rejected, items)
        self.stats.rejected += rejected
        self.stats.sent += items - rejected
        if rejected:
            self._report(f"{rejected} of {items} were not taken: {answer.reason}")

    async def _set_aside(self, request: bytes, reason: str) -> None:
        while True:
            try:
                path = await asyncio.to_thread(self._refused.keep, self.signal, request, reason, now=datetime.now(UTC))
            except OSError as error:
                self._report(f"a refused request cannot be kept: {error}")
                await asyncio.sleep(KEEP_AGAIN_S)
            else:
                self._report(f"a request is refused and kept as {path}: {reason}")
                return

    def _items(self, request: bytes) -> int:
        return count(self.signal, REQUEST_TYPES[self.signal].FromString(request))

    def _report(self, what: str) -> None:
        now_s = time.monotonic()
        if now_s - self._reported_s >= REPORT_EVERY_S:
            self._reported_s = now_s
            _log.warning("%s: %s", self.signal.value, what)
