"""
Functions of how a window's samples are spread: deviations, quantiles, extremes and when they were.

Source: prometheus/promql/functions.go.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from collector.query.promql.quantile import sorted_quantile
from collector.query.promql.range_functions import Function, Result
from collector.query.promql.values import Floats, Mask
from collector.query.promql.windows import Windows


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
    result = np.zeros(windows.shape)
    for steps, values, _, mask in windows.padded():
        result[:, steps] = sorted_quantile(values, np.broadcast_to(mask, values.shape), ratios[steps])
    return result, windows.full(windows.counts > 0)


def mad_over_time(windows: Windows) -> Result:
    """The median of how far the samples are from their median."""
    result = np.zeros(windows.shape)
    for steps, values, _, mask in windows.padded():
        full, half = np.broadcast_to(mask, values.shape), np.full(values.shape[-2], 0.5)
        median = sorted_quantile(values, full, half)
        result[:, steps] = sorted_quantile(np.abs(values - median[..., None]), full, half)
    return result, windows.counts > 0


def ts_of_max_over_time(windows: Windows) -> Result:
    return _time_of(windows, np.fmax)


def ts_of_min_over_time(windows: Windows) -> Result:
    return _time_of(windows, np.fmin)


def _time_of(windows: Windows, extreme: np.ufunc) -> Result:
    """When the extreme was last; among nothing but NaN, when the last one was."""
    result = np.zeros(windows.shape)
    for steps, values, times, mask in windows.padded():
        full: Mask = np.broadcast_to(mask, values.shape)
        best = extreme.reduce(np.where(full, values, np.nan), axis=-1)
        found = full & ((values == best[..., None]) | np.isnan(best)[..., None])
        last = values.shape[-1] - 1 - found[..., ::-1].argmax(axis=-1)
        seconds = np.broadcast_to(times, values.shape)
        result[:, steps] = np.take_along_axis(seconds, last[..., None], axis=-1)[..., 0] / 1000
    return result, windows.counts > 0


_FUNCTIONS: tuple[Callable[[Windows], Result], ...] = (
    stdvar_over_time,
    stddev_over_time,
    mad_over_time,
    ts_of_max_over_time,
    ts_of_min_over_time,
)
BY_NAME: dict[str, Function] = {function.__name__: function for function in _FUNCTIONS}
