"""The series of one kind of metric that is derived from spans: which there are, and how many there may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from collector.model.labels import Labels
from collector.pipeline.connectors.histograms import Histograms
from collector.pipeline.connectors.numbering import UNKNOWN, Numbering
from collector.pipeline.connectors.texts import Hashes, Places

# Several keys may stand for the same labels, an absent attribute and an empty one; more than these are an attack.
_KEYS_A_SERIES, _FEW = 4, 64


class Level(NamedTuple):
    """One way to tell observations apart. The first level that has room takes an observation."""

    keys: Callable[[Places], Hashes]  # of the observations in these rows, equal for those of one series
    labels: Callable[[int], Labels]  # of the observation in a row; without a metric's name


class SeriesSet:
    """
    At most `limit` series on each level but the last, which is to have few by its nature.

    Series are known by their labels over a restart, and by keys, which are looked up many at a time, within a process.
    """

    def __init__(self, bounds_nano: Sequence[int], *, limit: int, histograms: int = 1) -> None:
        """
        Args:
            histograms: How many each series has.
        """
        self.histograms = tuple(Histograms(bounds_nano) for _ in range(histograms))
        self.labels: list[Labels] = []
        self.limit = limit
        self.overflowed = 0  # observations that did not find room on the first level
        self._numbers: dict[Labels, int] = {}
        self._keys = Numbering()
        self._levels = [0]  # how many series each level has made
        self._unclaimed = 0  # series that were read, and whose keys are not known yet

    def restore(self, labels: Labels) -> int:
        """A series that a former process has made. Call it before the first observation."""
        self._unclaimed += 1
        self._levels[0] += 1
        return self._create(labels)

    def numbers(self, count: int, levels: Sequence[Level]) -> Places:
        """The series of [count] observations; those that are new are made."""
        out = np.full(count, UNKNOWN, np.int64)
        rows = np.arange(count)
        self._levels += [0] * (len(levels) - len(self._levels))
        for place, level in enumerate(levels):
            if place == 1:
                self.overflowed += len(rows)
            keys = level.keys(rows)
            found = self._keys.find(keys)
            missing = np.flatnonzero(found == UNKNOWN)
            if len(missing) and self._name(place, keys[missing], rows[missing], level, last=place == len(levels) - 1):
                found = self._keys.find(keys)
            out[rows] = found
            rows = rows[found == UNKNOWN]
            if not len(rows):
                break
        return out

    def keep(self, series: Places) -> None:
        """Forget all others; the first of `series` is number 0 from now on."""
        renumbered = np.full(len(self.labels), UNKNOWN, np.int64)
        renumbered[series] = np.arange(len(series))
        keys, numbers = self._keys.items()
        alive = renumbered[numbers] != UNKNOWN
        self._keys.replace(keys[alive], renumbered[numbers[alive]])
        self.labels = [self.labels[number] for number in series.tolist()]
        self._numbers = {labels: number for number, labels in enumerate(self.labels)}
        for each in self.histograms:
            each.keep(series)
        # Which level made which is not kept: all count for the first, so that there are never more than there may be.
        self._levels = [len(self.labels), *[0] * (len(self._levels) - 1)]
        self._unclaimed = max(0, len(self.labels) - len(self._keys))

    def _name(self, place: int, keys: Hashes, rows: Places, level: Level, *, last: bool) -> bool:
        """Give numbers to keys that have none. Whether any got one."""
        full = self._levels[place] >= self.limit
        if not last and ((full and not self._unclaimed) or len(self._keys) >= _KEYS_A_SERIES * self.limit + _FEW):
            return False
        added = 0
        distinct, first = np.unique(keys, return_index=True)
        for key, row in zip(distinct.tolist(), rows[first].tolist(), strict=True):
            labels = level.labels(row)
            number = self._numbers.get(labels)
            if number is not None:
                self._unclaimed = max(0, self._unclaimed - 1)
            elif not last and self._levels[place] >= self.limit:
                continue
            else:
                number = self._create(labels)
                self._levels[place] += 1
            self._keys.add(key, number)
            added += 1
        return added > 0

    def _create(self, labels: Labels) -> int:
        number = len(self.labels)
        for each in self.histograms:
            each.new_series()
        self.labels.append(labels)
        self._numbers[labels] = number
        return number
