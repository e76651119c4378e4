from __future__ import annotations

import asyncio
import random
import selectors

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from demo_services.errors import PoolTimeoutError
from demo_services.worker_pool import WorkerPool


class _Jump(selectors.DefaultSelector):
    """Does not wait for the next timer but moves the clock to it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            self.now += timeout
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Sleeping takes no time, and takes exactly as long as was asked: what is measured is the pool, not the machine."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def throughput(*, replicas: int, requests: int, size: int, service_time_s: float) -> float:
    """Requests a second, in virtual time, of replicas that are given requests in turn."""

    async def serve_all() -> float:
        clock = asyncio.get_running_loop().time
        pools = [
            WorkerPool(size=size, service_time_s=service_time_s, queue_timeout_s=1000, clock=clock)
            for _ in range(replicas)
        ]
        await asyncio.gather(*(serve(pools[number % replicas]) for number in range(requests)))
        return requests / clock()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(serve_all())


async def serve(pool: WorkerPool) -> None:
    """As admission.py serves: the service time, give or take 10 %."""
    async with pool.worker():
        await asyncio.sleep(pool.service_time_s * random.uniform(0.9, 1.1))


@pytest.mark.parametrize(("replicas", "size", "service_time_s"), [(1, 2, 0.1), (3, 2, 0.1), (1, 8, 0.02), (4, 1, 1.0)])
def test_throughput_is_replicas_times_pool_size_over_service_time(
    replicas: int, size: int, service_time_s: float
) -> None:
    measured = throughput(replicas=replicas, requests=600, size=size, service_time_s=service_time_s)
    assert measured == pytest.approx(replicas * size / service_time_s, rel=0.05)


async def test_requests_are_served_in_the_order_of_their_arrival() -> None:
    pool = WorkerPool(size=1, service_time_s=0.001, queue_timeout_s=10)
    served = []

    async def serve_numbered(number: int) -> None:
        async with pool.worker():
            served.append(number)
            await asyncio.sleep(0.001)

    await asyncio.gather(*(serve_numbered(number) for number in range(20)))
    assert served == list(range(20))


async def test_who_waits_too_long_is_rejected_and_counted() -> None:
    pool = WorkerPool(size=1, service_time_s=0.2, queue_timeout_s=0.02)
    busy = asyncio.create_task(serve(pool))
    await asyncio.sleep(0)
    with pytest.raises(PoolTimeoutError, match=r"within 0\.02 s: all 1 are busy"):
        await serve(pool)
    await busy
    assert (pool.arrivals, pool.rejected, pool.busy, pool.queue_depth) == (2, 1, 0, 0)


async def test_a_cancelled_request_gives_its_place_and_its_worker_back() -> None:
    pool = WorkerPool(size=1, service_time_s=0.01, queue_timeout_s=10)
    first, waiting, handed_over = (asyncio.create_task(serve(pool)) for _ in range(3))
    await asyncio.sleep(0)
    waiting.cancel()
    # Until the worker of `first` is handed to `handed_over`, which has not run yet.
    while pool.queue_depth:  # noqa: ASYNC110
        await asyncio.sleep(0)
    handed_over.cancel()
    await asyncio.gather(first, waiting, handed_over, return_exceptions=True)
    assert (pool.busy, pool.queue_depth) == (0, 0)
    await asyncio.wait_for(serve(pool), 1)


async def test_busy_seconds_grow_while_a_worker_is_held() -> None:
    now = [100.0]
    pool = WorkerPool(size=2, service_time_s=0.1, queue_timeout_s=1, clock=lambda: now[0])
    async with pool.worker():
        now[0] = 101.0
        async with pool.worker():
            now[0] = 103.0
            assert pool.busy_seconds == pytest.approx(3 + 2)
    now[0] = 110.0
    assert pool.busy_seconds == pytest.approx(5)


def test_metrics_have_the_names_of_the_architecture() -> None:
    registry = CollectorRegistry()
    WorkerPool(size=2, service_time_s=0.1, queue_timeout_s=1, registry=registry)
    text = generate_latest(registry).decode()
    for line in (
        "worker_pool_size 2.0", "worker_pool_busy 0.0", "worker_pool_queue_depth 0.0", "worker_pool_arrivals_total 0.0",
        "worker_pool_rejected_total 0.0", "worker_pool_busy_seconds_total 0.0", "worker_pool_wait_seconds_count 0.0",
        "worker_pool_service_time_seconds 0.1",
    ):  # fmt: skip
        assert line in text
