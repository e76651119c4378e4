"""
The write-ahead log: what was acknowledged and is not yet in a synced segment.

Records are frames (see framing.py), sealed (see seal.py); each file stands for itself:
    layout   "L", number, group, series ids: the series of the samples records that name it
    samples  "S", layout number, timestamp, one float64 for each series of the layout: eight bytes a sample
    table    "T", or "U" where late, layout number, how many timestamps, they, a row of float64 for each series
    native   "H", or "I" where late, group, how many, their series ids, timestamps, and native histograms
    exemplar "E", JSON
Late is what was older than the sealed samples of its group when it came. All else that is older than what is sealed
when the log is read is in a segment, as sealing takes everything up to a time.
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
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from collector.errors import CollectorError
from collector.model.histogram import NativeHistogram
from collector.model.series import Exemplar
from collector.storage.durable_file import sync_directory, write_all
from collector.storage.framing import frame, frames
from collector.storage.metrics import histogram_codec
from collector.storage.seal import Seal

SUFFIX = ".wal"
_LAYOUT = struct.Struct("<cxxxII")
_SAMPLES = struct.Struct("<cxxxIq")
_TABLE = struct.Struct("<cxxxII")
_HISTOGRAMS = struct.Struct("<cxxxII")
RECORD_VALUES = 1 << 21  # 16 MB in one record: a longer table is cut, so that a frame stays within its limit


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Layout:
    """Series of one group, in the order of the values that come with it."""

    group: int
    ids: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class LoggedSamples:
    layout: Layout
    timestamps_ms: NDArray[np.int64]  # [n], strictly increasing
    values: NDArray[np.float64]  # [len(layout.ids), n]
    late: bool = False


@dataclass(frozen=True, slots=True)
class LoggedHistograms:
    group: int
    series: tuple[int, ...]  # n of them; one may come several times
    timestamps_ms: tuple[int, ...]  # [n]
    histograms: tuple[NativeHistogram, ...]  # [n]
    late: bool = False


@dataclass(frozen=True, slots=True)
class LoggedExemplar:
    series: int
    exemplar: Exemplar


LogRecord = LoggedSamples | LoggedHistograms | LoggedExemplar


class CorruptLogError(CollectorError):
    """The log holds what this version cannot read, and its checksums are right."""


class SealedUpTo(NamedTuple):
    """Up to when a group's samples are in synced segments, the late ones aside."""

    floats_ms: int
    histograms_ms: int


@dataclass(slots=True)
class LogFile:
    path: Path
    newest_ms: dict[int, SealedUpTo] = field(default_factory=dict)  # group to its newest timestamps here

    def saw(self, record: LoggedSamples | LoggedHistograms) -> None:
        if isinstance(record, LoggedSamples):
            group, seen = record.layout.group, SealedUpTo(int(record.timestamps_ms[-1]), -1)
        else:
            group, seen = record.group, SealedUpTo(-1, max(record.timestamps_ms))
        before = self.newest_ms.get(group, seen)
        self.newest_ms[group] = SealedUpTo(*map(max, zip(before, seen, strict=True)))

    def sealed(self, sealed: dict[int, SealedUpTo]) -> bool:
        """Whether all of it is in segments. A group that is not in `sealed` is gone, and its samples with it."""
        return all(
            group not in sealed or (newest[0] <= sealed[group][0] and newest[1] <= sealed[group][1])
            for group, newest in self.newest_ms.items()
        )


