"""
The queue's files, `00000001.queue` and so on: records, sealed (storage/seal.py), in frames (storage/framing.py).

What a crash tore off the end of a file was never acknowledged. Each start begins a new file.
"""

from __future__ import annotations

import logging
import mmap
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from collector.storage.durable_file import sync_directory, write_all
from collector.storage.encryption import EncryptionError
from collector.storage.framing import HEADER_BYTES, MAX_PAYLOAD_BYTES, frame, frames
from collector.storage.seal import Seal

_log = logging.getLogger(__name__)
SUFFIX = ".queue"
SEGMENT_BYTES = 8 << 20  # of one file, about; what stays on disk for longer than needed
READ_BYTES = 1 << 20  # at once; a record may be larger


class Place(NamedTuple):
    """Behind a record; places are ordered as the records are."""

    segment: int
    end: int  # offset


START = Place(0, 0)


@dataclass(slots=True)
class _Segment:
    number: int
    size: int  # readable bytes, all of them synced


class QueueLog:
    """`append` belongs to one thread; the rest may be called from another."""

    def __init__(self, directory: Path, seal: Seal) -> None:
        self._directory = directory
        self._seal = seal
        self._lock = threading.Lock()
        self._segments: list[_Segment] = []  # by number
        self._fd = -1
        self._next_number = 1
        self.torn_bytes = 0  # not readable

    def load(self) -> Iterator[tuple[Place, bytes]]:
        """
        Every readable record, in order. Read all of it first.

        Raises:
            OSError: a file cannot be read.
            EncryptionError: it was sealed with another key.
        """
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            number = int(path.stem)
            self._next_number = number + 1
            good, size = 0, path.stat().st_size
            if size:
                with path.open("rb") as file:
                    data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                for payload, end in frames(data):
                    good = end
                    yield Place(number, end), self._seal.opened(bytes(payload))
            self._torn(path, size - good)
            if good:
                self._segments.append(_Segment(number, good))
            else:
                path.unlink()

    def append(self, payloads: Sequence[bytes]) -> None:
        """
        Write and sync.

        Raises:
            OSError: none of them counts as written.
        """
        if self._fd < 0 or self._segments[-1].size >= SEGMENT_BYTES:
            self._begin()
        data = b"".join(frame(self._seal.sealed(payload)) for payload in payloads)
        live = self._segments[-1]
        try:
            write_all(self._fd, data)
            os.fsync(self._fd)
        except OSError:
            self._abandon(live.size)
            raise
        with self._lock:
            live.size += len(data)

    def read(self, after: Place) -> tuple[list[tuple[Place, bytes]], Place]:
        """
        Some of the next records, and after which place to go on: none if there are none, or where they are unreadable.

        Raises:
            OSError: the file cannot be read.
        """
        with self._lock:
            found = next((one for one in self._segments if (one.number, one.size) > after), None)
            if found is None:
                return [], after
            number, size = found.number, found.size
        start = after.end if number == after.segment else 0
        records = self._read(number, start, size)
        if not records:
            self._torn(self._path(number), size - start)
        return list(self._opened(records)), records[-1][0] if records else Place(number, size)

    def _read(self, number: int, start: int, size: int) -> list[tuple[Place, bytes]]:
        try:
            fd = os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # somebody has removed it
            return []
        try:
            records = _records(os.pread(fd, min(READ_BYTES, size - start), start), number, start)
            if not records:
                length = int.from_bytes(os.pread(fd, HEADER_BYTES, start)[:4], "little")
                if length <= MAX_PAYLOAD_BYTES:
                    records = _records(os.pread(fd, HEADER_BYTES + length, start), number, start)
            return records
        finally:
            os.close(fd)

    def _opened(self, records: list[tuple[Place, bytes]]) -> Iterator[tuple[Place, bytes]]:
        for place, payload in records:
            try:
                yield place, self._seal.opened(payload)
            except EncryptionError:  # its checksum is right: somebody has changed it
                self._torn(self._path(place.segment), len(payload))

    def remove_before(self, segment: int) -> None:
        with self._lock:
            gone = [one.number for one in self._segments if one.number < segment]
            self._segments = [one for one in self._segments if one.number >= segment]
        for number in gone:
            self._path(number).unlink(missing_ok=True)

    def bytes_after(self, place: Place) -> int:
        with self._lock:
            whole = sum(one.size for one in self._segments if one.number >= place.segment)
            begun = any(one.number == place.segment for one in self._segments)
        return whole - (place.end if begun else 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begin(self) -> None:
        self.close()
        number = self._next_number
        self._fd = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._next_number = number + 1
        sync_directory(self._directory)
        with self._lock:
            self._segments.append(_Segment(number, 0))

    def _abandon(self, size: int) -> None:
        """What a failed write left is cut off, so that the next start does not read it; what follows has a new file."""
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            _log.warning("cannot cut %s back to %s bytes: %s", self._path(self._segments[-1].number), size, error)
        self.close()

    def _torn(self, path: Path, size: int) -> None:
        if size:
            self.torn_bytes += size
            _log.warning("%s bytes of %s are unreadable", size, path)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:08d}{SUFFIX}"


def _records(data: bytes, number: int, start: int) -> list[tuple[Place, bytes]]:
    return [(Place(number, start + end), bytes(payload)) for payload, end in frames(data)]
