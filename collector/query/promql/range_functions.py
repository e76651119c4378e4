"""
Functions over range vectors: `rate`, `increase`, `avg_over_time` and their kin.

Each takes Windows and gives (values [s, k], present [k] or [s, k]). Source: prometheus/promql/functions.go.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from collector.query.promql.values import Floats, Frame, Mask, Times
from collector.query.promql.windows import Windows

Result = tuple[Floats, Mask]
Function = Callable[[Windows], Result]
# A window's edge further from its samples than this many average intervals is not extrapolated to
# (prometheus/promql/functions.go, extrapolatedRate).
EXTRAPOLATION_THRESHOLD = 1.1


def apply(function: Function, windows: Windows) -> Frame:
    """One function over windows, in cache-sized runs of series."""
    values = np.empty(windows.shape)
    masks: list[Mask] = []
    row = 0
    for part in windows.row_chunks():
        result, present = function(part)
        values[row : row + len(part.labels)] = result
        row += len(part.labels)
        masks.append(present)
    present = np.concatenate(masks) if len(masks) > 1 and masks[0].ndim == 2 else masks[0]
    return Frame(windows.labels, values, windows.full(present))


def rate(windows: Windows) -> Result:
    return _extrapolated(windows, counter=True, per_second=True)


def increase(windows: Windows) -> Result:
    return _extrapolated(windows, counter=True, per_second=False)


def delta(windows: Windows) -> Result:
    return _extrapolated(windows, counter=False, per_second=False)


def _extrapolated(windows: Windows, *, counter: bool, per_second: bool) -> Result:
    """The change over each window, extrapolated to its edges (prometheus/promql/functions.go, extrapolatedRate)."""
    intervals = windows.high - windows.low - 1
    first_times, last_times = windows.times_at(windows.low), windows.times_at(windows.high - 1)
    first = windows.values_at(windows.low)
    change = windows.values_at(windows.high - 1)
    change -= first
    to_zero = None
    if counter:
        _add_resets(change, windows)
        # A counter cannot have been negative: never extrapolate to before where it would have been zero.
        bounded = (change > 0) & (first >= 0)
        to_zero = first
        to_zero /= change
        np.copyto(to_zero, np.inf, where=~bounded)
    factor = extrapolation(first_times, last_times, intervals, (windows.starts_ms, windows.ends_ms), to_zero)
    if per_second:
        factor /= (windows.ends_ms - windows.starts_ms) / 1000
    change *= factor
    return change, intervals >= 1


def extrapolation(
    first_ms: Times,
    last_ms: Times,
    intervals: NDArray[np.intp],
    window_ms: tuple[Times, Times],
    to_zero: Floats | None,
) -> Floats:
    """
    How many times the change between first and last sample is that of the whole window.

    Args:
        first_ms, last_ms, intervals: of the samples, and how many intervals are between; below 1 gives nonsense.
        window_ms: where the window starts and ends.
        to_zero: how far before the first sample a counter was zero, in multiples of the samples' span; Inf where it
            says nothing. None for what is no counter.

    Source: extrapolatedRate. It looks at the threshold before it looks for the zero since 2.52, so that a zero further
    away than half an interval changes nothing.
    """
    present = intervals >= 1
    sampled_s = np.where(present, (last_ms - first_ms) / 1000, 1.0)
    average_s = sampled_s / np.where(present, intervals, 1)
    to_start = (first_ms - window_ms[0]) / 1000
    to_end = (window_ms[1] - last_ms) / 1000
    threshold = average_s * EXTRAPOLATION_THRESHOLD
    to_start = np.where(to_start >= threshold, average_s / 2, to_start)
    to_end = np.where(to_end >= threshold, average_s / 2, to_end)
    if to_zero is not None:
        zero_s = to_zero
        zero_s *= sampled_s
        to_start = np.minimum(zero_s, to_start, out=zero_s)
    factor = sampled_s + to_start
    factor += to_end
    factor /= sampled_s
    return np.asarray(factor)


def _drops(windows: Windows) -> Mask:
    """Where a sample is lower than the one before it, shaped as the samples. The first one never is."""
    drops = np.zeros(windows.values.shape, dtype=np.bool_)
    np.less(windows.values[..., 1:], windows.values[..., :-1], out=drops[..., 1:])
    return drops


def _add_resets(change: Floats, windows: Windows) -> None:
    """Add to `change`, in place, what each counter had counted when it fell."""
    drops = _drops(windows)
    if not drops.any():
        return
    lost = np.zeros(windows.values.shape)
    lost[..., 1:] = np.where(drops[..., 1:], windows.values[..., :-1], 0.0)
    # A window's first sample has no predecessor inside it.
    inner = Windows(
        windows.labels,
        windows.timestamps_ms,
        lost,
        np.minimum(windows.low + 1, windows.high),
        windows.high,
        windows.starts_ms,
        windows.ends_ms,
    )
    sums = inner.reduce(np.add, lost)
    change += np.where(windows.full(inner.counts > 0), sums, 0.0)


def irate(windows: Windows) -> Result:
    change, interval_s, present = _last_two(windows, counter=True)
    return change / np.where(present, interval_s, 1.0), present


def idelta(windows: Windows) -> Result:
    change, _, present = _last_two(windows, counter=False)
    return change, present


def _last_two(windows: Windows, *, counter: bool) -> tuple[Floats, Floats, Mask]:
    present = windows.counts >= 2
    last, previous = windows.values_at(windows.high - 1), windows.values_at(windows.high - 2)
    interval_s = (windows.times_at(windows.high - 1) - windows.times_at(windows.high - 2)) / 1000
    change = last - previous
    if counter:
        change = np.where(last < previous, last, change)
    return change, interval_s, present


def resets(windows: Windows) -> Result:
    return windows.changes(_drops(windows)).astype(np.float64), windows.counts > 0


def changes(windows: Windows) -> Result:
    values = windows.values
    changed = np.zeros(values.shape, dtype=np.bool_)
    both_nan = np.isnan(values[..., 1:]) & np.isnan(values[..., :-1])
    changed[..., 1:] = (values[..., 1:] != values[..., :-1]) & ~both_nan
    return windows.changes(changed).astype(np.float64), windows.counts > 0


def sum_over_time(windows: Windows) -> Result:
    return windows.reduce(np.add, windows.values), windows.counts > 0


def avg_over_time(windows: Windows) -> Result:
    counts = windows.counts
    present = counts > 0
    divisor = np.where(present, counts, 1)
    mean = windows.reduce(np.add, windows.values) / divisor
    if np.isinf(mean).any() and np.isfinite(windows.values).all():  # the sum overflowed, the mean does not
        scale = 2.0**-64
        mean = windows.reduce(np.add, windows.values * scale) / divisor / scale
    return mean, present


def min_over_time(windows: Windows) -> Result:
    return windows.reduce(np.fmin, windows.values), windows.counts > 0


def max_over_time(windows: Windows) -> Result:
    return windows.reduce(np.fmax, windows.values), windows.counts > 0


def count_over_time(windows: Windows) -> Result:
    counts = windows.counts
    return np.broadcast_to(counts.astype(np.float64), windows.shape), counts > 0


def last_over_time(windows: Windows) -> Result:
    return windows.values_at(windows.high - 1), windows.counts > 0


def present_over_time(windows: Windows) -> Result:
    return np.ones(windows.shape), windows.counts > 0


def first_over_time(windows: Windows) -> Result:
    return windows.values_at(windows.low), windows.counts > 0


def ts_of_first_over_time(windows: Windows) -> Result:
    return windows.full_floats(windows.times_at(windows.low) / 1000), windows.counts > 0


def ts_of_last_over_time(windows: Windows) -> Result:
    return windows.full_floats(windows.times_at(windows.high - 1) / 1000), windows.counts > 0


BY_NAME: dict[str, Function] = {
    function.__name__: function
    for function in (
        rate,
        increase,
        delta,
        irate,
        idelta,
        resets,
        changes,
        sum_over_time,
        avg_over_time,
        min_over_time,
        max_over_time,
        count_over_time,
        last_over_time,
        first_over_time,
        ts_of_first_over_time,
        ts_of_last_over_time,
        present_over_time,
    )
}
