"""The samples of one target: sealed chunks, oldest first, then the head. Chunk rows are older than head rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.model.series import ABSENT, ABSENT_BITS, Block, Labels
from collector.storage.metrics.head import Head
from collector.storage.metrics.segment import Chunk, StripCache
from collector.storage.metrics.wal import Layout, LoggedSamples


class Piece(NamedTuple):
    """A rectangle of an answer: which of the wanted series, at which timestamps, and the values."""

    places: NDArray[np.intp]
    timestamps_ms: NDArray[np.int64]
    values: NDArray[np.float64]


class Group:
    def __init__(self, number: int, target: str) -> None:
        self.number = number
        self.target = target
        self.head = Head()
        self.chunks: list[Chunk] = []
        self.sealed_ms = -1  # samples up to here are in segments; later ones may still come in any order
        self._columns: tuple[Layout, int, NDArray[np.intp]] | None = None  # of the layout that came last

    @property
    def empty(self) -> bool:
        return not self.chunks and not self.head.rows

    def apply(self, record: LoggedSamples) -> int:
        """Put logged samples into the head, under the store's lock. Returns how many were there already."""
        if self._columns is not None and self._columns[:2] == (record.layout, self.head.epoch):
            columns = self._columns[2]
        else:
            columns = self.head.columns_of(record.layout.ids)
            self._columns = (record.layout, self.head.epoch, columns)
        return self.head.put(record.timestamp_ms, columns, record.values)

    def add_chunk(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        self.sealed_ms = max(self.sealed_ms, chunk.max_ms)

    def chunks_between(self, min_ms: int, max_ms: int) -> list[Chunk]:
        return [chunk for chunk in self.chunks if chunk.max_ms >= min_ms and chunk.min_ms <= max_ms]

    def head_piece(self, ids: NDArray[np.uint32], min_ms: int, max_ms: int) -> Piece | None:
        """Copied, so that it may be used without the lock."""
        low, high = _bounds(self.head.timestamps, min_ms, max_ms)
        if low == high:
            return None
        places, columns = self.head.find(ids)
        if not len(places):
            return None
        values = np.take(self.head.values[:, low:high], columns, axis=0)
        return Piece(places, self.head.timestamps[low:high].copy(), values)

    def seen_between(self, ids: NDArray[np.uint32], min_ms: int, max_ms: int) -> NDArray[np.bool_]:
        """Which of the series have samples: exact in the head, to the length of a chunk before it."""
        seen = np.zeros(len(ids), np.bool_)
        for columns in {chunk.columns for chunk in self.chunks_between(min_ms, max_ms)}:
            seen[columns.find(ids)[0]] = True
        piece = self.head_piece(ids, min_ms, max_ms)
        if piece is not None:
            seen[piece.places] |= (piece.values.view(np.uint64) != ABSENT_BITS).any(axis=1)
        return seen


def chunk_piece(chunk: Chunk, ids: NDArray[np.uint32], min_ms: int, max_ms: int, cache: StripCache) -> Piece | None:
    places, columns = chunk.columns.find(ids)
    if not len(places):
        return None
    timestamps = chunk.timestamps()
    low, high = _bounds(timestamps, min_ms, max_ms)
    if low == high:
        return None
    return Piece(places, timestamps[low:high], chunk.values(columns, cache)[:, low:high])


def joined(labels: tuple[Labels, ...], pieces: list[Piece]) -> Block | None:
    """One block of pieces in the order of time; series without a sample are left out. None if nothing remains."""
    if not pieces:
        return None
    if len(pieces) == 1 and len(pieces[0].places) == len(labels):
        timestamps, values = pieces[0].timestamps_ms, np.ascontiguousarray(pieces[0].values)
    else:
        timestamps = np.concatenate([piece.timestamps_ms for piece in pieces])
        values = np.full((len(labels), len(timestamps)), ABSENT)
        start = 0
        for piece in pieces:
            end = start + len(piece.timestamps_ms)
            values[piece.places, start:end] = piece.values
            start = end
    return _without_empty(labels, timestamps, values)


def _without_empty(
    labels: tuple[Labels, ...], timestamps: NDArray[np.int64], values: NDArray[np.float64]
) -> Block | None:
    bits = values.view(np.uint64)
    doubtful = np.flatnonzero((bits[:, 0] == ABSENT_BITS) & (bits[:, -1] == ABSENT_BITS))
    empty = doubtful[(bits[doubtful] == ABSENT_BITS).all(axis=1)] if len(doubtful) else doubtful
    if not len(empty):
        return Block(labels, timestamps, values)
    kept = np.setdiff1d(np.arange(len(labels)), empty, assume_unique=True)
    if not len(kept):
        return None
    return Block(tuple(labels[place] for place in kept.tolist()), timestamps, values[kept])


def _bounds(timestamps: NDArray[np.int64], min_ms: int, max_ms: int) -> tuple[int, int]:
    low, high = np.searchsorted(timestamps, [min_ms, max_ms + 1])
    return int(low), max(int(low), int(high))
