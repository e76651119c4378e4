"""
Merging the small chunks of a finished segment file into long ones, beside the writing thread.

Samples are sealed minutes at a time, so a file of two hours has some thirty chunks of each target; a query of a day
would read hundreds. What a chunk costs to read hardly depends on how many rows it has (80 µs for 16 rows, 130 µs for
480, measured), and long ones compress better.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from collector.storage.durable_file import write_all
from collector.storage.metrics.chunk import encode_strip, encode_timestamps
from collector.storage.metrics.group import chunk_piece, overlaid
from collector.storage.metrics.histogram_head import merged
from collector.storage.metrics.segment import Chunk, StripCache, chunk_bytes, histogram_blob
from collector.storage.metrics.strips import MetricOf, arranged

CHUNK_ROWS = 2048  # more in one chunk would make a strip of 32 series over 512 KB, all unpacked for one of its rows
_CACHE_BYTES = 4 * 1024 * 1024  # strips of one target that two neighbours both need


class MergeStopped(Exception):  # noqa: N818  (no error: the store closes)
    """The merge was told to stop; the draft is incomplete."""


Pause = Callable[[], None]  # called often; may wait, and raises MergeStopped


def worthwhile(chunks: Sequence[Chunk]) -> bool:
    """Whether merging halves the number of chunks, at least."""
    rows: dict[tuple[int, bool], int] = {}
    for chunk in chunks:
        rows[chunk.group, chunk.histograms] = rows.get((chunk.group, chunk.histograms), 0) + chunk.rows
    return len(chunks) >= 2 * sum(-(-each // CHUNK_ROWS) for each in rows.values())


def write_merged(path: Path, chunks: Sequence[Chunk], metric_of: MetricOf, pause: Pause) -> None:
    """
    Write the samples of `chunks` to a new segment file, synced.

    Args:
        chunks: All of one segment, in the order of writing: of two samples at one time the earlier chunk's stays.

    Raises:
        CorruptChunkError: a chunk cannot be read.
        MergeStopped: `pause` said so.
    """
    groups: dict[tuple[int, bool], list[Chunk]] = {}
    for chunk in chunks:
        groups.setdefault((chunk.group, chunk.histograms), []).append(chunk)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for (_, histograms), members in groups.items():
            for data in _histograms(members, pause) if histograms else _floats(members, metric_of, pause):
                write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _floats(chunks: list[Chunk], metric_of: MetricOf, pause: Pause) -> Iterator[bytes]:
    timestamps = np.unique(np.concatenate([chunk.timestamps() for chunk in chunks]))
    cache = StripCache(_CACHE_BYTES)
    for start in range(0, len(timestamps), CHUNK_ROWS):
        part = timestamps[start : start + CHUNK_ROWS]
        low, high = int(part[0]), int(part[-1])
        here = [chunk for chunk in chunks if chunk.max_ms >= low and chunk.min_ms <= high]
        ids = np.unique(np.concatenate([chunk.columns.ids for chunk in here]))
        order, sizes = arranged(ids, len(part), metric_of)
        ids = ids[order]
        blobs = [encode_timestamps(part)]
        for wanted in np.split(ids, np.cumsum(sizes)[:-1]):
            pause()
            pieces = [piece for chunk in here if (piece := chunk_piece(chunk, wanted, low, high, cache))]
            blobs.append(encode_strip(overlaid(len(wanted), part, pieces)))
        yield chunk_bytes(chunks[0].segment.seal, chunks[0].group, ids, len(part), (low, high), blobs, sizes)[2]


def _histograms(chunks: list[Chunk], pause: Pause) -> Iterator[bytes]:
    ids = np.unique(np.concatenate([chunk.columns.ids for chunk in chunks]))
    blobs, rows = [], 0
    for number in ids:
        pause()
        parts = [chunk.histogram_row(int(column)) for chunk in chunks for column in chunk.columns.find(number[None])[1]]
        row = merged(parts)
        rows = max(rows, len(row.timestamps_ms))
        blobs.append(histogram_blob(row))
    bounds = (min(chunk.min_ms for chunk in chunks), max(chunk.max_ms for chunk in chunks))
    yield chunk_bytes(chunks[0].segment.seal, chunks[0].group, ids, rows, bounds, blobs, None)[2]
