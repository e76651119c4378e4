"""Log files that children write to themselves, kept small from outside: they hold the handle, so we cut in place."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

LARGEST_LOG_BYTES = 10_000_000  # a day of ordinary lines of one part; twenty parts stay below half a gigabyte with .1
KEPT_LOG_BYTES = 1_000_000  # how much of a log that grew too large remains, in NAME.log.1
KEPT_REPLICA_LOGS = 20  # of one service; ids are never reused, so a replica that keeps dying leaves many


def open_log(path: Path) -> FileIO:
    """For appending: each write goes to the end as it then is, also after `trim`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a")


def previous(path: Path) -> Path:
    return path.with_name(path.name + ".1")


def set_aside(folder: Path) -> None:
    """Before a stack starts: each NAME.log becomes NAME.log.1, what was there before is lost."""
    for old in folder.glob("*.log.1"):
        old.unlink(missing_ok=True)
    for path in folder.glob("*.log"):
        path.replace(previous(path))


def trim(folder: Path, largest_bytes: int = LARGEST_LOG_BYTES, kept_bytes: int = KEPT_LOG_BYTES) -> None:
    """Cut logs that grew too large; lines written during the cut may be lost."""
    for path in folder.glob("*.log"):
        if path.stat().st_size > largest_bytes:
            previous(path).write_bytes(tail_bytes(path, kept_bytes))
            os.truncate(path, 0)


def forget_old_replicas(folder: Path, service: str, kept: int = KEPT_REPLICA_LOGS) -> None:
    written = [(path.name.removeprefix(f"{service}-").removesuffix(".log"), path) for path in folder.glob("*.log")]
    numbered = [(int(number), path) for number, path in written if number.isdigit()]
    for _, path in sorted(numbered)[:-kept]:
        path.unlink(missing_ok=True)
        previous(path).unlink(missing_ok=True)


def tail_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - count))
        return file.read()


def tail(path: Path, lines: int) -> list[str]:
    """The last `lines` lines, without their ends; [] if there is no such file. Reads at most the last megabyte."""
    if lines <= 0 or not path.exists():
        return []
    return tail_bytes(path, KEPT_LOG_BYTES).decode(errors="replace").splitlines()[-lines:]
