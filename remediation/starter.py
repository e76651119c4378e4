"""Begins runs beside the requests that bring them: a storm of alerts is answered before its last run has begun."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger("remediation")

RETRY_S = 1.0


class Starter:
    """
    One thread. What it has not begun when the process ends is begun by the next, which finds it in the store.

    Args:
        begin: Starts the workflow of a run; may be repeated.
    """

    def __init__(self, begin: Callable[[str], None]) -> None:
        self._begin = begin
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="starter", daemon=True)
        self._stop = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def put(self, run_id: str) -> None:
        self._waiting.put(run_id)

    def stop(self) -> None:
        self._stop.set()
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (run_id := self._waiting.get()) is not None and not self._stop.is_set():
            try:
                self._begin(run_id)
            except Exception:  # the database is away: it is durable, so it can wait
                log.exception("%s could not be begun, again in %g s", run_id, RETRY_S)
                self._stop.wait(RETRY_S)
                self._waiting.put(run_id)