class WriteAheadLog:
    """Used by one thread."""

    def __init__(self, directory: Path, seal: Seal) -> None:
        self._directory = directory
        self._seal = seal
        self._files: list[LogFile] = []
        self._fd = -1
        self._number = 0
        self._size = 0
        self._layouts: WeakKeyDictionary[Layout, int] = WeakKeyDictionary()  # those that may come again
        self._next_layout = 0
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
            raw = self._seal.opened(bytes(payload))
            payload.release()
            good = end
            if raw[:1] == b"L":
                _, number, group = _LAYOUT.unpack_from(raw)
                layouts[number] = Layout(group, np.frombuffer(raw, "<u4", offset=_LAYOUT.size))
                continue
            record = _decoded(raw, layouts)
            if not isinstance(record, LoggedExemplar):
                log.saw(record)
            yield record
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
            parts.extend(frame(self._seal.sealed(payload)) for payload in self._encoded(record))
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
            yield b"E" + json.dumps([record.series, labels, value, timestamp_ms]).encode()
            return
        self._files[-1].saw(record)
        if isinstance(record, LoggedHistograms):
            yield _encoded_histograms(record)
            return
        layout = record.layout
        number = self._layouts.get(layout)
        if number is None:
            number = self._layouts[layout] = self._next_layout
            self._next_layout += 1
            yield _LAYOUT.pack(b"L", number, layout.group) + layout.ids.astype("<u4").tobytes()
        width = max(1, RECORD_VALUES // max(1, len(layout.ids)))
        for start in range(0, len(record.timestamps_ms), width):
            yield _encoded_samples(record, number, slice(start, start + width))

    def _open(self) -> None:
        self._number += 1
        path = self._directory / f"{self._number:08d}{SUFFIX}"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        sync_directory(self._directory)
        self._files.append(LogFile(path))
        self._layouts.clear()
        self._next_layout = 0
        self._size = 0

    def rotate(self) -> None:
        """The next commit begins a new file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove_sealed(self, sealed: dict[int, SealedUpTo]) -> None:
        """Remove files whose samples are all in synced segments, late ones too. `sealed`: of each group there is."""
        kept = []
        for position, log in enumerate(self._files):
            writing = self._fd >= 0 and position == len(self._files) - 1
            if writing or not log.sealed(sealed):
                kept.append(log)
            else:
                log.path.unlink(missing_ok=True)
        self._files = kept

    def close(self) -> None:
        self.rotate()


def _encoded_samples(record: LoggedSamples, number: int, cut: slice) -> bytes:
    timestamps, values = record.timestamps_ms[cut], record.values[:, cut].astype("<f8", copy=False)
    if len(timestamps) == 1 and not record.late:
        return _SAMPLES.pack(b"S", number, int(timestamps[0])) + values.tobytes()
    header = _TABLE.pack(b"U" if record.late else b"T", number, len(timestamps))
    return header + timestamps.astype("<i8", copy=False).tobytes() + values.tobytes()


def _encoded_histograms(record: LoggedHistograms) -> bytes:
    header = _HISTOGRAMS.pack(b"I" if record.late else b"H", record.group, len(record.series))
    places = np.array(record.series, "<u4").tobytes() + np.array(record.timestamps_ms, "<i8").tobytes()
    return header + places + histogram_codec.encode(record.histograms, compress=False)


def _decoded(raw: bytes, layouts: dict[int, Layout]) -> LogRecord:
    kind = raw[:1]
    if kind == b"S":
        _, number, timestamp_ms = _SAMPLES.unpack_from(raw)
        values = np.frombuffer(raw, "<f8", offset=_SAMPLES.size)[:, np.newaxis]
        return LoggedSamples(layouts[number], np.array([timestamp_ms], np.int64), values)
    if kind in (b"T", b"U"):
        _, number, rows = _TABLE.unpack_from(raw)
        timestamps = np.frombuffer(raw, "<i8", rows, _TABLE.size)
        values = np.frombuffer(raw, "<f8", offset=_TABLE.size + 8 * rows).reshape(-1, rows)
        return LoggedSamples(layouts[number], timestamps, values, kind == b"U")
    if kind in (b"H", b"I"):
        _, group, count = _HISTOGRAMS.unpack_from(raw)
        at = _HISTOGRAMS.size
        series = np.frombuffer(raw, "<u4", count, at).tolist()
        timestamps = np.frombuffer(raw, "<i8", count, at + 4 * count).tolist()
        histograms = histogram_codec.decode(raw[at + 12 * count :], compressed=False)
        return LoggedHistograms(group, tuple(series), tuple(timestamps), tuple(histograms), kind == b"I")
    if kind == b"E":
        series, labels, value, timestamp_ms = json.loads(raw[1:])
        return LoggedExemplar(series, Exemplar(tuple((name, text) for name, text in labels), value, timestamp_ms))
    raise CorruptLogError(f"a record of unknown kind {kind!r}; a newer version wrote this log")
