"""
One drill at a time on one data directory, and the note of what a drill has broken.

The lock is the kernel's (flock), so it goes with the process that holds it, however that dies. The file's text is for
the next comer: who holds it (pid and create time), how to undo what it did, and when that ends by its TTL anyway. A
text found in a file that nobody locks was left by a drill that was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from remediation.drills.errors import DrillRunningError
from remediation.drills.undo import Undo

MAX_NOTE_BYTES = 64 * 1024
LOCK_FILE = "running.lock"  # in DATA_DIR/drills


class DrillLock:
    """Use as a context manager; `left_behind` is what a killed drill has not undone."""

    def __init__(self, path: Path, drill: str) -> None:
        self._path = path
        self._drill = drill
        self._handle = -1
        self.left_behind: list[Undo] = []
        self._keep = False

    def __enter__(self) -> DrillLock:
        """
        Raises:
            DrillRunningError: another drill holds it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            note = _note(self._handle)
            os.close(self._handle)
            who = f"{note.get('drill', '?')} (pid {note.get('pid', '?')})"
            raise DrillRunningError(f"a drill is running: {who} holds {self._path}") from error
        note = _note(self._handle)
        until = note.get("until_unix_s")
        until_unix_s = float(until) if isinstance(until, int | float) else 0.0
        if time.time() < until_unix_s:
            self.left_behind = _undo_list(note)
        self._write(self.left_behind, until_unix_s)
        return self

    def __exit__(self, *_exc: object) -> None:
        if not self._keep:
            os.ftruncate(self._handle, 0)
        os.close(self._handle)

    def remember(self, undo: list[Undo], until_unix_s: float) -> None:
        """Write down what will have to be undone, unless it ended by itself. It survives a kill of this process."""
        self._write(undo, until_unix_s)

    def keep_note(self) -> None:
        """Leave the note behind: the undoing failed, and the next drill shall try again."""
        self._keep = True

    def _write(self, undo: list[Undo], until_unix_s: float) -> None:
        note = {
            "drill": self._drill,
            "pid": os.getpid(),
            "create_time": _create_time(),
            "until_unix_s": until_unix_s,
            "undo": [each.to_json() for each in undo],
        }
        raw = json.dumps(note).encode()
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, raw, 0)


def holder(path: Path) -> str | None:
    """Who holds the lock, in words; None if nobody does. Takes nothing, changes nothing."""
    if not path.exists():
        return None
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        note = _note(handle)
        return f"{note.get('drill', '?')} (pid {note.get('pid', '?')})"
    finally:
        os.close(handle)
    return None


def _note(handle: int) -> dict[str, Any]:
    try:
        note = json.loads(os.pread(handle, MAX_NOTE_BYTES, 0) or b"{}")
    except ValueError:  # the killed process was in the middle of its very first write: nothing was broken yet
        return {}
    return note if isinstance(note, dict) else {}


def _undo_list(note: dict[str, Any]) -> list[Undo]:
    try:
        return [Undo.from_json(each) for each in note.get("undo") or ()]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def _create_time() -> float:
    import psutil

    return psutil.Process().create_time()
