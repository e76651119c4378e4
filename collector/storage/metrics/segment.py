"""
Segment files: sealed, compressed chunks, written once and read by position.

A chunk is a header frame (see framing.py) and behind it the blobs it lists, each sealed (see seal.py). At start only
headers are read. A chunk that a crash tore is at a file's end, and the log still has its samples: it goes only after
the segment is synced.

A chunk of floats has one blob for the timestamps, which its series share, and one for each strip of series. A chunk of
native histograms has one for each series: timestamps and histograms.
"""

from __future__ import annotations

import os
import struct
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.errors import CollectorError
from collector.storage.durable_file import sync_directory, write_all
from collector.storage.encryption import EncryptionError
from collector.storage.framing import HEADER_BYTES, frame, frames
from collector.storage.metrics import histogram_codec
from collector.storage.metrics.chunk import (
    decode_strip,
    decode_timestamps,
    encode_strip,
    encode_timestamps,
)
from collector.storage.metrics.columns import ColumnSet
from collector.storage.metrics.histogram_head import HistogramRow
from collector.storage.metrics.strips import former_sizes
from collector.storage.seal import Seal

SUFFIX = ".segment"
DRAFT_SUFFIX = ".merging"
_FIXED = struct.Struct("<IIIIqq")  # group, rows, series, blobs, min_ms, max_ms
_BLOB = struct.Struct("<II")  # length, CRC-32
_HISTOGRAMS = 1 << 31  # in the group's number: this chunk holds native histograms
_SIZED = 1 << 30  # there, too: u16 for each strip, how many series it has; a former chunk has strips of equal size
_TIMESTAMPS = -1  # in place of a strip's number, in the cache
_ROW = struct.Struct("<II")  # of a series of histograms: how many, bytes of timestamps


class CorruptChunkError(CollectorError):
    """A chunk on disk is not what was written: file and offset are named."""


