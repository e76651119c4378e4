"""
Functions of where a window's samples are going: linear regression and exponential smoothing.

Source: prometheus/promql/functions.go.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.query.errors import ExecutionError
from collector.query.promql.range_functions import Function, Result
from collector.query.promql.values import Floats
from collector.query.promql.windows import Windows


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


def double_exponential_smoothing(windows: Windows, smoothing: Floats, trend: Floats) -> Result:
    """
    Holt's linear method; both factors are [k], one for each step.

    Raises:
        ExecutionError: a factor outside of (0, 1) at a step with samples.
    """
    present = windows.counts >= 1
    seen = present if present.ndim == 1 else present.any(axis=0)
    for name, factors in (("smoothing", smoothing), ("trend", trend)):
        wrong = seen & ((factors <= 0) | (factors >= 1))
        if wrong.any():
            limits = "0 < sf < 1" if name == "smoothing" else "0 < tf < 1"
            raise ExecutionError(f"invalid {name} factor. Expected: {limits}, got: {factors[wrong][0]:f}")
    result = np.zeros(windows.shape)
    for steps, values, _, mask in windows.padded():
        result[:, steps] = _smoothed(values, np.broadcast_to(mask, values.shape), smoothing[steps], trend[steps])
    return result, windows.counts >= 2


def _smoothed(values: Floats, mask: NDArray[np.bool_], smoothing: Floats, trend: Floats) -> Floats:
    """One pass over the window's samples, oldest first, for all series and steps at once."""
    level, before = values[..., 0], np.zeros(values.shape[:-1])
    slope = values[..., 1] - values[..., 0] if values.shape[-1] > 1 else before
    for sample in range(1, values.shape[-1]):
        here = mask[..., sample]
        new_slope = slope if sample == 1 else trend * (level - before) + (1 - trend) * slope
        new_level = smoothing * values[..., sample] + (1 - smoothing) * (level + new_slope)
        slope = np.where(here, new_slope, slope)
        before, level = np.where(here, level, before), np.where(here, new_level, level)
    return level


BY_NAME: dict[str, Function] = {"deriv": deriv}
