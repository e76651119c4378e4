"""The samples of one target: sealed chunks, and heads of what is not sealed yet."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.model.series import ABSENT, ABSENT_BITS, Block, Labels
from collector.storage.metrics.head import Head
from collector.storage.metrics.histogram_head import HistogramHead, HistogramRow
from collector.storage.metrics.put import Put
from collector.storage.metrics.segment import Chunk, Segment, StripCache
from collector.storage.metrics.wal import Layout, LoggedSamples, SealedUpTo


class Piece(NamedTuple):
    """A rectangle of an answer: which of the wanted series, at which timestamps, and the values."""

    places: NDArray[np.intp]
    timestamps_ms: NDArray[np.int64]
    values: NDArray[np.float64]


class Group:
    """One writer; readers hold the store's lock."""

    def __init__(self, number: int, target: str) -> None:
        self.number = number
        self.target = target
        self.head = Head()  # later than what is sealed
        self.late = Head()  # not later than that, and not sealed itself yet
        self.histograms = HistogramHead()  # both kinds
        self.chunks: list[Chunk] = []  # in the order of writing; those of late samples lie over others
        self.sealed = SealedUpTo(-1, -1)
        self.series = 0  # how many belong to it
        self._columns: tuple[Layout, Head, int, NDArray[np.intp]] | None = None  # of the layout that came last

    @property
    def empty(self) -> bool:
        return not (self.chunks or self.head.rows or self.late.rows or self.histograms.rows)

    @property
    def has_histograms(self) -> bool:
        """Native ones, of any time."""
        return bool(self.histograms.rows) or self.sealed.histograms_ms >= 0

    @property
    def sealed_safely(self) -> SealedUpTo:
        """As `sealed`, unless samples of that age wait in the heads: then the log must keep them."""
        floats, histograms = self.sealed
        late = any(row.timestamps_ms[0] <= histograms for row in self.histograms.rows.values())
        return SealedUpTo(-1 if self.late.rows else floats, -1 if late else histograms)

    @property
    def nbytes(self) -> int:
        return self.head.nbytes + self.late.nbytes + self.histograms.nbytes

    def apply(self, record: LoggedSamples) -> Put:
        """Put logged samples into a head, under the store's lock."""
        head = self.late if record.late else self.head
        if self._columns is not None and self._columns[:3] == (record.layout, head, head.epoch):
            columns = self._columns[3]
        else:
            columns = head.columns_of(record.layout.ids)
            self._columns = (record.layout, head, head.epoch, columns)
        return head.put(record.timestamps_ms, columns, record.values)

    def add_chunk(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        floats, histograms = self.sealed
        if chunk.histograms:
            self.sealed = SealedUpTo(floats, max(histograms, chunk.max_ms))
        else:
            self.sealed = SealedUpTo(max(floats, chunk.max_ms), histograms)

    def replace_chunks(self, segment: Segment, fresh: list[Chunk]) -> None:
        """Put `fresh` in the place of the chunks of `segment`, which have the same samples."""
        places = [place for place, chunk in enumerate(self.chunks) if chunk.segment is segment]
        if places:
            self.chunks[places[0] : places[-1] + 1] = fresh

    def chunks_between(self, min_ms: int, max_ms: int, *, histograms: bool = False) -> list[Chunk]:
        return [
            chunk
            for chunk in self.chunks
            if chunk.histograms == histograms and chunk.max_ms >= min_ms and chunk.min_ms <= max_ms
        ]

    def head_pieces(self, ids: NDArray[np.uint32], min_ms: int, max_ms: int) -> list[Piece]:
        """Copied, so that they may be used without the lock."""
        pieces = (_head_piece(head, ids, min_ms, max_ms) for head in (self.late, self.head))
        return [piece for piece in pieces if piece is not None]

    def histogram_rows(self, ids: NDArray[np.uint32], min_ms: int, max_ms: int) -> dict[int, HistogramRow]:
        """By series id, copied."""
        rows = self.histograms.rows
        if not rows:
            return {}
        wanted = (number for number in ids.tolist() if number in rows)
        return {number: rows[number].between(min_ms, max_ms) for number in wanted}

    def seen_between(self, ids: NDArray[np.uint32], min_ms: int, max_ms: int) -> NDArray[np.bool_]:
        """Which of the series have samples: exact in the head, to the length of a chunk before it."""
        seen = np.zeros(len(ids), np.bool_)
        chunks = [chunk for chunk in self.chunks if chunk.max_ms >= min_ms and chunk.min_ms <= max_ms]
        for columns in {chunk.columns for chunk in chunks}:
            seen[columns.find(ids)[0]] = True
        for piece in self.head_pieces(ids, min_ms, max_ms):
            seen[piece.places] |= (piece.values.view(np.uint64) != ABSENT_BITS).any(axis=1)
        found = {number for number, row in self.histogram_rows(ids, min_ms, max_ms).items() if row.timestamps_ms}
        if found:
            seen |= np.isin(ids, np.array(sorted(found), np.uint32))
        return seen


def _head_piece(head: Head, ids: NDArray[np.uint32], min_ms: int, max_ms: int) -> Piece | None:
    if not head.rows:
        return None
    low, high = _bounds(head.timestamps, min_ms, max_ms)
    if low == high:
        return None
    places, columns = head.find(ids)
    if not len(places):
        return None
    values = np.take(head.values[:, low:high], columns, axis=0)
    return Piece(places, head.timestamps[low:high].copy(), values)


def chunk_piece(chunk: Chunk, ids: NDArray[np.uint32], min_ms: int, max_ms: int, cache: StripCache) -> Piece | None:
    places, columns = chunk.columns.find(ids)
    if not len(places):
        return None
    timestamps = chunk.timestamps(cache)
    low, high = _bounds(timestamps, min_ms, max_ms)
    if low == high:
        return None
    return Piece(places, timestamps[low:high], chunk.values(columns, slice(low, high), cache))


def joined(labels: tuple[Labels, ...], pieces: list[Piece]) -> Block | None:
    """
    One block of pieces, which may lie over one another: of two samples at one time that of the earlier piece stays.
    Series without a sample are left out. None if nothing remains.
    """
    if not pieces:
        return None
    if len(pieces) == 1 and len(pieces[0].places) == len(labels):
        return _without_empty(labels, pieces[0].timestamps_ms, np.ascontiguousarray(pieces[0].values))
    in_order = sorted(pieces, key=lambda piece: int(piece.timestamps_ms[0]))
    if any(one.timestamps_ms[-1] >= other.timestamps_ms[0] for one, other in itertools.pairwise(in_order)):
        timestamps = np.unique(np.concatenate([piece.timestamps_ms for piece in pieces]))
        return _without_empty(labels, timestamps, overlaid(len(labels), timestamps, pieces))
    timestamps = np.concatenate([piece.timestamps_ms for piece in in_order])
    values = np.empty((len(labels), len(timestamps)))
    start = 0
    for piece in in_order:
        end = start + len(piece.timestamps_ms)
        if len(piece.places) == len(labels):  # each of them once, in order
            values[:, start:end] = piece.values
        else:
            values[:, start:end] = ABSENT
            values[piece.places, start:end] = piece.values
        start = end
    return _without_empty(labels, timestamps, values)


def overlaid(series: int, timestamps: NDArray[np.int64], pieces: list[Piece]) -> NDArray[np.float64]:
    """float64[series, n]: pieces over one another, the earlier ones on top. `timestamps` has all of theirs."""
    values = np.full((series, len(timestamps)), ABSENT)
    for piece in reversed(pieces):
        cells = np.ix_(piece.places, np.searchsorted(timestamps, piece.timestamps_ms))
        given = piece.values.view(np.uint64)
        values[cells] = np.where(given == ABSENT_BITS, values[cells].view(np.uint64), given).view(np.float64)
    return values


def _without_empty(
    labels: tuple[Labels, ...], timestamps: NDArray[np.int64], values: NDArray[np.float64]
) -> Block | None:
    bits = values.view(np.uint64)
    open_ended = bits[:, 0] == ABSENT_BITS
    if not open_ended.any():
        return Block(labels, timestamps, values)
    doubtful = np.flatnonzero(open_ended & (bits[:, -1] == ABSENT_BITS))
    empty = doubtful[(bits[doubtful] == ABSENT_BITS).all(axis=1)] if len(doubtful) else doubtful
    if not len(empty):
        return Block(labels, timestamps, values)
    kept = np.setdiff1d(np.arange(len(labels)), empty, assume_unique=True)
    if not len(kept):
        return None
    return Block(tuple(labels[place] for place in kept.tolist()), timestamps, values[kept])


def _bounds(timestamps: NDArray[np.int64], min_ms: int, max_ms: int) -> tuple[int, int]:
    low = int(timestamps.searchsorted(min_ms))
    return low, max(low, int(timestamps.searchsorted(max_ms, side="right")))
