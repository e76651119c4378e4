"""Counts of durations in buckets, of many series at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from collector.pipeline.connectors.texts import Places

_Number = TypeVar("_Number", np.int64, np.float64)
_GROWTH = 2  # of the arrays, so that a new series costs nothing on average


@dataclass(frozen=True, slots=True)
class Cells:
    """What one commit adds: k cells, each of one bucket of one series."""

    series: Places  # [k]
    bucket: Places  # [k]
    count: NDArray[np.int64]  # [k], at least 1
    sum_nano: NDArray[np.float64]  # [k]
    row: Places  # [k], the last of the observations that is in the cell

    def __len__(self) -> int:
        return len(self.series)


class Histograms:
    """
    One histogram for each series. A bucket holds what is at most its bound and above the one before.

    Sums are doubles: of nanoseconds they are exact for the first 104 days, as a client library's are.
    """

    def __init__(self, bounds_nano: Sequence[int]) -> None:
        self.bounds_nano = np.array(bounds_nano, np.int64)  # strictly increasing
        self.count = 0  # of series
        self._counts: NDArray[np.int64] = np.zeros((0, len(bounds_nano) + 1), np.int64)
        self._sums: NDArray[np.float64] = np.zeros(0, np.float64)
        self._touched_ms: NDArray[np.int64] = np.zeros(0, np.int64)

    @property
    def counts(self) -> NDArray[np.int64]:
        """[series, bounds + 1], not cumulative."""
        return self._counts[: self.count]

    @property
    def sums_nano(self) -> NDArray[np.float64]:
        return self._sums[: self.count]

    @property
    def touched_ms(self) -> NDArray[np.int64]:
        """When each series was last added to."""
        return self._touched_ms[: self.count]

    def new_series(self) -> None:
        """Another one, which is empty; its number is `count` as it was."""
        if self.count == len(self._sums):
            rows = max(16, self.count * _GROWTH)
            self._counts = _longer(self._counts, rows)
            self._sums = _longer(self._sums, rows)
            self._touched_ms = _longer(self._touched_ms, rows)
        self.count += 1

    def cells(self, series: Places, duration_nano: NDArray[np.int64]) -> Cells:
        """What [n] observations amount to; nothing is added yet."""
        width = len(self.bounds_nano) + 1
        cell = series * width + np.searchsorted(self.bounds_nano, duration_nano, side="left")
        size = self.count * width
        counts = np.bincount(cell, minlength=size)
        used = np.flatnonzero(counts)
        last = np.empty(size, np.int64)
        last[cell] = np.arange(len(cell))  # of several with one place, NumPy keeps the last
        sums = np.asarray(np.bincount(cell, weights=duration_nano, minlength=size), np.float64)
        return Cells(used // width, used % width, counts[used], sums[used], last[used])

    def add(self, cells: Cells, at_ms: int | NDArray[np.int64]) -> None:
        """
        Args:
            at_ms: When, of all cells or of each.
        """
        np.add.at(self._counts, (cells.series, cells.bucket), cells.count)
        np.add.at(self._sums, cells.series, cells.sum_nano)
        np.maximum.at(self._touched_ms, cells.series, at_ms)

    def keep(self, series: Places) -> None:
        """Forget all others; the first of `series` is number 0 from now on."""
        self._counts, self._sums = self._counts[series], self._sums[series]
        self._touched_ms = self._touched_ms[series]
        self.count = len(series)


def _longer(array: NDArray[_Number], rows: int) -> NDArray[_Number]:
    out: NDArray[_Number] = np.zeros((rows, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out
