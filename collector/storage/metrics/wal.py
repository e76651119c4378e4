"""
The write-ahead log: what was acknowledged and is not yet in a synced segment.

Records are frames (see framing.py); each file stands for itself:
    layout   "L", number, group, series ids: the series of the samples records that name it
    samples  "S", layout number, timestamp, one float64 for each series of the layout: eight bytes a sample
    exemplar "E", JSON
A file that a crash tore is read up to the tear and never appended to: each start begins a new file.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collector.model.series import Exemplar
from collector.storage.metrics.files import sync_directory, write_all
from collector.storage.metrics.framing import frame, frames

SUFFIX = ".wal"
_LAYOUT = struct.Struct("<cxxxII")
_SAMPLES = struct.Struct("<cxxxIq")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Series of one group, in the order of the values that come with it."""

    group: int
    ids: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class LoggedSamples:
    layout: Layout
    timestamp_ms: int
    values: NDArray[np.float64]  # [len(layout.ids)]


@dataclass(frozen=True, slots=True)
class LoggedExemplar:
    series: int
    exemplar: Exemplar


LogRecord = LoggedSamples | LoggedExemplar


@dataclass(slots=True)
class LogFile:
    path: Path
    newest_ms: dict[int, int] = field(default_factory=dict)  # group to its newest timestamp here

    def saw(self, group: int, timestamp_ms: int) -> None:
        if timestamp_ms > self.newest_ms.get(group, -1):
            self.newest_ms[group] = timestamp_ms


class WriteAheadLog:
    """Used by one thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: list[LogFile] = []
        self._fd = -1
        self._number = 0
        self._size = 0
        self._layouts: dict[Layout, int] = {}
        self.torn_bytes = 0  # not readable at start

    @property
    def size(self) -> int:
        """Bytes in the file that is written."""
        return self._size

    def load(self) -> Iterator[LogRecord]:
        """Every readable record in the order of writing. Read all of it before the first `commit`."""
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            self._number = int(path.stem)
            log = LogFile(path)
            self._files.append(log)
            if path.stat().st_size:
                yield from self._read(log)

    def _read(self, log: LogFile) -> Iterator[LogRecord]:
        layouts: dict[int, Layout] = {}
        good = 0
        with log.path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        for payload, end in frames(data):
            raw = bytes(payload)
            payload.release()
            good = end
            if raw[:1] == b"L":
                _, number, group = _LAYOUT.unpack_from(raw)
                layouts[number] = Layout(group, np.frombuffer(raw, "<u4", offset=_LAYOUT.size))
            elif raw[:1] == b"S":
                _, number, timestamp_ms = _SAMPLES.unpack_from(raw)
                layout = layouts[number]
                log.saw(layout.group, timestamp_ms)
                yield LoggedSamples(layout, timestamp_ms, np.frombuffer(raw, "<f8", offset=_SAMPLES.size))
            elif raw[:1] == b"E":
                series, labels, value, timestamp_ms = json.loads(raw[1:])
                exemplar = Exemplar(tuple((name, text) for name, text in labels), value, timestamp_ms)
                yield LoggedExemplar(series, exemplar)
        self.torn_bytes += len(data) - good

    def commit(self, records: list[LogRecord]) -> None:
        """
        Write and sync.

        Raises:
            OSError: none of the records counts as written. The next commit goes to a new file, as what a failed sync
                left of this one is unknown; what is readable of it comes back at the next start.
        """
        if self._fd < 0:
            self._open()
        parts: list[bytes] = []
        for record in records:
            parts.extend(self._encoded(record))
        data = b"".join(parts)
        try:
            write_all(self._fd, data)
            os.fsync(self._fd)
        except OSError:
            self.rotate()
            raise
        self._size += len(data)

    def _encoded(self, record: LogRecord) -> Iterator[bytes]:
        if isinstance(record, LoggedExemplar):
            labels, value, timestamp_ms = record.exemplar
            yield frame(b"E" + json.dumps([record.series, labels, value, timestamp_ms]).encode())
            return
        layout = record.layout
        number = self._layouts.get(layout)
        if number is None:
            number = self._layouts[layout] = len(self._layouts)
            yield frame(_LAYOUT.pack(b"L", number, layout.group) + layout.ids.astype("<u4").tobytes())
        self._files[-1].saw(layout.group, record.timestamp_ms)
        values = record.values.astype("<f8", copy=False)
        yield frame(_SAMPLES.pack(b"S", number, record.timestamp_ms) + values.tobytes())

    def _open(self) -> None:
        self._number += 1
        path = self._directory / f"{self._number:08d}{SUFFIX}"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        sync_directory(self._directory)
        self._files.append(LogFile(path))
        self._layouts.clear()
        self._size = 0

    def rotate(self) -> None:
        """The next commit begins a new file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove_sealed(self, sealed_ms: dict[int, int]) -> None:
        """
        Remove files whose samples are all in synced segments.

        Args:
            sealed_ms: Up to when, for each group. One that is not in it is gone, and its samples with it.
        """
        kept = []
        for position, log in enumerate(self._files):
            writing = self._fd >= 0 and position == len(self._files) - 1
            if writing or any(newest > sealed_ms.get(group, newest) for group, newest in log.newest_ms.items()):
                kept.append(log)
            else:
                log.path.unlink(missing_ok=True)
        self._files = kept

    def close(self) -> None:
        self.rotate()
