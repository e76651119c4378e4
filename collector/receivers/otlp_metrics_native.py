"""
Exponential histograms of OTLP as native histograms, and their sums. Pure functions over arrays.

Source: Prometheus storage/remote/otlptranslator/prometheusremotewrite/histograms.go; OpenTelemetry metrics data model,
"ExponentialHistogram".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.model.histogram import MAX_BUCKETS, MAX_SCHEMA, MIN_SCHEMA, NO_COUNTS, NO_INDEX, NativeHistogram

# What a point without a zero_threshold is taken to have (histograms.go, defaultZeroThreshold).
DEFAULT_ZERO_THRESHOLD = 1e-128
_INDEX_RANGE = np.iinfo(np.int32)

Buckets = tuple[NDArray[np.int32], NDArray[np.float64]]


def native_histogram(point: Any) -> NativeHistogram:
    """
    An ExponentialHistogramDataPoint; finer than schema 8 it is made coarser.

    Raises:
        ValueError: a scale below -4, too many buckets or indices out of bounds.
    """
    scale = point.scale
    if scale < MIN_SCHEMA:
        raise ValueError(f"exponential histogram's scale {scale} is below {MIN_SCHEMA}, which no native histogram has")
    coarser = max(0, scale - MAX_SCHEMA)
    positive_index, positive = _buckets(point.positive, coarser)
    negative_index, negative = _buckets(point.negative, coarser)
    return NativeHistogram(
        schema=scale - coarser,
        count=float(point.count),
        sum=point.sum if point.HasField("sum") else 0.0,  # as Prometheus has it
        zero_threshold=point.zero_threshold or DEFAULT_ZERO_THRESHOLD,
        zero_count=float(point.zero_count),
        positive_index=positive_index,
        positive=positive,
        negative_index=negative_index,
        negative=negative,
    )


def _buckets(sent: Any, coarser: int) -> Buckets:
    counts = np.array(sent.bucket_counts, np.float64)
    if len(counts) > MAX_BUCKETS:
        raise ValueError(f"exponential histogram of {len(counts)} buckets, more than {MAX_BUCKETS}")
    if not len(counts):
        return NO_INDEX, NO_COUNTS
    # Bucket 0 is (1, base] in OpenTelemetry and (1/base, 1] in Prometheus.
    index = ((np.arange(len(counts), dtype=np.int64) + sent.offset) >> coarser) + 1
    if index[0] < _INDEX_RANGE.min or index[-1] > _INDEX_RANGE.max:
        raise ValueError(f"exponential histogram's bucket offset {sent.offset} is out of bounds")
    return _merged(index, counts)


def _merged(index: NDArray[Any], counts: NDArray[np.float64]) -> Buckets:
    """Counts of equal indices added up, empty buckets left out."""
    distinct, place = np.unique(index, return_inverse=True)
    sums = np.bincount(place, counts, len(distinct))
    filled = sums != 0
    return distinct[filled].astype(np.int32), sums[filled]


def added(one: NativeHistogram, other: NativeHistogram) -> NativeHistogram:
    """The sum, in the coarser of both resolutions and with the wider of both zero buckets."""
    schema = min(one.schema, other.schema)
    threshold = max(one.zero_threshold, other.zero_threshold)
    one, other = _with_zero(coarsened(one, schema), threshold), _with_zero(coarsened(other, schema), threshold)
    if one.zero_threshold != other.zero_threshold:  # a bucket lay across the threshold and widened it
        return added(one, other)
    return _combined(one, other, 1.0)


def taken_away(total: NativeHistogram, part: NativeHistogram) -> NativeHistogram:
    """`total` without `part`, which was added to it before; so no count falls below 0."""
    part = _with_zero(coarsened(part, total.schema), total.zero_threshold)
    return _combined(total, part, -1.0)


def _combined(one: NativeHistogram, other: NativeHistogram, sign: float) -> NativeHistogram:
    positive_index, positive = _merged(
        np.concatenate([one.positive_index, other.positive_index]),
        np.concatenate([one.positive, sign * other.positive]),
    )
    negative_index, negative = _merged(
        np.concatenate([one.negative_index, other.negative_index]),
        np.concatenate([one.negative, sign * other.negative]),
    )
    return replace(
        one,
        count=one.count + sign * other.count,
        sum=one.sum + sign * other.sum,
        zero_count=one.zero_count + sign * other.zero_count,
        positive_index=positive_index,
        positive=positive,
        negative_index=negative_index,
        negative=negative,
    )


def coarsened(histogram: NativeHistogram, schema: int) -> NativeHistogram:
    """The same observations in a coarser schema; as it is if it is that coarse."""
    if histogram.schema <= schema:
        return histogram
    by = histogram.schema - schema
    positive_index, positive = _merged(((histogram.positive_index.astype(np.int64) - 1) >> by) + 1, histogram.positive)
    negative_index, negative = _merged(((histogram.negative_index.astype(np.int64) - 1) >> by) + 1, histogram.negative)
    return replace(
        histogram,
        schema=schema,
        positive_index=positive_index,
        positive=positive,
        negative_index=negative_index,
        negative=negative,
    )


def _with_zero(histogram: NativeHistogram, threshold: float) -> NativeHistogram:
    """With a zero bucket at least that wide; wider where the threshold falls into a bucket that is not empty."""
    if histogram.zero_threshold >= threshold:
        return histogram
    base = 2.0 ** (2.0**-histogram.schema)
    within_positive = np.power(base, histogram.positive_index - 1.0) < threshold
    within_negative = np.power(base, histogram.negative_index - 1.0) < threshold
    reached = [threshold]
    for index, within in ((histogram.positive_index, within_positive), (histogram.negative_index, within_negative)):
        if within.any():
            reached.append(float(np.power(base, float(index[within][-1]))))
    return replace(
        histogram,
        zero_threshold=max(reached),
        zero_count=histogram.zero_count
        + float(histogram.positive[within_positive].sum())
        + float(histogram.negative[within_negative].sum()),
        positive_index=histogram.positive_index[~within_positive],
        positive=histogram.positive[~within_positive],
        negative_index=histogram.negative_index[~within_negative],
        negative=histogram.negative[~within_negative],
    )