class StripCache:
    """
    Unpacked strips and timestamps, the least recently used leave first. Rules ask for the same five minutes every
    second, an open dashboard for the same hours; what nobody asks for any more goes, see `forget_idle`.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[tuple[int, int], tuple[NDArray[Any], int]] = OrderedDict()  # and when last used
        self._round = 0
        self.nbytes = 0

    def get(self, key: tuple[int, int]) -> NDArray[Any] | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept[key] = (found[0], self._round)
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: tuple[int, int], array: NDArray[Any]) -> None:
        if key in self._kept or array.nbytes > self._limit:
            return
        self._kept[key] = (array, self._round)
        self.nbytes += array.nbytes
        while self.nbytes > self._limit:
            self._drop_oldest()

    def forget_idle(self) -> None:
        """Drop what nobody has asked for since the last but one call."""
        while self._kept and next(iter(self._kept.values()))[1] < self._round:
            self._drop_oldest()
        self._round += 1

    def _drop_oldest(self) -> None:
        self.nbytes -= self._kept.popitem(last=False)[1][0].nbytes


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    segment: Segment
    serial: int  # of the process, for the cache
    group: int
    rows: int
    min_ms: int
    max_ms: int
    columns: ColumnSet
    blobs: NDArray[np.uint32]  # [1 + strips or series, 2]: length and CRC-32
    offset: int  # of the first blob
    histograms: bool
    strips: NDArray[np.int64]  # [strips + 1]: the first column of each, and how many columns there are

    def timestamps(self, cache: StripCache | None = None) -> NDArray[np.int64]:
        key = (self.serial, _TIMESTAMPS)
        times: NDArray[np.int64] | None = cache.get(key) if cache is not None else None
        if times is None:
            try:
                times = decode_timestamps(self._blob(0, self.offset), rows=self.rows)
            except ValueError as error:
                raise CorruptChunkError(f"{self.segment.path} at byte {self.offset}: {error}") from error
            if cache is not None:
                cache.put(key, times)
        return times

    def values(self, columns: NDArray[np.intp], rows: slice, cache: StripCache) -> NDArray[np.float64]:
        """float64[len(columns), len(rows)] of these columns, copied."""
        strips = np.searchsorted(self.strips, columns, side="right") - 1
        first = int(strips[0])
        if (strips == first).all():
            return np.asarray(np.take(self._strip(first, cache)[:, rows], columns - self.strips[first], axis=0))
        out = np.empty((len(columns), len(range(*rows.indices(self.rows)))))
        for strip in np.unique(strips).tolist():
            here = np.flatnonzero(strips == strip)
            values = self._strip(strip, cache)[:, rows]
            low, high = int(here[0]), int(here[-1]) + 1
            if high - low == len(here):  # a metric's series lie side by side, so mostly
                np.take(values, columns[low:high] - self.strips[strip], axis=0, out=out[low:high], mode="clip")
            else:
                out[here] = values[columns[here] - self.strips[strip]]
        return out

    def histogram_row(self, column: int) -> HistogramRow:
        """The native histograms of one series; for a chunk of them only."""
        offset = self.offset + int(self.blobs[:column, 0].sum())
        data = self._blob(column, offset)
        try:
            rows, length = _ROW.unpack_from(data)
            at = _ROW.size + length
            timestamps = decode_timestamps(data[_ROW.size : at], rows=rows)
            return HistogramRow(timestamps.tolist(), histogram_codec.decode(data[at:], compressed=True))
        except (ValueError, struct.error) as error:
            raise CorruptChunkError(f"{self.segment.path} at byte {offset}: {error}") from error

    def _strip(self, strip: int, cache: StripCache) -> NDArray[np.float64]:
        key = (self.serial, strip)
        values: NDArray[np.float64] | None = cache.get(key)
        if values is None:
            offset = self.offset + int(self.blobs[: strip + 1, 0].sum())
            series = int(self.strips[strip + 1] - self.strips[strip])
            try:
                values = decode_strip(self._blob(strip + 1, offset), series=series, rows=self.rows)
            except ValueError as error:
                raise CorruptChunkError(f"{self.segment.path} at byte {offset}: {error}") from error
            cache.put(key, values)
        return values

    def _blob(self, number: int, offset: int) -> bytes:
        length, crc = self.blobs[number].tolist()
        data = self.segment.read(offset, length)
        if len(data) != length or zlib.crc32(data) != crc:
            raise CorruptChunkError(f"{self.segment.path} at byte {offset}: checksum of {length} bytes is wrong")
        try:
            return self.segment.seal.opened(data)
        except EncryptionError as error:
            raise CorruptChunkError(f"{self.segment.path} at byte {offset}: {error}") from error

    def contents(self) -> list[bytes]:
        """
        Every blob, opened.

        Raises:
            CorruptChunkError: one is not what was written.
        """
        ends = self.offset + np.cumsum(self.blobs[:, 0], dtype=np.int64)
        offsets = [self.offset, *ends[:-1].tolist()]
        return [self._blob(number, offset) for number, offset in enumerate(offsets)]

    def intact(self) -> bool:
        try:
            self.contents()
        except CorruptChunkError:
            return False
        return True


class Segment:
    """One file. Its descriptor closes when nothing refers to it any more, so a query may outlive the file's removal."""

    def __init__(self, path: Path, seal: Seal, *, create: bool = False) -> None:
        self.path = path
        self.seal = seal
        self._fd = os.open(path, (os.O_RDWR | os.O_CREAT | os.O_EXCL if create else os.O_RDONLY) | os.O_CLOEXEC, 0o600)
        self._close = weakref.finalize(self, os.close, self._fd)
        self.size = os.fstat(self._fd).st_size
        self.max_ms = -1
        self.created_ms = 0

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def append(self, data: bytes) -> None:
        os.lseek(self._fd, self.size, os.SEEK_SET)
        write_all(self._fd, data)
        self.size += len(data)

    def sync(self) -> None:
        os.fsync(self._fd)

    def cut(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        self.size = size


class SegmentStore:
    """All segment files of a store, oldest first; new chunks go to the newest."""

    def __init__(self, directory: Path, seal: Seal, *, roll_bytes: int, roll_ms: int) -> None:
        self._directory = directory
        self._seal = seal
        self._roll_bytes = roll_bytes
        self._roll_ms = roll_ms
        self._segments: list[Segment] = []
        self._writing: Segment | None = None
        self._number = 0
        self._serial = 0
        self._column_sets: weakref.WeakValueDictionary[bytes, ColumnSet] = weakref.WeakValueDictionary()
        self.torn = 0  # chunks cut off at start

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self._segments)

    def load(self) -> Iterator[Chunk]:
        """Open every file and yield its chunks in the order of writing. The newest file's are checked in full."""
        for draft in self._directory.glob(f"*{DRAFT_SUFFIX}"):
            draft.unlink()  # of a merge that did not end
        paths = sorted(self._directory.glob(f"*{SUFFIX}"))
        for path in paths:
            segment = Segment(path, self._seal)
            self._number = int(path.stem)
            self._segments.append(segment)
            yield from self._chunks(segment, check=path == paths[-1])

    def _chunks(self, segment: Segment, *, check: bool) -> Iterator[Chunk]:
        offset = 0
        while offset < segment.size:
            start = segment.read(offset, HEADER_BYTES)
            length = min(int.from_bytes(start[:4], "little"), segment.size - offset)
            header = next(frames(start + segment.read(offset + HEADER_BYTES, length)), None) if length else None
            plain = self._seal.opened(bytes(header[0])) if header else b""
            chunk = self._parsed(segment, plain, offset + header[1]) if header else None
            end = chunk.offset + int(chunk.blobs[:, 0].sum()) if chunk else 0
            if chunk is None or end > segment.size or (check and not chunk.intact()):
                self.torn += 1
                return
            segment.max_ms = max(segment.max_ms, chunk.max_ms)
            yield chunk
            offset = end

    def _parsed(self, segment: Segment, header: bytes, offset: int) -> Chunk:
        group, rows, series, count, min_ms, max_ms = _FIXED.unpack_from(header)
        blobs = np.frombuffer(header, "<u4", 2 * count, _FIXED.size).reshape(count, 2)
        end = _FIXED.size + _BLOB.size * count
        if group & _SIZED:
            sizes = np.frombuffer(header, "<u2", count - 1, end)
            end += sizes.nbytes
        else:
            sizes = former_sizes(series=series, strips=count - 1, rows=rows)
        ids = header[end:]
        if len(ids) != 4 * series:
            raise CorruptChunkError(f"{segment.path} before byte {offset}: {len(ids)} bytes of ids for {series} series")
        self._serial += 1
        columns = self._columns(np.frombuffer(ids, "<u4"))
        strips = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        histograms, group = bool(group & _HISTOGRAMS), group & ~(_HISTOGRAMS | _SIZED)
        return Chunk(segment, self._serial, group, rows, min_ms, max_ms, columns, blobs, offset, histograms, strips)

    def _columns(self, ids: NDArray[np.uint32]) -> ColumnSet:
        key = ids.tobytes()
        columns = self._column_sets.get(key)
        if columns is None:
            columns = self._column_sets[key] = ColumnSet(ids)
        return columns

    def write(
        self,
        group: int,
        ids: NDArray[np.uint32],
        sizes: NDArray[np.int64],
        timestamps: NDArray[np.int64],
        values: NDArray[np.float64],
    ) -> Chunk:
        """
        Append a chunk; durable only after `sync`. sizes: of the strips, see strips.py; timestamps int64[n] strictly
        increasing; values float64[s, n].
        """
        blobs = [encode_timestamps(timestamps), *map(encode_strip, np.split(values, np.cumsum(sizes)[:-1]))]
        bounds = (int(timestamps[0]), int(timestamps[-1]))
        return self._append(bounds[1], *chunk_bytes(self._seal, group, ids, len(timestamps), bounds, blobs, sizes))

    def write_histograms(self, group: int, rows: dict[int, HistogramRow]) -> Chunk:
        """As `write`. rows: by series id, none empty."""
        times = [row.timestamps_ms for row in rows.values()]
        bounds = (min(each[0] for each in times), max(each[-1] for each in times))
        blobs = [histogram_blob(row) for row in rows.values()]
        ids = np.array(list(rows), np.uint32)
        return self._append(bounds[1], *chunk_bytes(self._seal, group, ids, max(map(len, times)), bounds, blobs, None))

    def _append(self, newest_ms: int, header: bytes, blobs_at: int, data: bytes) -> Chunk:
        segment = self._open_for(newest_ms)
        start = segment.size
        try:
            segment.append(data)
        except OSError:
            segment.cut(start)
            raise
        segment.max_ms = max(segment.max_ms, newest_ms)
        return self._parsed(segment, header, start + blobs_at)

    def _open_for(self, newest_ms: int) -> Segment:
        segment = self._writing
        if segment is None or segment.size > self._roll_bytes or newest_ms - segment.created_ms > self._roll_ms:
            if segment is not None:
                segment.sync()
            self._number += 1
            segment = Segment(self._directory / f"{self._number:08d}{SUFFIX}", self._seal, create=True)
            segment.created_ms = newest_ms
            sync_directory(self._directory)
            self._segments.append(segment)
            self._writing = segment
        return segment

    def sync(self) -> None:
        if self._writing is not None:
            self._writing.sync()

    def remove_old(self, *, before_ms: int, limit_bytes: int) -> set[Segment]:
        """Remove files whose samples are all older than `before_ms`, and the oldest ones while over `limit_bytes`."""
        removed: set[Segment] = set()
        total = self.size
        for segment in list(self._segments):
            if segment is self._writing or (segment.max_ms >= before_ms and total <= limit_bytes):
                continue
            segment.path.unlink()
            total -= segment.size
            removed.add(segment)
            self._segments.remove(segment)
        if removed:
            sync_directory(self._directory)
        return removed

    def finished(self) -> list[Segment]:
        """Those that nothing is appended to any more."""
        return [segment for segment in self._segments if segment is not self._writing]

    def draft_path(self, segment: Segment) -> Path:
        return segment.path.with_suffix(DRAFT_SUFFIX)

    def replace(self, segment: Segment, draft: Path) -> list[Chunk] | None:
        """
        Put a synced draft in the place of a segment. Queries that read the old one still can.

        Returns:
            Its chunks, or None if the segment was removed meanwhile: then the draft is, too.
        """
        if segment not in self._segments:
            draft.unlink()
            return None
        draft.replace(segment.path)
        sync_directory(self._directory)
        fresh = Segment(segment.path, self._seal)
        self._segments[self._segments.index(segment)] = fresh
        return list(self._chunks(fresh, check=False))


