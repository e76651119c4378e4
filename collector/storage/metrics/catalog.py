"""
The catalog file: which id stands for which series, and which target (group) a series belongs to.

An id is written here, and synced, before any sample that uses it, so that the log and the segments can hold four bytes
in place of labels. Ids are never used again, not even after the series is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from collector.model.series import Labels
from collector.storage.durable_file import sync_directory, write_all
from collector.storage.framing import frame, frames
from collector.storage.seal import Seal

FILE_NAME = "catalog.log"


@dataclass(slots=True)
class CatalogContent:
    groups: dict[int, str] = field(default_factory=dict)  # group id to target
    series: dict[int, tuple[int, Labels]] = field(default_factory=dict)  # series id to (group id, labels)
    next_group: int = 0
    next_series: int = 0


class Catalog:
    """Used by one thread. `stage_*` collects, `commit` makes durable; what a failed commit left stays staged."""

    def __init__(self, directory: Path, seal: Seal) -> None:
        self._path = directory / FILE_NAME
        self._seal = seal
        self._fd = -1
        self._good_bytes = 0
        self._staged: list[bytes] = []
        self.entries = 0  # records in the file, dead ones too

    def load(self) -> CatalogContent:
        """Read the file, cut off a torn tail, and open for appending."""
        content = CatalogContent()
        data = self._path.read_bytes() if self._path.exists() else b""
        for payload, end in frames(data):
            self._replay(json.loads(self._seal.opened(bytes(payload))), content)
            self._good_bytes = end
        self._open()
        return content

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._fd, self._good_bytes)
        os.lseek(self._fd, self._good_bytes, os.SEEK_SET)
        sync_directory(self._path.parent)

    def _replay(self, record: list[object], content: CatalogContent) -> None:
        match record:
            case ["next", int(group), int(series)]:
                content.next_group, content.next_series = group, series
            case ["group", int(group), str(target)]:
                content.groups[group] = target
                content.next_group = max(content.next_group, group + 1)
            case ["series", int(group), list(entries)]:
                for number, flat in entries:
                    content.series[number] = (group, tuple(zip(flat[::2], flat[1::2], strict=True)))
                    content.next_series = max(content.next_series, number + 1)
                self.entries += len(entries)

    @property
    def pending(self) -> bool:
        return bool(self._staged)

    def stage_group(self, group: int, target: str) -> None:
        self._staged.append(self._encoded(["group", group, target]))

    def stage_series(self, group: int, series: Iterable[tuple[int, Labels]]) -> None:
        entries = [[number, [text for pair in labels for text in pair]] for number, labels in series]
        self._staged.append(self._encoded(["series", group, entries]))
        self.entries += len(entries)

    def commit(self) -> None:
        """
        Write and sync what is staged.

        Raises:
            OSError: nothing of it counts as written, and it is tried again with the next commit.
        """
        if not self._staged:
            return
        data = b"".join(self._staged)
        try:
            write_all(self._fd, data)
            os.fsync(self._fd)
        except OSError:
            # After a failed fsync the kernel may have dropped the pages, so the same bytes are written anew.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._good_bytes)
                os.lseek(self._fd, self._good_bytes, os.SEEK_SET)
            raise
        self._good_bytes += len(data)
        self._staged.clear()

    def rewrite(self, content: CatalogContent) -> None:
        """Replace the file by one that holds only `content`, atomically. Nothing may be staged."""
        members: dict[int, list[tuple[int, Labels]]] = {}
        for number, (group, labels) in content.series.items():
            members.setdefault(group, []).append((number, labels))
        self._staged = [self._encoded(["next", content.next_group, content.next_series])]
        self.entries = 0
        for group, target in content.groups.items():
            self.stage_group(group, target)
            self.stage_series(group, members.get(group, []))
        data = b"".join(self._staged)
        self._staged.clear()
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(self._path)
        os.close(self._fd)
        self._good_bytes = len(data)
        self._open()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _encoded(self, record: list[object]) -> bytes:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        return frame(self._seal.sealed(text.encode("utf-8", "surrogatepass")))
