"""One thread that commits what several callers ask for, together: while one sync runs, the next batch gathers."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from collector.errors import TemporaryError
from collector.model.series import AppendOutcome, SampleTable

_log = logging.getLogger(__name__)

# How many appends may wait. A sync takes milliseconds, so a full queue means that the disk stands still.
QUEUE_LIMIT = 10_000
TICK_S = 1.0  # how often the thread looks at the clock when nothing comes


@dataclass(slots=True, eq=False)
class PendingAppend:
    tables: Sequence[SampleTable]
    done: Future[AppendOutcome] = field(default_factory=Future)


class Committer:
    """
    Calls `commit` with all appends that wait, as soon as there is one, and `tick` about once a second.

    `commit` settles each append's future itself. What it raises is passed to those that it left unsettled.
    """

    def __init__(self, commit: Callable[[list[PendingAppend]], None], tick: Callable[[], None]) -> None:
        self._commit = commit
        self._tick = tick
        self._queue: queue.Queue[PendingAppend | None] = queue.Queue(QUEUE_LIMIT)
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="metric-store", daemon=True)
        self._thread.start()

    def submit(self, tables: Sequence[SampleTable]) -> Future[AppendOutcome]:
        """
        Raises:
            TemporaryError: too many appends wait, or the store is closed.
        """
        append = PendingAppend(tables)
        with self._closing:
            if self._closed:
                raise TemporaryError("the metric store is closed")
            try:
                self._queue.put_nowait(append)
            except queue.Full:
                raise TemporaryError(f"{QUEUE_LIMIT} appends wait for the disk already; try again later") from None
        return append.done

    def close(self) -> None:
        """Commit what waits, then end the thread. May be called twice."""
        with self._closing:
            already, self._closed = self._closed, True
        if not already:
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            waiting, last = self._gather()
            if waiting:
                self._attempt(waiting)
            if last:
                return
            try:
                self._tick()
            except Exception:  # a defect of ours must not end the thread: every later append would wait for ever
                _log.exception("housekeeping of the metric store")

    def _gather(self) -> tuple[list[PendingAppend], bool]:
        waiting: list[PendingAppend] = []
        try:
            append = self._queue.get(timeout=TICK_S)
            while append is not None:
                waiting.append(append)
                append = self._queue.get_nowait()
        except queue.Empty:
            return waiting, False
        return waiting, True

    def _attempt(self, waiting: list[PendingAppend]) -> None:
        waiting = [append for append in waiting if append.done.set_running_or_notify_cancel()]
        try:
            self._commit(waiting)
        except Exception as error:
            for append in waiting:
                if not append.done.done():
                    append.done.set_exception(error)