def chunk_bytes(
    seal: Seal,
    group: int,
    ids: NDArray[np.uint32],
    rows: int,
    bounds: tuple[int, int],
    blobs: list[bytes],
    sizes: NDArray[np.int64] | None,
) -> tuple[bytes, int, bytes]:
    """
    A chunk's header, and the chunk as a file holds it: where in it the first blob begins, and all of it.

    Args:
        bounds: Of its timestamps, inclusive.
        sizes: Of the strips; None for a chunk of histograms.
    """
    kind = _HISTOGRAMS if sizes is None else _SIZED
    blobs = [seal.sealed(blob) for blob in blobs]
    header = b"".join(
        [
            _FIXED.pack(group | kind, rows, len(ids), len(blobs), *bounds),
            *(_BLOB.pack(len(blob), zlib.crc32(blob)) for blob in blobs),
            b"" if sizes is None else sizes.astype("<u2").tobytes(),
            ids.astype("<u4").tobytes(),
        ]
    )
    framed = frame(seal.sealed(header))
    return header, len(framed), b"".join([framed, *blobs])


def histogram_blob(row: HistogramRow) -> bytes:
    timestamps = encode_timestamps(np.array(row.timestamps_ms, np.int64))
    head = _ROW.pack(len(row.timestamps_ms), len(timestamps))
    return head + timestamps + histogram_codec.encode(row.histograms, compress=True)
