"""
Native histograms: exponential buckets, as Prometheus's FloatHistogram keeps them, but with absolute counts and one
array of bucket indices in place of spans and deltas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.errors import BadRequestError
from collector.model.labels import Labels
from collector.model.markers import STALE, STALE_BITS

# Prometheus model/histogram/generic.go: standard exponential schemas; bucket boundaries grow by 2**2**-schema.
MIN_SCHEMA, MAX_SCHEMA = -4, 8
# Prometheus's remote write and OTLP set none; more than this is no histogram but an attack on the memory. At schema 8
# it covers 2**64 times the smallest value.
MAX_BUCKETS = 16_384
# Adding up the buckets of a float histogram rounds; a histogram whose count is off by more is wrong.
COUNT_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class NativeHistogram:
    """
    One sample of a series of native histograms. Compare with `identical`, as NaN (stale) counts.

    Bucket i of positive_index covers (base**(i-1), base**i] with base = 2**2**-schema; negative buckets mirror that.
    """

    schema: int  # MIN_SCHEMA..MAX_SCHEMA, a finer one has smaller buckets
    count: float  # of observations, NaN ones too (they are in no bucket)
    sum: float
    zero_threshold: float  # the zero bucket covers [-zero_threshold, zero_threshold]
    zero_count: float
    positive_index: NDArray[np.int32]  # [p], strictly increasing
    positive: NDArray[np.float64]  # [p], counts of these buckets alone: neither deltas nor cumulative
    negative_index: NDArray[np.int32]  # [q]
    negative: NDArray[np.float64]  # [q]
    gauge: bool = False  # may go down; there are no counter resets

    @property
    def stale(self) -> bool:
        """Whether it ends its series; nothing but `sum` counts then."""
        return bool(np.float64(self.sum).view(np.uint64) == STALE_BITS)

    def identical(self, other: NativeHistogram) -> bool:
        """Bit for bit, as a duplicate at one timestamp must be (two stale ones are)."""
        return (
            (self.schema, self.gauge) == (other.schema, other.gauge)
            and np.array_equal(_bits(self), _bits(other))
            and np.array_equal(self.positive_index, other.positive_index)
            and np.array_equal(self.negative_index, other.negative_index)
            and self.positive.tobytes() == other.positive.tobytes()
            and self.negative.tobytes() == other.negative.tobytes()
        )


@dataclass(frozen=True, slots=True, eq=False)
class HistogramSeries:
    """The native histograms of one series in an answer. The series may have floats at other timestamps."""

    labels: Labels
    timestamps_ms: NDArray[np.int64]  # [n], strictly increasing
    histograms: tuple[NativeHistogram, ...]  # n of them, stale ones too


NO_INDEX: NDArray[np.int32] = np.empty(0, np.int32)
NO_COUNTS: NDArray[np.float64] = np.empty(0, np.float64)
STALE_HISTOGRAM = NativeHistogram(0, 0.0, float(STALE), 0.0, 0.0, NO_INDEX, NO_COUNTS, NO_INDEX, NO_COUNTS)


def validate(histogram: NativeHistogram) -> None:
    """
    Check what a sender may have got wrong. A stale histogram is always valid.

    Raises:
        BadRequestError: names the field, the value and the bound.

    Source: Prometheus model/histogram/float_histogram.go, Validate. Unlike there, a count that is smaller than the sum
    of the buckets is allowed for what rounding explains (COUNT_TOLERANCE).
    """
    if histogram.stale:
        return
    if not MIN_SCHEMA <= histogram.schema <= MAX_SCHEMA:
        raise BadRequestError(f"histogram schema {histogram.schema} is not within {MIN_SCHEMA}..{MAX_SCHEMA}")
    for name in ("count", "zero_count"):
        number = getattr(histogram, name)
        if not (number >= 0 and number < np.inf):
            raise BadRequestError(f"histogram {name} is {number}, not a number from 0 up")
    if not (histogram.zero_threshold >= 0 and histogram.zero_threshold < np.inf):
        raise BadRequestError(f"histogram zero_threshold is {histogram.zero_threshold}, not a number from 0 up")
    _validate_side("positive", histogram.positive_index, histogram.positive)
    _validate_side("negative", histogram.negative_index, histogram.negative)
    if len(histogram.positive) + len(histogram.negative) > MAX_BUCKETS:
        total = len(histogram.positive) + len(histogram.negative)
        raise BadRequestError(f"histogram has {total} buckets, more than {MAX_BUCKETS}")
    observed = histogram.zero_count + float(histogram.positive.sum()) + float(histogram.negative.sum())
    if observed > histogram.count * (1 + COUNT_TOLERANCE):
        raise BadRequestError(f"histogram count {histogram.count} is less than its buckets hold: {observed}")


def _validate_side(side: str, index: NDArray[np.int32], counts: NDArray[np.float64]) -> None:
    if index.ndim != 1 or index.shape != counts.shape:
        raise BadRequestError(f"histogram has {index.size} {side} bucket indices and {counts.size} counts")
    if len(index) and not (np.diff(index.astype(np.int64)) > 0).all():
        raise BadRequestError(f"histogram {side} bucket indices do not increase: {_head(index)}")
    if not ((counts >= 0) & (counts < np.inf)).all():
        bad = int(np.flatnonzero(~((counts >= 0) & (counts < np.inf)))[0])
        raise BadRequestError(f"histogram {side} bucket {index[bad]} holds {counts[bad]}, not a number from 0 up")


def _bits(histogram: NativeHistogram) -> NDArray[np.uint64]:
    fields = (histogram.count, histogram.sum, histogram.zero_threshold, histogram.zero_count)
    return np.array(fields, np.float64).view(np.uint64)


def _head(index: NDArray[np.int32]) -> str:
    return ", ".join(map(str, index[:8].tolist())) + (", …" if len(index) > 8 else "")
