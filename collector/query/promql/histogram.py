"""Quantiles of classic histograms (prometheus/promql/quantile.go, bucketQuantile)."""

from __future__ import annotations

import numpy as np

from collector.model.series import METRIC_NAME, Labels
from collector.query.promql.numerals import parse_float
from collector.query.promql.values import Floats, Frame, Mask, empty_frame

BUCKET_LABEL = "le"
# Counts that differ by less than this, relatively, are the same number after floating point arithmetic
# (prometheus/promql/quantile.go, smallDeltaTolerance).
SMALL_DELTA = 1e-12
_MIN_NORMAL = float(np.finfo(np.float64).smallest_normal)


def histogram_quantile(ratios: Floats, buckets: Frame) -> Frame:
    """
    The quantile of each histogram.

    Args:
        ratios: [k], one for each step.
        buckets: series that differ in `le` only are one histogram; those without a numeric `le` are left out.
    """
    steps = buckets.values.shape[1]
    rows_of: dict[Labels, list[tuple[float, int]]] = {}
    for row, labels in enumerate(buckets.labels):
        bound = parse_float(next((value for name, value in labels if name == BUCKET_LABEL), ""))
        if bound is not None:
            key = tuple(pair for pair in labels if pair[0] not in (BUCKET_LABEL, METRIC_NAME))
            rows_of.setdefault(key, []).append((bound, row))
    if not rows_of:
        return empty_frame(steps)
    values = np.empty((len(rows_of), steps))
    present = np.empty((len(rows_of), steps), dtype=np.bool_)
    for index, bounded_rows in enumerate(rows_of.values()):
        bounded_rows.sort()
        rows = [row for _, row in bounded_rows]
        bounds = np.array([bound for bound, _ in bounded_rows])
        here = buckets.present[rows]
        present[index] = here.any(axis=0)
        values[index] = _by_pattern(ratios, bounds, buckets.values[rows], here)
    return Frame(tuple(rows_of), values, present)


def _by_pattern(ratios: Floats, bounds: Floats, counts: Floats, present: Mask) -> Floats:
    """Evaluate the steps at which the same buckets are present together."""
    if present.all():
        return _quantile(ratios, bounds, counts)
    result = np.full(len(ratios), np.nan)
    patterns, pattern_of = np.unique(present, axis=1, return_inverse=True)
    for number in range(patterns.shape[1]):
        steps = np.flatnonzero(pattern_of.reshape(-1) == number)
        rows = patterns[:, number]
        if rows.any():
            result[steps] = _quantile(ratios[steps], bounds[rows], counts[rows][:, steps])
    return result


def _quantile(ratios: Floats, bounds: Floats, counts: Floats) -> Floats:
    """Bounds [b] rising, counts [b, k] cumulative."""
    result = np.full(len(ratios), np.nan)
    if np.isposinf(bounds[-1]):
        bounds, counts = _coalesced(bounds, counts)
        if len(bounds) >= 2:
            result = _interpolated(ratios, bounds, _monotonic(counts))
    result = np.where(ratios < 0, -np.inf, np.where(ratios > 1, np.inf, result))
    return np.where(np.isnan(ratios), np.nan, result)


def _coalesced(bounds: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Add up buckets of the same bound, written differently (`le="1"` and `le="1.0"`)."""
    unique, starts = np.unique(bounds, return_index=True)
    if len(unique) == len(bounds):
        return bounds, counts
    return unique, np.asarray(np.add.reduceat(counts, starts, axis=0))


def _monotonic(counts: Floats) -> Floats:
    """Repair what scrapes and rates broke: cumulative counts never fall, and tiny differences are none."""
    result = counts.copy()
    previous = result[0]
    for row in result[1:]:
        total = np.abs(previous) + np.abs(row)
        difference = np.abs(previous - row)
        tiny = np.where(
            (previous == 0) | (row == 0) | (total < _MIN_NORMAL),
            difference < SMALL_DELTA * _MIN_NORMAL,
            difference / np.minimum(total, np.finfo(np.float64).max) < SMALL_DELTA,
        )
        np.copyto(row, previous, where=tiny | (row < previous))
        previous = row
    return result


def _interpolated(ratios: Floats, bounds: Floats, counts: Floats) -> Floats:
    steps = np.arange(len(ratios))
    observations = counts[-1]
    rank = ratios * observations
    # the first bucket but the last whose count reaches the rank
    reached = counts[:-1] >= rank
    bucket = np.where(reached.any(axis=0), reached.argmax(axis=0), len(bounds) - 1)
    inside = np.minimum(bucket, len(bounds) - 2)
    before = np.maximum(inside - 1, 0)
    first = inside == 0
    start = np.where(first, 0.0, bounds[before])
    below = np.where(first, 0.0, counts[before, steps])
    fraction = (rank - below) / (counts[inside, steps] - below)
    result = start + (bounds[inside] - start) * fraction
    result = np.where(first & (bounds[0] <= 0), bounds[0], result)
    result = np.where(bucket == len(bounds) - 1, bounds[-2], result)
    return np.where(observations == 0, np.nan, result)
