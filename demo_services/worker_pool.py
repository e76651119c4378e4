"""
The bounded worker pool: why a replica's capacity is finite, and a number.

Each business request holds one worker, for the stated service time and then for its real work. Requests beyond the
pool's size queue first in, first out; who waits longer than the time limit is rejected. So one replica serves
size ÷ service_time requests a second, and replicas add up, whatever the machine underneath can do.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from demo_services.errors import PoolTimeoutError

# Up to twice the default queue timeout, which is the longest wait there is.
WAIT_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4)


class WorkerPool(Collector):
    """Belongs to one event loop. All counts are since the start of the process."""

    def __init__(
        self,
        *,
        size: int,
        service_time_s: float,
        queue_timeout_s: float,
        registry: CollectorRegistry | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.size = size
        self.service_time_s = service_time_s
        self.queue_timeout_s = queue_timeout_s
        self.busy = 0
        self.arrivals = 0
        self.rejected = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._clock = clock
        self._busy_seconds = 0.0  # the integral of `busy` over time, up to _counted_at
        self._counted_at = clock()
        self._waits = Histogram(
            "worker_pool_wait_seconds", "Time that requests waited for a worker", buckets=WAIT_BUCKETS_S, registry=None
        )
        if registry is not None:
            registry.register(self)

    @property
    def queue_depth(self) -> int:
        return len(self._queue)

    @property
    def capacity(self) -> float:
        """Requests a second; infinite if the service time is 0."""
        return self.size / self.service_time_s if self.service_time_s else math.inf

    @property
    def busy_seconds(self) -> float:
        return self._busy_seconds + self.busy * (self._clock() - self._counted_at)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[float]:
        """
        Hold a worker; yields the seconds that were waited for it.

        Raises:
            PoolTimeoutError: none became free within `queue_timeout_s`.
        """
        asked = self._clock()
        self.arrivals += 1
        try:
            await self._acquire()
        finally:
            waited = self._clock() - asked
            self._waits.observe(waited)
        try:
            yield waited
        finally:
            self._release()

    async def _acquire(self) -> None:
        if self.busy < self.size and not self._queue:
            self._count(+1)
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._queue.append(turn)
        limit = loop.call_later(self.queue_timeout_s, self._reject, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._release()  # the worker was handed over in the very moment that the request was given up
            elif turn in self._queue:
                self._queue.remove(turn)
            raise
        finally:
            limit.cancel()

    def _reject(self, turn: asyncio.Future[None]) -> None:
        if turn.done():
            return
        self._queue.remove(turn)
        self.rejected += 1
        turn.set_exception(
            PoolTimeoutError(
                f"no worker became free within {self.queue_timeout_s:g} s: "
                f"all {self.size} are busy and {len(self._queue)} requests wait"
            )
        )

    def _release(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)  # handed over: as many are busy as before
                return
        self._count(-1)

    def _count(self, change: int) -> None:
        now = self._clock()
        self._busy_seconds += self.busy * (now - self._counted_at)
        self._counted_at = now
        self.busy += change

    def collect(self) -> Iterator[Metric]:
        """The pool's metrics, as docs/architecture.md names them."""
        yield GaugeMetricFamily("worker_pool_size", "Workers in the pool", self.size)
        yield GaugeMetricFamily("worker_pool_busy", "Workers that are held", self.busy)
        yield GaugeMetricFamily("worker_pool_queue_depth", "Requests that wait for a worker", self.queue_depth)
        yield GaugeMetricFamily("worker_pool_service_time_seconds", "The stated service time", self.service_time_s)
        yield CounterMetricFamily("worker_pool_arrivals", "Requests that asked for a worker", self.arrivals)
        yield CounterMetricFamily("worker_pool_rejected", "Requests that waited too long", self.rejected)
        yield CounterMetricFamily("worker_pool_busy_seconds", "Time that workers were held", self.busy_seconds)
        yield from self._waits.collect()
