from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest

from collector.api.prometheus_encoding import matrix_data, series_json, vector_data
from collector.api.prometheus_histograms import bound, histogram_text
from collector.model.histogram import NO_COUNTS, NO_INDEX, HistogramSeries, NativeHistogram
from collector.model.series import ABSENT, labels_of

HISTOGRAM = NativeHistogram(
    schema=0,
    count=12.0,
    sum=18.4,
    zero_threshold=0.001,
    zero_count=2.0,
    positive_index=np.array([0, 1, 3], np.int32),
    positive=np.array([1.0, 2.0, 0.0]),
    negative_index=np.array([1, 2], np.int32),
    negative=np.array([3.0, 4.0]),
)
SHOWN = {
    "count": "12",
    "sum": "18.4",
    "buckets": [
        [1, "-4", "-2", "4"],
        [1, "-2", "-1", "3"],
        [3, "-0.001", "0.001", "2"],
        [0, "0.5", "1", "1"],
        [0, "1", "2", "2"],
    ],
}


def test_buckets_that_hold_something_are_shown_from_the_lowest_up() -> None:
    assert json.loads(histogram_text(HISTOGRAM)) == SHOWN


def test_empty_histogram_has_no_buckets() -> None:
    empty = NativeHistogram(3, 0.0, 0.0, 0.0, 0.0, NO_INDEX, NO_COUNTS, NO_INDEX, NO_COUNTS)
    assert json.loads(histogram_text(empty)) == {"count": "0", "sum": "0"}


@pytest.mark.parametrize(
    ("index", "schema", "upper"),
    [
        (0, 0, 1.0),
        (-1, 0, 0.5),
        (1, 1, math.sqrt(2)),
        (2, 1, 2.0),
        (1, -2, 16.0),
        (-3, 2, 2**-0.75),
        (1024, 0, sys.float_info.max),
        (1025, 0, math.inf),
        (8192, 3, sys.float_info.max),
        (-1080, 0, 0.0),
    ],
)
def test_bounds_grow_by_the_schema(index: int, schema: int, upper: float) -> None:
    assert bound(index, schema) == upper


def test_series_of_floats_and_histograms_has_both() -> None:
    labels = labels_of({"__name__": "x"})
    alone = labels_of({"__name__": "y"})
    times = np.array([1_000, 2_000])
    found = {one: HistogramSeries(one, np.array([2_000]), (HISTOGRAM,)) for one in (labels, alone)}
    values = np.array([[1.5, ABSENT], [ABSENT, ABSENT]])
    data = json.loads(b"".join(matrix_data(series_json((labels, alone), times, values, found))))
    assert data["result"] == [
        {"metric": {"__name__": "x"}, "values": [[1, "1.5"]], "histograms": [[2, SHOWN]]},
        {"metric": {"__name__": "y"}, "histograms": [[2, SHOWN]]},
    ]
    vector = vector_data((labels, alone), np.array([ABSENT, 2.0]), 2_500, histograms={0: HISTOGRAM})
    assert json.loads("".join(vector))["result"] == [
        {"metric": {"__name__": "x"}, "histogram": [2.5, SHOWN]},
        {"metric": {"__name__": "y"}, "value": [2.5, "2"]},
    ]
