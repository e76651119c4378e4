"""Begins runs beside the requests that bring them: a storm of alerts is answered before its last run has begun."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger("remediation")

RETRY_S = 1.0


class Starter:
    """One thread. What it has not begun when the process ends is begun by the next, which finds it in the store."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[str, Callable[[], object]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="starter", daemon=True)
        self._stop = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def put(self, what: str, begin: Callable[[], object]) -> None:
        """Args: begin: Called until it succeeds; may be repeated."""
        self._waiting.put((what, begin))

    def stop(self) -> None:
        self._stop.set()
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (one := self._waiting.get()) is not None and not self._stop.is_set():
            what, begin = one
            try:
                begin()
            except Exception:  # the database is away: it is durable, so it can wait
                log.exception("%s could not be begun, again in %g s", what, RETRY_S)
                self._stop.wait(RETRY_S)
                self._waiting.put(one)
