"""
Requests that the destination will never take, kept for somebody to look at.

    DIRECTORY/20260102T030405.678901Z.traces         the serialised request, sealed if the queue is
    DIRECTORY/20260102T030405.678901Z.traces.reason  why it was refused
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from collector.receivers.otlp_ingest import Signal
from collector.storage.durable_file import replace_file
from collector.storage.seal import Seal

_log = logging.getLogger(__name__)
MAX_BYTES = 64 << 20  # then the oldest go: a destination that refuses everything must not fill the disk
_REASON = ".reason"


class RefusedRequests:
    def __init__(self, directory: Path, *, seal: Seal, max_bytes: int = MAX_BYTES) -> None:
        self._directory = directory
        self._seal = seal
        self._max_bytes = max_bytes
        self.removed = 0  # requests that made room for newer ones

    def keep(self, signal: Signal, request: bytes, reason: str, *, now: datetime) -> Path:
        """
        Durable when this returns.

        Raises:
            OSError: it cannot be written.
        """
        name = f"{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.{signal.value}"
        path = self._directory / name
        replace_file(path.with_name(name + _REASON), f"{reason}\n".encode())
        replace_file(path, self._seal.sealed(request))
        self._make_room(path)
        return path

    def _make_room(self, newest: Path) -> None:
        kept = sorted(path for path in self._directory.iterdir() if path.suffix in {f".{one.value}" for one in Signal})
        size = sum(path.stat().st_size for path in kept)
        for path in kept:
            if size <= self._max_bytes or path == newest:
                return
            size -= path.stat().st_size
            path.unlink()
            path.with_name(path.name + _REASON).unlink(missing_ok=True)
            self.removed += 1
            _log.warning("%s is removed: refused requests take more than %s bytes", path, self._max_bytes)
