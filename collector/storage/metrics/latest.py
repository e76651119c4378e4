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
        self._times_ms: Times = np.full((FIRST_IDS, 2), _NONE)
        self._values: Floats = np.zeros((FIRST_IDS, 2))
        self._known: Mask = np.zeros((FIRST_IDS, 2), np.bool_)

    def saw(self, ids: Ids, timestamps_ms: Times, values: Floats) -> None:
        """
        Take in stored samples. Of two at one time the first stays.

        Args:
            timestamps_ms: int64[n], rising.
            values: float64[s, n]; ABSENT where there is no sample.
        """
        self._reserve(ids)
        if is_absent(values[:, -2:]).any():
            self._saw_with_gaps(ids, timestamps_ms, values)
        elif len(timestamps_ms) > 1 and (timestamps_ms[-2] > self._times_ms[ids, 0]).all():
            self._times_ms[ids] = timestamps_ms[:-3:-1]
            self._values[ids] = values[:, :-3:-1]
            self._known[ids] = True
        else:
            for column in range(max(0, len(timestamps_ms) - 2), len(timestamps_ms)):
                self._put(ids, np.full(len(ids), timestamps_ms[column]), values[:, column])

    def _saw_with_gaps(self, ids: Ids, timestamps_ms: Times, values: Floats) -> None:
        left = ~is_absent(values)
        rows = np.arange(len(values))
        last = len(timestamps_ms) - 1 - np.argmax(left[:, ::-1], axis=1)
        has_last = left[rows, last]
        left[rows, last] = False
        before = len(timestamps_ms) - 1 - np.argmax(left[:, ::-1], axis=1)
        for at, given in ((before, left[rows, before]), (last, has_last)):
            self._put(ids[given], timestamps_ms[at[given]], values[given, at[given]])

    def _put(self, ids: Ids, times: Times, values: Floats) -> None:
        newest = self._times_ms[ids, 0]
        later = times > newest
        if not later.all():
            between = (times < newest) & (times > self._times_ms[ids, 1]) & self._known[ids, 0]
            self._set(1, ids[between], times[between], values[between])
            ids, times, values = ids[later], times[later], values[later]
        self._times_ms[ids, 1] = self._times_ms[ids, 0]
        self._values[ids, 1] = self._values[ids, 0]
        self._known[ids, 1] = self._known[ids, 0]
        self._set(0, ids, times, values)

    def _set(self, layer: int, ids: Ids, times: Times, values: Floats) -> None:
        self._times_ms[ids, layer] = times
        self._values[ids, layer] = values
        self._known[ids, layer] = True

    def not_after(self, ids: Ids, time_ms: int) -> None:
        """These series have samples in a chunk that ends then; which and when is not known here. Before any `saw`."""
        self._reserve(ids)
        self._times_ms[ids, 0] = np.maximum(self._times_ms[ids, 0], time_ms)

    def never(self, ids: Ids) -> None:
        """Of these series something else than floats is stored."""
        self._reserve(ids)
        self._times_ms[ids, 0] = _NEVER
        self._known[ids, 0] = False

    def at(self, ids: Ids, min_ms: int, max_ms: int) -> tuple[Floats, Times, Mask, Mask]:
        """
        What the last sample at or before `max_ms` is.

        Returns:
            values, times, whether it is at or after `min_ms`, whether that cannot be told here, [s] each.
        """
        times, known, values = self._times_ms[ids, 0], self._known[ids, 0], self._values[ids, 0]
        after = times > max_ms
        doubtful = after & ~known
        second = np.flatnonzero(after & known)
        if len(second):
            rows = ids[second]
            times[second], known[second] = self._times_ms[rows, 1], self._known[rows, 1]
            values[second] = self._values[rows, 1]
        recent = (times >= min_ms) & ~doubtful
        doubtful |= recent & ((times > max_ms) | ~known)
        return values, times, recent & ~doubtful, doubtful

    def _reserve(self, ids: Ids) -> None:
        size = int(ids.max(initial=0)) + 1
        before = len(self._known)
        if size <= before:
            return
        more = max(size, 2 * before) - before
        self._times_ms = np.concatenate([self._times_ms, np.full((more, 2), _NONE)])
        self._values = np.concatenate([self._values, np.zeros((more, 2))])
        self._known = np.concatenate([self._known, np.zeros((more, 2), np.bool_)])
