"""
Functions over range vectors: `rate`, `increase`, `avg_over_time` and their kin.

Each takes Windows and gives (values [s, k], present [k] or [s, k]). Source: prometheus/promql/functions.go.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from collector.query.promql.quantile import sorted_quantile
from collector.query.promql.values import Floats, Frame, Mask
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
    present = intervals >= 1
    first_times, last_times = windows.times_at(windows.low), windows.times_at(windows.high - 1)
    sampled_s = np.where(present, (last_times - first_times) / 1000, 1.0)
    average_s = sampled_s / np.where(present, intervals, 1)
    to_start = (first_times - windows.starts_ms) / 1000
    to_end = (windows.ends_ms - last_times) / 1000
    threshold = average_s * EXTRAPOLATION_THRESHOLD
    to_start = np.where(to_start >= threshold, average_s / 2, to_start)
    to_end = np.where(to_end >= threshold, average_s / 2, to_end)
    first = windows.values_at(windows.low)
    change = windows.values_at(windows.high - 1)
    change -= first
    if counter:
        _add_resets(change, windows)
        # A counter cannot have been negative: never extrapolate to before where it would have been zero. Prometheus
        # looks at the threshold first since 2.52, so that a zero further away than half an interval changes nothing.
        to_zero = first
        to_zero /= change
        to_zero *= sampled_s
        unbounded = ~((change > 0) & (to_zero >= 0))
        to_start = np.minimum(np.where(unbounded, np.inf, to_zero), to_start)
    factor = to_start + (sampled_s + to_end)
    factor /= sampled_s
    if per_second:
        factor /= (windows.ends_ms - windows.starts_ms) / 1000
    change *= factor
    return change, present


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


def stdvar_over_time(windows: Windows) -> Result:
    counts = windows.counts
    result = np.zeros(windows.shape)
    for steps, values, _, mask in windows.padded():
        divisor = np.maximum(counts[..., steps], 1)
        mean = np.where(mask, values, 0.0).sum(axis=-1) / divisor
        deviations = np.where(mask, values - mean[..., None], 0.0)
        result[:, steps] = (deviations * deviations).sum(axis=-1) / divisor
    return result, counts > 0


def stddev_over_time(windows: Windows) -> Result:
    variance, present = stdvar_over_time(windows)
    return np.sqrt(variance), present


def quantile_over_time(windows: Windows, ratios: Floats) -> Result:
    """`ratios` is [k], one for each step."""
    counts = windows.full(windows.counts > 0)
    result = np.zeros(windows.shape)
    for steps, values, _, mask in windows.padded():
        result[:, steps] = sorted_quantile(values, np.broadcast_to(mask, values.shape), ratios[steps])
    return result, counts


def deriv(windows: Windows) -> Result:
    slope, _ = _regression(windows, windows.times_at(windows.low))
    return slope, windows.counts >= 2


def predict_linear(windows: Windows, times_ms: NDArray[np.int64], seconds: Floats) -> Result:
    """`times_ms` are the steps themselves, without offset, and `seconds` how far after them, both [k]."""
    slope, intercept = _regression(windows, times_ms)
    return slope * seconds + intercept, windows.counts >= 2


def _regression(windows: Windows, origins_ms: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Least squares of value over time in seconds: (slope, value at `origins_ms`), each [s, k]."""
    slope, intercept = np.zeros(windows.shape), np.zeros(windows.shape)
    for steps, values, times, mask in windows.padded():
        count = np.maximum(mask.sum(axis=-1), 1)
        origin = origins_ms[..., steps]
        x = np.where(mask, (times - origin[..., None]) / 1000, 0.0)
        # Deviations from the means: the same line as Prometheus's compensated sums give, without their cancellation.
        mean_x = x.sum(axis=-1) / count
        dx = np.where(mask, x - mean_x[..., None], 0.0)
        y = np.where(mask, values, 0.0)
        mean_y = y.sum(axis=-1) / count
        first = values[..., :1]
        constant = np.where(mask, values == first, True).all(axis=-1)
        dy = np.where(mask, values - mean_y[..., None], 0.0)
        part = (dx * dy).sum(axis=-1) / (dx * dx).sum(axis=-1)
        at_origin = mean_y - part * mean_x
        infinite = np.isinf(first[..., 0])
        slope[:, steps] = np.where(constant, np.where(infinite, np.nan, 0.0), part)
        intercept[:, steps] = np.where(constant, np.where(infinite, np.nan, first[..., 0]), at_origin)
    return slope, intercept


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
        deriv,
        sum_over_time,
        avg_over_time,
        min_over_time,
        max_over_time,
        count_over_time,
        last_over_time,
        present_over_time,
        stdvar_over_time,
        stddev_over_time,
    )
}
KEEPS_NAME = frozenset({"last_over_time"})
