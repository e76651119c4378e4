"""A write request's samples as tables, one target each: what the metric store takes in fewest steps. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collector.model.histogram import NativeHistogram
from collector.model.labels import Labels
from collector.model.markers import ABSENT, ABSENT_BITS
from collector.model.series import Exemplar, SampleTable
from collector.receivers.remote_write_series import RemoteSeries

# A table holds a place for each series at each timestamp. With more than this many places for a sample, it is split.
MAX_PLACES_PER_SAMPLE = 4
REMEMBERED_LABELS = 1_000_000  # in all tuples that are kept, 8 bytes each
_PLAIN_NAN = np.array([np.nan]).view(np.uint64)[0]


@dataclass(slots=True)
class Samples:
    """What one request brings, series by series; every entry names its series by index."""

    series: Sequence[RemoteSeries]  # may repeat
    owners: NDArray[np.int64]  # [m], indices into `series`
    timestamps_ms: NDArray[np.int64]  # [m]
    values: NDArray[np.float64]  # [m]
    histograms: list[tuple[int, int, NativeHistogram]] = field(default_factory=list)  # (series, timestamp, histogram)
    exemplars: list[tuple[int, Exemplar]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Samples in the order of (target, series, timestamp)."""

    targets: NDArray[np.int64]
    slots: NDArray[np.int64]  # indices into the distinct series
    timestamps_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    origins: NDArray[np.int64]  # index into the samples; beyond them, into the histograms

    @property
    def at_once(self) -> bool:
        """Whether all have one timestamp; then each series stands once."""
        return bool((self.timestamps_ms == self.timestamps_ms[0]).all())

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> _Rows:
        return _Rows(
            self.targets[rows], self.slots[rows], self.timestamps_ms[rows], self.values[rows], self.origins[rows]
        )


class TableBuilder:
    """Remembers the label tuples it made: a store recognises those that it has seen by identity. For one thread."""

    def __init__(self) -> None:
        self._labels: dict[bytes, tuple[Labels, ...]] = {}
        self._held = 0  # labels in all of them

    def tables(self, samples: Samples) -> tuple[list[SampleTable], int]:
        """
        Returns:
            (tables, how many samples were left out because another value of that series at that timestamp came first).
        """
        distinct = _Distinct.of(samples.series)
        rows, conflicts = _without_repeats(_sorted(samples, distinct))
        extras = _Extras(samples, distinct)
        tables: list[SampleTable] = []
        bounds = np.searchsorted(rows.targets, np.arange(len(distinct.targets) + 1)).tolist()
        for target, (start, end) in enumerate(itertools.pairwise(bounds)):
            left = extras.exemplars_of(target)
            if end > start:
                pieces = _pieces(rows.take(slice(start, end)))
                tables.extend([self._table(target, distinct, piece, extras, left) for piece in pieces])
            if left:
                tables.append(self._exemplars_alone(target, distinct, left))
        return tables, conflicts

    def _table(
        self, target: int, distinct: _Distinct, rows: _Rows, extras: _Extras, exemplars: dict[int, list[Exemplar]]
    ) -> SampleTable:
        if rows.at_once:
            slots, timestamps, values = rows.slots, rows.timestamps_ms[:1], rows.values.reshape(-1, 1)
            places, columns = np.arange(len(slots)), np.zeros(len(slots), np.int64)
        else:
            slots, places = np.unique(rows.slots, return_inverse=True)
            timestamps, columns = np.unique(rows.timestamps_ms, return_inverse=True)
            values = np.full((len(slots), len(timestamps)), ABSENT)
            values[places, columns] = rows.values
        histograms = tuple(
            (int(places[row]), int(columns[row]), extras.histogram(int(rows.origins[row])))
            for row in np.flatnonzero(rows.origins >= extras.first).tolist()
        )
        found = tuple(
            (place, exemplar)
            for place, slot in enumerate(slots.tolist() if exemplars else ())
            for exemplar in exemplars.pop(slot, ())
        )
        labels = self._tuple(distinct, slots)
        return SampleTable(distinct.targets[target], labels, timestamps, values, found, histograms)

    def _exemplars_alone(self, target: int, distinct: _Distinct, left: dict[int, list[Exemplar]]) -> SampleTable:
        """Prometheus sends exemplars apart from samples."""
        slots = list(left)
        found = tuple((place, one) for place, slot in enumerate(slots) for one in left[slot])
        labels = self._tuple(distinct, np.array(slots, np.int64))
        return SampleTable(distinct.targets[target], labels, np.empty(0, np.int64), np.empty((len(slots), 0)), found)

    def _tuple(self, distinct: _Distinct, slots: NDArray[np.int64]) -> tuple[Labels, ...]:
        key = distinct.numbers[slots].tobytes()
        found = self._labels.get(key)
        if found is None:
            if self._held + len(slots) > REMEMBERED_LABELS:
                self._labels.clear()
                self._held = 0
            found = self._labels[key] = tuple([distinct.series[slot].labels for slot in slots.tolist()])
            self._held += len(slots)
        return found


