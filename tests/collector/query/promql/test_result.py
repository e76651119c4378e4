"""What a query says beside its answer: annotations with their places, and statistics."""

from __future__ import annotations

import numpy as np
import pytest

from collector.model.series import METRIC_NAME, Block, labels_of
from collector.query.memory import MemorySource
from collector.query.promql.engine import Engine

COUNTS = np.arange(1.0, 61.0)


def engine() -> Engine:
    names = [
        {METRIC_NAME: "requests_total", "job": "a"},
        {METRIC_NAME: "load", "job": "a"},
        {METRIC_NAME: "load", "job": "b"},
        {METRIC_NAME: "latency_bucket", "le": "1"},
        {METRIC_NAME: "latency_bucket", "le": "2"},
        {METRIC_NAME: "latency_bucket", "le": "+Inf"},
        {METRIC_NAME: "odd_bucket", "le": "wide"},
    ]
    rows = [COUNTS, COUNTS, COUNTS, COUNTS * 3, COUNTS, COUNTS * 4, COUNTS]
    times = np.arange(60, dtype=np.int64) * 10_000
    return Engine(MemorySource([Block(tuple(map(labels_of, names)), times, np.array(rows))]))


@pytest.mark.parametrize(
    ("expr", "warnings", "infos"),
    [
        ("rate(requests_total[1m])", [], []),
        (
            "sum by (job) (\n  rate(load[1m])\n)",
            [],
            ['metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "load" (2:8)'],
        ),
        (
            "1 + increase((load)[1m:10s])",
            [],
            ['metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "load" (1:14)'],
        ),
        ("rate(load[1m]) or rate(load[1m])", [], [1, 2]),
        ("quantile(1.5, load)", ["quantile value should be between 0 and 1, got 1.5 (1:10)"], []),
        ("quantile_over_time(-1, load[1m])", ["quantile value should be between 0 and 1, got -1 (1:21)"], []),
        ("histogram_quantile(NaN, load)", [1, 2], []),
        ("limit_ratio(2, load)", ["ratio value should be between -1 and 1, got 2, capping to 1 (1:13)"], []),
        (
            "histogram_quantile(0.5, odd_bucket)",
            ['bucket label "le" is missing or has a malformed value of "wide" for metric name "odd_bucket" (1:25)'],
            [],
        ),
        ("histogram_quantile(0.5, sum by (le) (latency_bucket))", [], [1]),
        ("load + on (job) group_left () requests_total", [], []),
    ],
)
def test_annotation_has_prometheus_words_and_place(expr: str, warnings: list[str], infos: list[str]) -> None:
    """Numbers stand for as many texts."""
    result = engine().prepare(expr).range_result(start_ms=0, end_ms=600_000, step_ms=60_000)
    for found, wanted, kind in ((result.warnings, warnings, "warning"), (result.infos, infos, "info")):
        assert len(found) == len(wanted)
        if wanted and isinstance(wanted[0], str):
            assert found == tuple(f"PromQL {kind}: {text}" for text in wanted)


def test_no_more_than_ten_annotations_are_told_in_full() -> None:
    expr = " or ".join(f"quantile(1.{number}5, load)" for number in range(12))
    warnings = engine().prepare(expr).instant_result(at_ms=0).warnings
    assert len(warnings) == 11
    assert warnings[-1] == "2 more warning annotations omitted"


def test_statistics_count_samples_as_prometheus_does() -> None:
    prepared = engine().prepare("sum(load) + count(rate(requests_total[1m]))")
    statistics = prepared.range_result(start_ms=100_000, end_ms=300_000, step_ms=100_000).statistics
    assert statistics.queryable_per_step.tolist() == [8, 8, 8]  # two series, and six samples of a third
    assert statistics.queryable == 24
    assert statistics.peak > 0
    found = statistics.to_json(per_step=True)
    assert found["samples"]["totalQueryableSamplesPerStep"] == [[100.0, 8], [200.0, 8], [300.0, 8]]
    assert found["timings"]["execTotalTime"] > 0


def test_samples_of_a_subquery_count_for_the_steps_that_need_them() -> None:
    statistics = engine().prepare("sum_over_time(load[1m:10s])").instant_result(at_ms=300_000).statistics
    assert statistics.queryable_per_step.tolist() == [statistics.queryable]
    assert statistics.queryable == 2 * 6 + 2 * 6  # looked up at six steps, and taken from there
