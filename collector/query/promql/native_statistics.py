"""
What native histograms say of their observations: quantiles, fractions, deviations; for all of a table at once.

Source: prometheus/promql/quantile.go and functions.go, as of Prometheus 3: within a bucket they interpolate on a
logarithmic scale, where Prometheus 2 did linearly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from collector.query.promql.arrays import Floats, Mask
from collector.query.promql.native import Histograms


class Buckets(NamedTuple):
    """Every bucket of every histogram from the lowest up, [h, b]."""

    lower: Floats
    upper: Floats
    counts: Floats
    is_zero: Mask


def buckets_of(table: Histograms, *, one_sided_zero: bool) -> Buckets:
    """`one_sided_zero`: the zero bucket ends at 0 where the histogram has buckets on one side only."""
    threshold = table.zero_threshold[:, None]
    lower, upper = table.bounds(table.positive.index - 1), table.bounds(table.positive.index)
    inner, outer = table.bounds(table.negative.index[::-1] - 1), table.bounds(table.negative.index[::-1])
    zero_lower, zero_upper = -table.zero_threshold, table.zero_threshold
    if one_sided_zero:
        has_positive = (table.positive.counts != 0).any(axis=1)
        has_negative = (table.negative.counts != 0).any(axis=1)
        zero_lower = np.where(has_positive & ~has_negative, 0.0, zero_lower)
        zero_upper = np.where(has_negative & ~has_positive, 0.0, zero_upper)
    # A bucket that reaches into the zero bucket ends at its edge.
    lows = [-outer, zero_lower[:, None], np.where(lower < threshold, np.minimum(threshold, upper), lower)]
    highs = [np.where(inner < threshold, np.maximum(-threshold, -outer), -inner), zero_upper[:, None], upper]
    counts = [table.negative.counts[:, ::-1], table.zero_count[:, None], table.positive.counts]
    is_zero = np.zeros((1, sum(part.shape[1] for part in counts)), dtype=np.bool_)
    is_zero[0, outer.shape[1]] = True
    low, high, all_counts = (np.concatenate(parts, axis=1) for parts in (lows, highs, counts))
    return Buckets(low, high, all_counts, is_zero)


def quantile(table: Histograms, ratios: Floats) -> tuple[Floats, Mask, Mask]:
    """
    The quantile of each histogram, [h]; `ratios` [h].

    Returns:
        the quantiles, where NaN observations made it NaN, and where they moved it up.
    """
    buckets = buckets_of(table, one_sided_zero=True)
    has_nan = np.isnan(table.sum)
    forward = has_nan | (ratios < 0.5)
    rank = np.where(forward, ratios, 1 - ratios) * table.count
    up = np.cumsum(buckets.counts, axis=1)
    down = np.cumsum(buckets.counts[:, ::-1], axis=1)[:, ::-1]
    populated = buckets.counts > 0
    reached = populated & (np.where(forward[:, None], up, down) >= rank[:, None])
    width = buckets.counts.shape[1]
    ends = reached.any(axis=1)
    first = np.where(forward, reached.argmax(axis=1), width - 1 - reached[:, ::-1].argmax(axis=1))
    last = np.where(forward, width - 1 - populated[:, ::-1].argmax(axis=1), populated.argmax(axis=1))
    bucket = np.where(ends, first, last)
    rows = np.arange(len(table))
    lower, upper, inside = (part[rows, bucket] for part in buckets[:3])
    count = np.minimum(np.where(forward, up[rows, bucket], down[rows, bucket]), table.count)
    fraction = np.where(forward, rank - (count - inside), count - rank) / inside
    result = _interpolated(lower, upper, fraction)
    short = count < rank
    result = np.where(short, np.where(has_nan, np.nan, upper), result)
    result = np.where((table.count == 0) | np.isnan(ratios), np.nan, result)
    result = np.where(ratios < 0, -np.inf, np.where(ratios > 1, np.inf, result))
    regular = (ratios >= 0) & (ratios <= 1) & (table.count != 0)
    skewed = has_nan & ~short & (up[:, -1] < table.count)
    return result, np.asarray(regular & short & has_nan), np.asarray(regular & skewed)


def _interpolated(lower: Floats, upper: Floats, fraction: Floats) -> Floats:
    linear = lower + (upper - lower) * fraction
    low, high = np.log2(np.abs(lower)), np.log2(np.abs(upper))
    positive = np.exp2(low + (high - low) * fraction)
    negative = -np.exp2(high + (low - high) * (1 - fraction))
    return np.where((lower <= 0) & (upper >= 0), linear, np.where(lower > 0, positive, negative))


def fraction(table: Histograms, lower: Floats, upper: Floats) -> tuple[Floats, Mask]:
    """
    The fraction of observations between two bounds, [h].

    Returns:
        the fractions, and where NaN observations are in none of them.
    """
    buckets = buckets_of(table, one_sided_zero=True)
    counted = buckets.counts.sum(axis=1)
    total = np.where(np.isnan(table.sum), counted, table.count)
    below = np.minimum(_rank(buckets, lower, total), total)
    above = np.minimum(_rank(buckets, upper, total), total)
    result = np.where(lower >= upper, 0.0, (above - below) / table.count)
    undefined = (table.count == 0) | np.isnan(lower) | np.isnan(upper)
    nan_observed = np.isnan(table.sum) & (counted < table.count) & ~undefined & (lower < upper)
    return np.where(undefined, np.nan, result), np.asarray(nan_observed)


def _rank(buckets: Buckets, bound: Floats, total: Floats) -> Floats:
    """How many observations are below `bound`."""
    wide = bound[:, None]
    share = np.where(wide <= buckets.lower, 0.0, np.where(wide >= buckets.upper, 1.0, _share(buckets, wide)))
    ranks = np.where(buckets.counts == 0, 0.0, buckets.counts * share).sum(axis=1)
    highest = np.where(buckets.counts > 0, buckets.upper, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(bound >= highest, total, ranks)


def _share(buckets: Buckets, bound: Floats) -> Floats:
    """Which part of each bucket is below `bound`, [h, 1], where that is inside of it."""
    lower, upper = buckets.lower, buckets.upper
    low, high, at = np.log2(np.abs(lower)), np.log2(np.abs(upper)), np.log2(np.abs(bound))
    logarithmic = np.where(bound > 0, (at - low) / (high - low), 1 - (at - high) / (low - high))
    return np.where(buckets.is_zero, (bound - lower) / (upper - lower), logarithmic)


def variance(table: Histograms) -> Floats:
    """Each bucket stands at its geometric mean, the zero bucket at zero."""
    lower, upper, counts, _ = buckets_of(table, one_sided_zero=False)
    mean = table.sum / table.count
    middle = np.where((lower <= 0) & (upper >= 0), 0.0, np.copysign(np.sqrt(lower * upper), upper))
    deviation = middle - mean[:, None]
    return np.asarray(np.where(counts == 0, 0.0, counts * deviation * deviation).sum(axis=1) / table.count)
