"""
Sums of a frame's rows by group, as a product of matrices: which rows belong to a group, times the rows.

For 4,000 rows of 1,441 steps in ten groups: 7 ms, and 2 ms for counts. Sorting the rows by group and `add.reduceat`
took 34 and 28 ms, most of it for copies that do not fit a cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.query.promql.arrays import Floats, Mask

MOST_GROUPS = 64  # the product does that many times the work of a sum; beyond, it is the slower one
_ROWS = 64  # at a time, so that what is masked stays in the cache


def grouped_sum(values: Floats, present: Mask, group_of: NDArray[np.intp], groups: int) -> Floats | None:
    """
    Sums of the values [s, k] that are present, by group: [groups, k].

    None where a product cannot tell: a value, or a sum, is not finite (0 times infinity is not 0), or groups are many.
    """
    if groups > MOST_GROUPS:
        return None
    belongs = _belongs(group_of, groups, np.float64)
    sums = np.zeros((groups, values.shape[1]))
    everywhere = bool(present.all())
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(values), _ROWS):
            rows = slice(start, start + _ROWS)
            part = values[rows] if everywhere else np.where(present[rows], values[rows], 0.0)
            sums += belongs[:, rows] @ part
    return sums if np.isfinite(sums).all() else None


def grouped_count(present: Mask, group_of: NDArray[np.intp], groups: int) -> NDArray[np.int64] | None:
    """How many rows of each group are present at each step, [groups, k]. None where groups are many."""
    if groups > MOST_GROUPS:
        return None
    belongs = _belongs(group_of, groups, np.float32)  # exact up to 2^24 series
    counts = np.zeros((groups, present.shape[1]), dtype=np.float32)
    for start in range(0, len(present), _ROWS):
        rows = slice(start, start + _ROWS)
        counts += belongs[:, rows] @ present[rows].astype(np.float32)
    return counts.astype(np.int64)


def _belongs(group_of: NDArray[np.intp], groups: int, kind: type[np.floating[Any]]) -> NDArray[Any]:
    return np.asarray(group_of == np.arange(groups)[:, None], dtype=kind)
