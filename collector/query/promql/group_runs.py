"""
Reducing a frame's rows by group where they lie, run by run of rows of the same group.

The series of one target lie together and mostly fall into one group, so runs are long. For 4,000 rows of 1,441 steps in
100 runs: 7 ms, and 2 ms for counts. Sorting the rows by group and `reduceat` took 34 and 28 ms, most of it for copies
that do not fit a cache. A product of matrices is as fast on an idle machine, but its threads wait for one another on a
busy one, and 0 times infinity is not 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from collector.query.promql.arrays import Floats, Mask

_RUN_NS = 3_000  # of Python's for a run
_SORTED_NS = 6  # for each value, what sorting saves when it is left out


def worthwhile(group_of: NDArray[np.intp], steps: int) -> bool:
    """Whether runs are faster than sorting the rows by group."""
    runs = 1 + np.count_nonzero(np.diff(group_of))
    return bool(runs * _RUN_NS < len(group_of) * steps * _SORTED_NS)


def reduced(
    ufunc: np.ufunc, values: Floats, present: Mask, group_of: NDArray[np.intp], groups: int, fill: float
) -> Floats:
    """`ufunc` over the values [s, k] of each group, with `fill` for what is not present: [groups, k]."""
    out = np.full((groups, values.shape[1]), fill)
    everywhere = bool(present.all())
    seen = np.zeros(groups, dtype=np.bool_)
    for group, rows in _runs(group_of):
        part = values[rows] if everywhere else np.where(present[rows], values[rows], fill)
        total = ufunc.reduce(part, axis=0)
        if seen[group]:
            ufunc(out[group], total, out=out[group])
        else:
            out[group], seen[group] = total, True
    return out


def counted(present: Mask, group_of: NDArray[np.intp], groups: int) -> NDArray[np.int64]:
    """How many rows of each group are present at each step, [groups, k]."""
    out = np.zeros((groups, present.shape[1]), dtype=np.int64)
    ones = present.view(np.uint8)  # bytes add up three times as fast as truth values
    for group, rows in _runs(group_of):
        out[group] += np.add.reduce(ones[rows], axis=0, dtype=np.uint32)
    return out


def _runs(group_of: NDArray[np.intp]) -> Iterator[tuple[int, slice]]:
    """(group, rows) of each run of rows of the same group."""
    if not len(group_of):
        return
    starts = np.flatnonzero(np.diff(group_of, prepend=-1))
    ends = np.append(starts[1:], len(group_of))
    for group, start, end in zip(group_of[starts].tolist(), starts.tolist(), ends.tolist(), strict=True):
        yield group, slice(start, end)
