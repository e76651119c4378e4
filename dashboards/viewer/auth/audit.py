"""
The audit log: one JSON object a line, only ever appended to. Who did what, to what, from where, with what outcome.

    {"at_unix_ms": 1767225600000, "who": "ada", "role": "operator", "what": "drill.start", "target": "latency-surge",
     "from": "127.0.0.1", "outcome": "done", "detail": ""}

Outcomes: done, refused (not allowed, or a wrong password), failed (allowed, and it did not work).
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from dashboards.viewer.auth.roles import Identity

log = logging.getLogger(__name__)
MAX_FILE_BYTES = 16 << 20  # some 80,000 lines; a fuller file is set aside under the time of that, and kept
MAX_TEXT = 500  # characters of a target or a detail
MAX_REFUSALS_A_MINUTE = 60  # lines that a stranger can make us write
_TAIL_BYTES = 256 << 10


class AuditLog:
    """Thread-safe. A line is on disk when `write` returns; a disk that refuses it is logged, and stops nobody."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._refusals = (0, 0)  # minute, how many

    def write(self, who: Identity, what: str, *, target: str, client: str, outcome: str, detail: str = "") -> None:
        now = time.time()
        line = {
            "at_unix_ms": int(now * 1000),
            "who": who.name,
            "role": who.role,
            "what": what,
            "target": target[:MAX_TEXT],
            "from": client,
            "outcome": outcome,
            "detail": detail[:MAX_TEXT],
        }
        with self._lock:
            if outcome == "refused" and self._too_many(int(now // 60)):
                return
            try:
                self._append(json.dumps(line, ensure_ascii=False).encode() + b"\n", now)
            except OSError as error:
                log.error("audit log %s was not written: %s: %s", self.path, error, line)

    def _too_many(self, minute: int) -> bool:
        before = self._refusals[1] if self._refusals[0] == minute else 0
        self._refusals = (minute, before + 1)
        return before >= MAX_REFUSALS_A_MINUTE

    def _append(self, line: bytes, now: float) -> None:
        if self.path.exists() and self.path.stat().st_size + len(line) > MAX_FILE_BYTES:
            self.path.rename(self.path.with_name(f"{self.path.stem}-{int(now)}{self.path.suffix}"))
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)

    def newest(self, count: int) -> list[dict[str, Any]]:
        """The last lines, newest first; of a line that a crash cut off nothing is shown."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self.path.stat().st_size - _TAIL_BYTES))
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in reversed(lines):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
            if len(found) == count:
                break
        return found
