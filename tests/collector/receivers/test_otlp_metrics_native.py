from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from collector.model.histogram import NativeHistogram, validate
from collector.receivers.otlp_metrics_native import added, native_histogram, taken_away

# The SDK records none below 0; negative buckets mirror the positive ones.
Observations = st.lists(st.just(0.0) | st.floats(1e-6, 1e6), min_size=1, max_size=20)


def point(scale: int, offset: int, counts: list[int], **fields: object) -> ExponentialHistogramDataPoint:
    sent = ExponentialHistogramDataPoint(scale=scale, count=sum(counts), sum=1.0, **fields)
    sent.positive.offset = offset
    sent.positive.bucket_counts.extend(counts)
    return sent


def exponential(values: list[float], *, max_size: int = 20, negative: bool = False) -> NativeHistogram:
    """What OpenTelemetry's own SDK makes of the values, or of their negatives."""
    reader = InMemoryMetricReader()
    view = View(instrument_name="*", aggregation=ExponentialBucketHistogramAggregation(max_size=max_size))
    provider = MeterProvider([reader], views=[view], shutdown_on_exit=False)
    histogram = provider.get_meter("m").create_histogram("h")
    for value in values:
        histogram.record(value)
    data = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
    provider.shutdown()
    sent = ExponentialHistogramDataPoint(scale=data.scale, count=data.count, sum=data.sum, zero_count=data.zero_count)
    side = sent.negative if negative else sent.positive
    side.offset = data.positive.offset
    side.bucket_counts.extend(data.positive.bucket_counts)
    return native_histogram(sent)


def bucket_of(histogram: NativeHistogram, value: float) -> int:
    """The index by the definition: the value is in (base**(i-1), base**i]."""
    return math.ceil(math.log2(abs(value)) * 2.0**histogram.schema)


@pytest.mark.parametrize(
    ("scale", "offset", "schema", "index"),
    [
        (0, 0, 0, [1, 2, 3]),  # bucket 0 of OpenTelemetry is (1, 2], which is bucket 1 of Prometheus
        (3, -4, 3, [-3, -2, -1]),
        (10, 0, 8, [1]),  # four buckets of scale 10 are one of schema 8
        (9, -3, 8, [-1, 0]),
    ],
)
def test_buckets_shift_by_one_and_are_merged_where_the_scale_is_too_fine(scale, offset, schema, index):
    histogram = native_histogram(point(scale, offset, [1, 2, 3]))
    assert (histogram.schema, histogram.positive_index.tolist()) == (schema, index)
    assert histogram.positive.sum() == histogram.count == 6
    validate(histogram)


def test_empty_buckets_are_left_out_and_the_zero_bucket_has_prometheuss_width():
    histogram = native_histogram(point(0, 0, [1, 0, 0, 4], zero_count=0))
    assert histogram.positive_index.tolist() == [1, 4]
    assert histogram.positive.tolist() == [1.0, 4.0]
    assert histogram.zero_threshold == 1e-128


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (point(-5, 0, [1]), "scale -5 is below -4"),
        (point(0, 2**31 - 1, [1, 1]), "bucket offset 2147483647 is out of bounds"),
        (point(0, 0, [0] * 20_000), "20000 buckets, more than 16384"),
    ],
)
def test_what_no_native_histogram_can_be_is_refused_by_name(sent, message):
    with pytest.raises(ValueError, match=message):
        native_histogram(sent)


@settings(max_examples=30)
@given(values=Observations, negative=st.booleans())
def test_each_observation_is_in_its_bucket(values, negative):
    histogram = exponential(values, negative=negative)
    validate(histogram)
    index = histogram.negative_index if negative else histogram.positive_index
    for value in filter(None, values):
        near = {bucket_of(histogram, value) + step for step in (-1, 0, 1)}  # a logarithm rounds at a bound
        assert near & set(index.tolist())
    assert histogram.zero_count == values.count(0)


@settings(max_examples=30)
@given(negative=st.booleans(), first=Observations, second=Observations)
def test_the_sum_of_two_has_all_observations_and_can_be_taken_back(negative, first, second):
    one, other = exponential(first, negative=negative), exponential(second, max_size=8)
    total = added(one, other)
    validate(total)
    assert total.schema == min(one.schema, other.schema)
    assert total.count == len(first) + len(second)
    assert total.zero_count + total.positive.sum() + total.negative.sum() == total.count
    again = taken_away(total, other)
    assert (again.count, again.zero_count) == (one.count, one.zero_count)
    assert np.array_equal(added(again, other).positive, total.positive)


def test_a_wider_zero_bucket_takes_in_what_it_covers():
    narrow = native_histogram(point(0, -3, [1, 1, 1, 1]))  # (1/8, 1/4], (1/4, 1/2], (1/2, 1], (1, 2]
    wide = native_histogram(point(0, 1, [5], zero_count=2, zero_threshold=0.3))
    total = added(narrow, wide)
    assert total.zero_threshold == 0.5  # 0.3 falls into (1/4, 1/2], which is not empty
    assert total.zero_count == 2 + 2
    assert dict(zip(total.positive_index.tolist(), total.positive.tolist(), strict=True)) == {0: 1.0, 1: 1.0, 2: 5.0}
