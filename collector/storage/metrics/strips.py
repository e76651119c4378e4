"""
Which series of a chunk are compressed together. A query unpacks whole strips, and mostly asks for one metric: so a
metric shares a strip with others only while that is small.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

STRIP_SERIES = 32  # the most in a strip; fewer compress a little worse
STRIP_SAMPLES = 8_800  # of a strip, at most: 70 KB, unpacked in 0.05 ms, though a query may want but one series of it
# Small metrics share a strip up to here. Of a target with ten metrics of ten series, a query for one unpacked 32 to 64
# series when every strip had 32, and now ten.
SHARED_SERIES = 16

MetricOf = Callable[[int], str]  # series id to metric name


def arranged(ids: NDArray[np.uint32], rows: int, metric_of: MetricOf) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """
    How the series of a chunk with so many rows lie in it.

    Returns:
        (order, sizes): ids[order] is how they follow one another; sizes: how many are in each strip.
    """
    known = sorted((metric_of(number), number, place) for place, number in enumerate(ids.tolist()))
    order = np.fromiter((place for _, _, place in known), np.intp, len(known))
    runs = [sum(1 for _ in members) for _, members in itertools.groupby(known, key=lambda each: each[0])]
    return order, np.array(_sizes(runs, strip_series(rows)), np.int64)


def strip_series(rows: int) -> int:
    """How many series a strip of a chunk with so many rows has at most: a power of two."""
    each = STRIP_SERIES
    while each > 1 and each * rows > STRIP_SAMPLES:
        each //= 2
    return each


def former_sizes(*, series: int, strips: int, rows: int) -> NDArray[np.int64]:
    """
    Of a chunk that does not tell: strips of STRIP_SERIES or of `strip_series`, which their number gives away. Of two
    powers of two that give as many strips, both hold all series in one: so it does not matter which it was.
    """
    each = STRIP_SERIES if strips == -(-series // STRIP_SERIES) else strip_series(rows)
    return np.diff(np.append(np.arange(0, series, each), series))


def _sizes(runs: list[int], most: int) -> list[int]:
    """runs: how many series each metric has, in order."""
    shared = min(SHARED_SERIES, most)
    sizes: list[int] = []
    together = 0
    for run in runs:
        if together and together + run > shared:
            sizes.append(together)
            together = 0
        if run <= most:
            together += run
            continue
        pieces = -(-run // most)  # of equal length, so that no short one is left
        sizes.extend(run // pieces + (piece < run % pieces) for piece in range(pieces))
    return [*sizes, together] if together else sizes
