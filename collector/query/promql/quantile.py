"""The quantile of a set of values, as `quantile` and `quantile_over_time` define it (prometheus/promql/quantile.go)."""

from __future__ import annotations

import numpy as np

from collector.query.promql.values import Floats, Mask


def sorted_quantile(values: Floats, mask: Mask, ratios: Floats) -> Floats:
    """
    Quantiles along the last axis.

    Args:
        values: [..., k, w]; those that `mask`, of the same shape, leaves out do not count. NaN sorts below everything.
        ratios: [k], one for each step. Below 0 gives -Inf, above 1 +Inf, NaN gives NaN.

    Returns:
        [..., k], arbitrary where the mask is empty.
    """
    count = mask.sum(axis=-1)
    nan = mask & np.isnan(values)
    # Sorted as (NaN, rising values, what does not count).
    ranked = np.sort(np.where(mask, np.where(nan, -np.inf, values), np.inf), axis=-1)
    missing = nan.sum(axis=-1)
    ranked = np.where(np.arange(values.shape[-1]) < missing[..., None], np.nan, ranked)
    rank = np.where(np.isfinite(ratios), ratios, 0.0).clip(0.0, 1.0) * np.maximum(count - 1, 0)
    lower = np.floor(rank).astype(np.intp)
    upper = np.minimum(lower + 1, np.maximum(count - 1, 0))
    weight = rank - lower
    below = np.take_along_axis(ranked, lower[..., None], axis=-1)[..., 0]
    above = np.take_along_axis(ranked, upper[..., None], axis=-1)[..., 0]
    result = below * (1 - weight) + above * weight
    result = np.where(ratios < 0, -np.inf, np.where(ratios > 1, np.inf, result))
    return np.asarray(np.where(np.isnan(ratios), np.nan, result))
