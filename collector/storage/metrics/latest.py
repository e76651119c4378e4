"""
The last two samples of every series, by series id: what an instant query asks for that evaluates now, as rules do.

One gather over all series answers it, where looking into the samples of each target costs some 50 us a target. Two of
them, since a rule that evaluates a little late must not see what came after its time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.model.markers import is_absent

Ids = NDArray[np.uint32]
Times = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

FIRST_IDS = 1024
_NONE = np.iinfo(np.int64).min
_NEVER = np.iinfo(np.int64).max  # later than any query asks: a series that has native histograms is looked up in full


class LatestSamples:
    """
    One writer, under the store's lock; readers hold it too.

    A layer says of a series: at this time it has a sample, with this value; or, where it is not known: its samples are
    not later than this. The second layer says the same of the samples before the first one's.
    """

    def __init__(self) -> None:
        self._times_ms: Times = np.full((2, FIRST_IDS), _NONE)
        self._values: Floats = np.zeros((2, FIRST_IDS))
        self._known: Mask = np.zeros((2, FIRST_IDS), np.bool_)

    def saw(self, ids: Ids, timestamps_ms: Times, values: Floats) -> None:
        """
        Take in stored samples. Of two at one time the first stays.

        Args:
            timestamps_ms: int64[n], rising.
            values: float64[s, n]; ABSENT where there is no sample.
        """
        self._reserve(ids)
        tail = is_absent(values[:, -2:])
        if not tail.any():
            for column in range(max(0, len(timestamps_ms) - 2), len(timestamps_ms)):
                self._put(ids, np.full(len(ids), timestamps_ms[column]), values[:, column])
            return
        left = ~is_absent(values)
        rows = np.arange(len(values))
        last = len(timestamps_ms) - 1 - np.argmax(left[:, ::-1], axis=1)
        has_last = left[rows, last]
        left[rows, last] = False
        before = len(timestamps_ms) - 1 - np.argmax(left[:, ::-1], axis=1)
        for at, given in ((before, left[rows, before]), (last, has_last)):
            self._put(ids[given], timestamps_ms[at[given]], values[given, at[given]])

    def _put(self, ids: Ids, times: Times, values: Floats) -> None:
        newest = self._times_ms[0, ids]
        later = times > newest
        if not later.all():
            between = (times < newest) & (times > self._times_ms[1, ids]) & self._known[0, ids]
            self._set(1, ids[between], times[between], values[between])
            ids, times, values = ids[later], times[later], values[later]
        self._times_ms[1, ids] = self._times_ms[0, ids]
        self._values[1, ids] = self._values[0, ids]
        self._known[1, ids] = self._known[0, ids]
        self._set(0, ids, times, values)

    def _set(self, layer: int, ids: Ids, times: Times, values: Floats) -> None:
        self._times_ms[layer, ids] = times
        self._values[layer, ids] = values
        self._known[layer, ids] = True

    def not_after(self, ids: Ids, time_ms: int) -> None:
        """These series have samples in a chunk that ends then; which and when is not known here. Before any `saw`."""
        self._reserve(ids)
        self._times_ms[0, ids] = np.maximum(self._times_ms[0, ids], time_ms)

    def never(self, ids: Ids) -> None:
        """Of these series something else than floats is stored."""
        self._reserve(ids)
        self._times_ms[0, ids] = _NEVER
        self._known[0, ids] = False

    def at(self, ids: Ids, min_ms: int, max_ms: int) -> tuple[Floats, Mask, Mask]:
        """
        What the last sample at or before `max_ms` is.

        Returns:
            values, whether it is at or after `min_ms`, whether that cannot be told here, [s] each.
        """
        times, known, values = self._times_ms[0, ids], self._known[0, ids], self._values[0, ids]
        after = times > max_ms
        doubtful = after & ~known
        second = np.flatnonzero(after & known)
        if len(second):
            rows = ids[second]
            times[second], known[second] = self._times_ms[1, rows], self._known[1, rows]
            values[second] = self._values[1, rows]
        recent = (times >= min_ms) & ~doubtful
        doubtful |= recent & ((times > max_ms) | ~known)
        return values, recent & ~doubtful, doubtful

    def _reserve(self, ids: Ids) -> None:
        size = int(ids.max(initial=0)) + 1
        before = self._known.shape[1]
        if size <= before:
            return
        more = max(size, 2 * before) - before
        self._times_ms = np.concatenate([self._times_ms, np.full((2, more), _NONE)], axis=1)
        self._values = np.concatenate([self._values, np.zeros((2, more))], axis=1)
        self._known = np.concatenate([self._known, np.zeros((2, more), np.bool_)], axis=1)
