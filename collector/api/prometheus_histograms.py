"""
Native histograms as Prometheus's JSON: count, sum and the buckets that hold something.

Source: prometheus/util/jsonutil/marshal.go, MarshalHistogram, and model/histogram/generic.go, getBoundExponential.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from numpy.typing import NDArray

from collector.api.prometheus_floats import float_text
from collector.model.histogram import NativeHistogram

# What a bucket says of its bounds:
_UPPER, _LOWER, _CLOSED = 0, 1, 3  # which of them belong to it
_FIRST_OVERFLOW = 1024


def histogram_text(histogram: NativeHistogram) -> str:
    """`{"count":"3","sum":"4.5","buckets":[[0,"1","2","3"]]}`, buckets from the lowest to the highest."""
    buckets = [
        *_side(histogram.schema, histogram.negative_index, histogram.negative, negative=True),
        *_zero(histogram),
        *_side(histogram.schema, histogram.positive_index, histogram.positive, negative=False),
    ]
    shown = f',"buckets":[{",".join(buckets)}]' if buckets else ""
    return f'{{"count":"{float_text(histogram.count)}","sum":"{float_text(histogram.sum)}"{shown}}}'


def _zero(histogram: NativeHistogram) -> list[str]:
    if not histogram.zero_count:
        return []
    threshold = histogram.zero_threshold
    return [_bucket(_CLOSED, -threshold, threshold, histogram.zero_count)]


def _side(schema: int, index: NDArray[np.int32], counts: NDArray[np.float64], *, negative: bool) -> list[str]:
    filled = [(place, count) for place, count in zip(index.tolist(), counts.tolist(), strict=True) if count]
    if negative:
        return [_bucket(_LOWER, -bound(place, schema), -bound(place - 1, schema), n) for place, n in reversed(filled)]
    return [_bucket(_UPPER, bound(place - 1, schema), bound(place, schema), n) for place, n in filled]


def _bucket(boundaries: int, lower: float, upper: float, count: float) -> str:
    return f'[{boundaries},"{float_text(lower)}","{float_text(upper)}","{float_text(count)}"]'


def bound(index: int, schema: int) -> float:
    """The upper bound of a positive bucket: 2 ** (index * 2**-schema), at most the largest float there is."""
    if schema <= 0:
        return _ldexp(1.0, index << -schema)
    whole, part = divmod(index, 1 << schema)
    return _ldexp(2.0 ** (part / (1 << schema)), whole)


def _ldexp(fraction: float, exponent: int) -> float:
    try:
        return math.ldexp(fraction, exponent)
    except OverflowError:
        # The bucket that ends at 2**1024, which is no float; beyond it is the one of infinite observations.
        return sys.float_info.max if fraction == 1.0 and exponent == _FIRST_OVERFLOW else math.inf
