"""What the processes of the stack cost: memory and CPU, by process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any, Protocol

import psutil

LEAST_INTERVAL_S = 0.5  # over less, CPU time counted in ticks of 10 ms says nothing


class Counted(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def restarts(self) -> int: ...
    @property
    def started_at_unix_ms(self) -> int: ...


class Accounts:
    """CPU is that of the time since the last call, at least LEAST_INTERVAL_S; 0 when a process is first seen."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[psutil.Process, float, float]] = {}  # by pid: process, when, cpu percent

    def of(self, processes: Iterable[Counted]) -> list[dict[str, Any]]:
        """The supervisor itself first. A process that ends while we look is left out."""
        own = psutil.Process()
        rows = [self._row("supervisor", os.getpid(), 0, int(own.create_time() * 1000))]
        rows += [self._row(p.name, p.pid, p.restarts, p.started_at_unix_ms) for p in processes]
        shown = {row["pid"] for row in rows if row}
        self._known = {pid: known for pid, known in self._known.items() if pid in shown}
        return [row for row in rows if row]

    def _row(self, name: str, pid: int, restarts: int, started_at_unix_ms: int) -> dict[str, Any] | None:
        try:
            rss_bytes, cpu_percent = self._measure(pid)
        except psutil.Error:
            self._known.pop(pid, None)
            return None
        return {
            "name": name,
            "pid": pid,
            "restarts": restarts,
            "started_at_unix_ms": started_at_unix_ms,
            "rss_bytes": rss_bytes,
            "cpu_percent": cpu_percent,
        }

    def _measure(self, pid: int) -> tuple[int, float]:
        now = time.monotonic()
        if pid not in self._known:
            process = psutil.Process(pid)
            process.cpu_percent(None)  # begins to count
            self._known[pid] = (process, now, 0.0)
        process, when, cpu_percent = self._known[pid]
        if now - when >= LEAST_INTERVAL_S:
            cpu_percent = process.cpu_percent(None)
            self._known[pid] = (process, now, cpu_percent)
        return process.memory_info().rss, cpu_percent
