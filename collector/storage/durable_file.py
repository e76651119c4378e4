"""Durable file operations: what POSIX needs beyond write and fsync."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Make `content` the file's; on disk when this returns. Its folder is created. One writer at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)  # the new name, too


def sync_directory(path: Path) -> None:
    """Make creations, renames and removals in `path` durable (fsync of a file does not cover its name)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; `os.write` may stop early (a full disk, 2 GiB)."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
