"""
Reading stored series: the SeriesSource of the metric store.

Under the lock only what is in memory is copied; what is on disk is read beside it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.model.histogram import HistogramSeries
from collector.model.labels import Labels, Matcher
from collector.model.series import Block, Exemplar, LatestVector
from collector.storage.metrics.exemplars import ExemplarRings
from collector.storage.metrics.group import Group, Piece, chunk_piece, joined
from collector.storage.metrics.histogram_head import HistogramRow, merged
from collector.storage.metrics.index import InvertedIndex
from collector.storage.metrics.latest import LatestSamples
from collector.storage.metrics.segment import Chunk, CorruptChunkError, StripCache
from collector.storage.metrics.table import SeriesTable

_log = logging.getLogger(__name__)

# The series of a dashboard over some hours: 8 million samples, most of them unpacked in a third of a query's time. It
# is memory only while somebody asks: what nobody asked for is dropped every minute.
CACHE_BYTES = 64 * 1024 * 1024
MATCH_CACHE = 500  # sets of matchers: rules and dashboards ask for the same ones again and again


class _Match(NamedTuple):
    """The series of one target that satisfy some matchers."""

    group: Group
    ids: NDArray[np.uint32]
    labels: tuple[Labels, ...]


_Plan = tuple[_Match, list[Chunk], list[Piece]]


@dataclass(frozen=True)
class _Matches:
    """All series that satisfy some matchers."""

    parts: tuple[_Match, ...]  # by target

    @cached_property
    def ids(self) -> NDArray[np.uint32]:
        """In the order of the parts."""
        return np.concatenate([part.ids for part in self.parts]) if self.parts else np.empty(0, np.uint32)

    @cached_property
    def labels(self) -> tuple[Labels, ...]:
        return tuple(labels for part in self.parts for labels in part.labels)

    @cached_property
    def part_of(self) -> NDArray[np.intp]:
        return np.repeat(np.arange(len(self.parts)), [len(part.ids) for part in self.parts])


class StoredSeries:
    """
    Queries may run in any thread.

    `index`, `latest` and `exemplars` are kept by the writing thread, under the lock.
    """

    def __init__(self, table: SeriesTable, lock: threading.RLock, *, exemplar_limit: int) -> None:
        self.corrupt_chunks = 0  # left out of answers
        self._table = table
        self._lock = lock
        self._index = InvertedIndex()
        self._latest = LatestSamples()
        self._exemplars = ExemplarRings(limit=exemplar_limit)
        self._cache = StripCache(CACHE_BYTES)
        self._matches: dict[tuple[Matcher, ...], _Matches] = {}

    def _add_series(self, series: Iterable[tuple[int, Labels]]) -> None:
        """By rising id, greater than all before."""
        for number, labels in series:
            self._index.add(number, labels)
        self._matches.clear()

    def _forget_series(self) -> None:
        """Those that the table does not have any more."""
        self._index = InvertedIndex()
        self._add_series(sorted(self._table.items()))

    def select(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Block]:
        """
        One block for each target that has matching samples in [min_ms, max_ms], copied.

        A chunk that is corrupt on disk is left out, logged and counted.

        Raises:
            BadRequestError: a regular expression does not compile.
        """
        with self._lock:
            plans = self._planned(self._match(matchers).parts, min_ms, max_ms)
        return self._blocks(plans, min_ms, max_ms)

    def latest(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> tuple[LatestVector, list[Block]]:
        """
        The last sample in [min_ms, max_ms] of each matching series: most of them at once, the others' in blocks.

        Raises:
            BadRequestError: a regular expression does not compile.
        """
        with self._lock:
            found = self._match(matchers)
            values, times, inside, doubtful = self._latest.at(found.ids, min_ms, max_ms)
            plans = self._planned(_part_of(found, doubtful), min_ms, max_ms) if doubtful.any() else []
        if inside.all():
            return LatestVector(found.labels, values, times), []
        labels = tuple(found.labels[place] for place in np.flatnonzero(inside).tolist())
        return LatestVector(labels, values[inside], times[inside]), self._blocks(plans, min_ms, max_ms)

    @staticmethod
    def _planned(matches: Iterable[_Match], min_ms: int, max_ms: int) -> list[_Plan]:
        """What is to be read, under the lock: heads are copied, chunks only named."""
        plans = []
        for match in matches:
            chunks = match.group.chunks_between(min_ms, max_ms)
            heads = match.group.head_pieces(match.ids, min_ms, max_ms)
            if chunks or heads:
                plans.append((match, chunks, heads))
        return plans

    def _blocks(self, plans: Iterable[_Plan], min_ms: int, max_ms: int) -> list[Block]:
        blocks = []
        for match, chunks, heads in plans:
            pieces = [piece for chunk in chunks if (piece := self._read(chunk, match.ids, min_ms, max_ms))]
            block = joined(match.labels, pieces + heads)
            if block is not None:
                blocks.append(block)
        return blocks

    def select_histograms(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[HistogramSeries]:
        """
        The native histograms of matching series in [min_ms, max_ms], sorted by labels; stale ones too.

        Raises:
            BadRequestError: a regular expression does not compile.
        """
        plans: list[tuple[_Match, list[Chunk], dict[int, HistogramRow]]] = []
        with self._lock:
            for match in self._match(matchers).parts:
                if not match.group.has_histograms:
                    continue
                chunks = match.group.chunks_between(min_ms, max_ms, histograms=True)
                heads = match.group.histogram_rows(match.ids, min_ms, max_ms)
                if chunks or heads:
                    plans.append((match, chunks, heads))
        found = []
        for match, chunks, heads in plans:
            rows: dict[int, list[HistogramRow]] = {}
            for chunk in chunks:
                for place, row in self._read_histograms(chunk, match.ids, min_ms, max_ms):
                    rows.setdefault(place, []).append(row)
            for place, number in enumerate(match.ids.tolist()):
                every = rows.get(place, []) + ([heads[number]] if number in heads else [])
                row = merged(every) if every else HistogramRow()
                if row.timestamps_ms:
                    times = np.array(row.timestamps_ms, np.int64)
                    found.append(HistogramSeries(match.labels[place], times, tuple(row.histograms)))
        return sorted(found, key=lambda series: series.labels)

    def series(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Labels]:
        """Sorted. Before the last minutes, a series counts as there for the whole of each chunk that it is in."""
        return sorted(self._seen(matchers, min_ms, max_ms))

    def label_names(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]:
        return sorted({name for labels in self._seen(matchers, min_ms, max_ms) for name, _ in labels})

    def label_values(self, name: str, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]:
        seen = self._seen(matchers, min_ms, max_ms)
        return sorted({value for labels in seen for label, value in labels if label == name})

    def exemplars(
        self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int
    ) -> list[tuple[Labels, list[Exemplar]]]:
        """The last exemplars of each matching series that has some in the range, by labels; oldest first."""
        with self._lock:
            found = [
                (labels, kept)
                for match in self._match(matchers).parts
                for number, labels in zip(match.ids.tolist(), match.labels, strict=True)
                if (kept := self._exemplars.between(number, min_ms=min_ms, max_ms=max_ms))
            ]
        return sorted(found)

    def _match(self, matchers: Sequence[Matcher]) -> _Matches:
        key = tuple(matchers)
        found = self._matches.get(key)
        if found is None:
            by_group: dict[int, list[int]] = {}
            for number in self._index.match(key).tolist():
                by_group.setdefault(self._table.owner_of(number), []).append(number)
            parts = tuple(
                _Match(
                    self._table.groups[group],
                    np.array(numbers, np.uint32),
                    tuple(self._table.labels_of(number) for number in numbers),
                )
                for group, numbers in by_group.items()
            )
            found = _Matches(parts)
            if len(self._matches) >= MATCH_CACHE:
                self._matches.clear()
            self._matches[key] = found
        return found

    def _read(self, chunk: Chunk, ids: NDArray[np.uint32], min_ms: int, max_ms: int) -> Piece | None:
        try:
            with self._lock:  # the cache is shared
                return chunk_piece(chunk, ids, min_ms, max_ms, self._cache)
        except (CorruptChunkError, OSError) as error:
            self._left_out(error)
            return None

    def _read_histograms(
        self, chunk: Chunk, ids: NDArray[np.uint32], min_ms: int, max_ms: int
    ) -> Iterator[tuple[int, HistogramRow]]:
        places, columns = chunk.columns.find(ids)
        for place, column in zip(places.tolist(), columns.tolist(), strict=True):
            try:
                yield place, chunk.histogram_row(column).between(min_ms, max_ms)
            except (CorruptChunkError, OSError) as error:
                self._left_out(error)

    def _left_out(self, error: Exception) -> None:
        self.corrupt_chunks += 1
        _log.error("left out of an answer: %s", error)

    def _seen(self, matchers: Sequence[Matcher], min_ms: int, max_ms: int) -> list[Labels]:
        with self._lock:
            return [
                match.labels[place]
                for match in self._match(matchers).parts
                for place in np.flatnonzero(match.group.seen_between(match.ids, min_ms, max_ms)).tolist()
            ]


def _part_of(matches: _Matches, wanted: NDArray[np.bool_]) -> Iterator[_Match]:
    """Some of the series."""
    if wanted.all():
        yield from matches.parts
        return
    chosen = np.flatnonzero(wanted)
    first = np.searchsorted(matches.part_of, np.arange(len(matches.parts)))
    for part in np.unique(matches.part_of[chosen]).tolist():
        match = matches.parts[part]
        places = chosen[matches.part_of[chosen] == part] - first[part]
        if len(places) == len(match.ids):
            yield match
        else:
            yield _Match(match.group, match.ids[places], tuple(match.labels[place] for place in places.tolist()))
