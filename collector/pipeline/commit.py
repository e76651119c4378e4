"""Group commit: many small requests share one transaction, and each is answered once it is on disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Generic, Protocol, TypeVar

from collector.errors import TemporaryError


class Rows(Protocol):
    @property
    def rows(self) -> int: ...


_Batch = TypeVar("_Batch", bound=Rows)
_Result = TypeVar("_Result")

# A commit costs 4 to 8 ms of CPU however little it holds, so small ones keep this distance. The first request after a
# quiet time does not wait; exporters send from a thread of their own and do not mind the wait.
INTERVAL_S = 0.1
# From here on the fixed cost is less than half of a commit's (measured), and waiting for more would only delay; except
# for what is being decoded already, for which a commit waits until it has PLENTY_ROWS: the rest of its cost falls from
# 10 to 7 µs a span between 256 rows and this many (measured), and hardly beyond.
ENOUGH_ROWS = 256
PLENTY_ROWS = 4_096
# Enough that the fixed cost no longer shows (measured: 100,000 spans/s from 2,500 rows on); bounds one commit's memory.
MAX_ROWS = 8_192


class GroupCommit(Generic[_Batch]):
    """
    Hands batches to `write` in groups, on the one thread that owns what they are written to.

    Use as an async context manager; leaving it commits what is pending.
    """

    def __init__(
        self,
        write: Callable[[Sequence[_Batch]], None],
        *,
        interval_s: float = INTERVAL_S,
        observe: Callable[[float, int], None] = lambda _seconds, _rows: None,
    ) -> None:
        """
        Args:
            observe: Told of each commit its seconds and rows.
        """
        self._write = write
        self._interval_s = interval_s
        self._observe = observe
        self._pending: list[tuple[_Batch, asyncio.Future[None]]] = []
        self._pending_rows = 0
        self._coming = 0
        self._wake = asyncio.Event()
        self._enough = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="telemetry-writer")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> GroupCommit[_Batch]:
        self._task = asyncio.create_task(self._run(), name="group commit")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._wake.set()
        self._enough.set()
        if self._task:
            await self._task
        self._thread.shutdown()

    async def submit(self, batch: _Batch) -> None:
        """
        Return once `batch` is durable.

        Raises:
            TemporaryError: it is not, and may be sent again.
        """
        if self._closing:
            raise TemporaryError("the collector is shutting down")
        if not batch.rows:
            return
        done = asyncio.get_running_loop().create_future()
        self._pending.append((batch, done))
        self._pending_rows += batch.rows
        self._wake.set()
        self._tell()
        await done

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Say that a batch is being made that is about to be submitted, so that it may join the next commit."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1
            # After the caller had its turn to submit.
            asyncio.get_running_loop().call_soon(self._tell)

    async def alone(self, work: Callable[[], _Result]) -> _Result:
        """Run `work` on the writer's thread, between commits."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _run(self) -> None:
        while not self._closing or self._pending:
            if not self._pending:
                self._wake.clear()
                await self._wake.wait()
                continue
            group = self._next_group()
            began = time.monotonic()
            await self._commit(group)
            spent = time.monotonic() - began
            self._observe(spent, sum(batch.rows for batch, _ in group))
            await self._gather(self._interval_s - spent)

    async def _gather(self, timeout_s: float) -> None:
        """Wait for more to come, until there is enough for a commit to be worth its cost."""
        if self._is_enough():
            return
        self._enough.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._enough.wait(), max(0.0, timeout_s))

    def _is_enough(self) -> bool:
        return self._closing or self._pending_rows >= (PLENTY_ROWS if self._coming else ENOUGH_ROWS)

    def _tell(self) -> None:
        if self._is_enough():
            self._enough.set()

    def _next_group(self) -> list[tuple[_Batch, asyncio.Future[None]]]:
        """At least one batch, else as many as stay within MAX_ROWS, in the order they came."""
        rows = count = 0
        for batch, _ in self._pending:
            rows += batch.rows
            if count and rows > MAX_ROWS:
                break
            count += 1
        group, self._pending = self._pending[:count], self._pending[count:]
        self._pending_rows -= sum(batch.rows for batch, _ in group)
        return group

    async def _commit(self, group: list[tuple[_Batch, asyncio.Future[None]]]) -> None:
        try:
            await self.alone(lambda: self._write([batch for batch, _ in group]))
        except Exception as error:
            if len(group) == 1:
                _settle(group[0][1], error)
                return
            for member in group:  # so that what is wrong with one fails that one only
                await self._commit([member])
            return
        for _, done in group:
            _settle(done, None)


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.cancelled():  # the sender has gone
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