@dataclass(frozen=True, slots=True)
class _Distinct:
    """The series of a request without repetition. A slot is an index into them."""

    series: list[RemoteSeries]
    numbers: NDArray[np.int64]  # [slots]
    slot_of: NDArray[np.int64]  # of each series as it was sent
    targets: list[str]
    target_of: NDArray[np.int64]  # [slots], indices into `targets`

    @classmethod
    def of(cls, sent: Sequence[RemoteSeries]) -> _Distinct:
        numbers, first, slot_of = np.unique(
            np.array([one.number for one in sent], np.int64), return_index=True, return_inverse=True
        )
        series = [sent[place] for place in first.tolist()]
        _, first, target_of = np.unique(
            np.array([one.target_number for one in series], np.int64), return_index=True, return_inverse=True
        )
        return cls(series, numbers, slot_of, [series[slot].target for slot in first.tolist()], target_of)


class _Extras:
    """What is not a float sample, found again by target and row."""

    def __init__(self, samples: Samples, distinct: _Distinct) -> None:
        self.first = len(samples.values)  # the lowest origin of a histogram
        self._histograms = samples.histograms
        self._by_target: dict[int, dict[int, list[Exemplar]]] = {}
        for place, exemplar in samples.exemplars:
            slot = int(distinct.slot_of[place])
            self._by_target.setdefault(int(distinct.target_of[slot]), {}).setdefault(slot, []).append(exemplar)

    def histogram(self, origin: int) -> NativeHistogram:
        return self._histograms[origin - self.first][2]

    def exemplars_of(self, target: int) -> dict[int, list[Exemplar]]:
        """By slot; what the caller takes it pops."""
        return self._by_target.get(target, {})


def _sorted(samples: Samples, distinct: _Distinct) -> _Rows:
    owners = np.concatenate([samples.owners, np.array([one[0] for one in samples.histograms], np.int64)])
    timestamps = np.concatenate([samples.timestamps_ms, np.array([one[1] for one in samples.histograms], np.int64)])
    values = np.concatenate([samples.values, np.full(len(samples.histograms), ABSENT)])
    bits = values[: len(samples.values)].view(np.uint64)
    bits[bits == ABSENT_BITS] = _PLAIN_NAN  # ours alone: from outside it is a NaN like any other
    slots = distinct.slot_of[owners]
    targets = distinct.target_of[slots]
    rows = _Rows(targets, slots, timestamps, values, np.arange(len(values), dtype=np.int64))
    return rows.take(np.lexsort((timestamps, slots, targets)))  # stable: what came first stays first


def _without_repeats(rows: _Rows) -> tuple[_Rows, int]:
    """Without the samples that repeat (series, timestamp); how many of these had another value than the first."""
    if len(rows.slots) < 2:
        return rows, 0
    repeats = np.zeros(len(rows.slots), np.bool_)
    repeats[1:] = (rows.slots[1:] == rows.slots[:-1]) & (rows.timestamps_ms[1:] == rows.timestamps_ms[:-1])
    if not repeats.any():
        return rows, 0
    first = np.maximum.accumulate(np.where(repeats, 0, np.arange(len(repeats))))
    bits = rows.values.view(np.uint64)
    return rows.take(~repeats), int(np.count_nonzero(bits != bits[first]))


def _pieces(rows: _Rows) -> Iterator[_Rows]:
    """One target's samples in rectangles that are not mostly empty."""
    if rows.at_once:
        yield rows
        return
    series, times = np.unique(rows.slots), np.unique(rows.timestamps_ms)
    if len(series) * len(times) <= MAX_PLACES_PER_SAMPLE * len(rows.slots):
        yield rows
        return
    by = rows.timestamps_ms if len(times) <= len(series) else rows.slots
    order = np.argsort(by, kind="stable")
    cuts = np.flatnonzero(np.diff(by[order])) + 1
    for part in np.split(order, cuts):
        yield rows.take(part)
