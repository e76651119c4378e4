"""Native histograms where Prometheus 2.42 cannot be asked: it lacks these operators, functions and warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from collector.model.histogram import NO_COUNTS, NO_INDEX, HistogramSeries, NativeHistogram
from collector.model.series import METRIC_NAME, STALE, Block, Labels, Vector, labels_of
from collector.query.memory import MemorySource
from collector.query.promql.engine import Engine
from collector.query.promql.result import Result
from collector.query.promql.values import Answer, InstantVector

STEP_MS = 10_000


def histogram(
    buckets: Mapping[int, float],
    *,
    schema: int = 0,
    total: float = 0.0,
    zero: float = 0.0,
    threshold: float = 0.001,
    nan: float = 0.0,
    gauge: bool = False,
) -> NativeHistogram:
    """`nan` observations are counted, but in no bucket."""
    index = np.array(sorted(buckets), dtype=np.int32)
    counts = np.array([buckets[one] for one in index.tolist()], dtype=np.float64)
    count = float(counts.sum()) + zero + nan
    return NativeHistogram(
        schema, count, math.nan if nan else total, threshold, zero, index, counts, NO_INDEX, NO_COUNTS, gauge
    )


def series(name: str, *histograms: NativeHistogram, **labels: str) -> HistogramSeries:
    times = np.arange(len(histograms), dtype=np.int64) * STEP_MS
    return HistogramSeries(labels_of({METRIC_NAME: name} | labels), times, histograms)


def floats(name: str, *values: float, start: int = 0, **labels: str) -> Block:
    times = (np.arange(len(values), dtype=np.int64) + start) * STEP_MS
    return Block((labels_of({METRIC_NAME: name} | labels),), times, np.array([values], dtype=np.float64))


def asked(
    expr: str, histograms: list[HistogramSeries], blocks: list[Block] | None = None, *, at_ms: int = 0
) -> Result[Answer]:
    engine = Engine(MemorySource(blocks or [], histograms=histograms))
    return engine.prepare(expr).instant_result(at_ms=at_ms)


def numbers(result: Result[Answer]) -> dict[Labels, float]:
    assert isinstance(result.value, Vector)
    return dict(zip(result.value.labels, result.value.values.tolist(), strict=True))


def only(result: Result[Answer]) -> NativeHistogram:
    assert isinstance(result.value, InstantVector), result.value
    (found,) = result.value.histograms.values()
    return found


def contents(one: NativeHistogram) -> tuple[float, float, float, dict[int, float]]:
    pairs = zip(one.positive_index.tolist(), one.positive.tolist(), strict=True)
    return one.count, one.sum, one.zero_count, dict(pairs)


def test_quantile_interpolates_on_a_logarithmic_scale() -> None:
    found = numbers(asked("histogram_quantile(0.5, h)", [series("h", histogram({1: 4}))]))
    assert found == {(): pytest.approx(math.sqrt(2))}


def test_quantile_interpolates_linearly_in_the_zero_bucket() -> None:
    one = series("h", histogram({}, zero=4, threshold=0.5))
    assert numbers(asked("histogram_quantile(0.75, h)", [one])) == {(): pytest.approx(0.25)}


def test_fraction_is_the_inverse_of_the_quantile() -> None:
    one = series("h", histogram({-1: 3, 0: 2, 1: 4, 3: 1}, schema=2, zero=2))
    for ratio in (0.05, 0.3, 0.5, 0.8, 0.99):
        expr = f"histogram_fraction(-Inf, scalar(histogram_quantile({ratio}, h)), h)"
        assert numbers(asked(expr, [one])) == {(): pytest.approx(ratio)}


def test_statistics_of_a_histogram() -> None:
    one = series("h", histogram({1: 2, 3: 2}, total=12))
    for expr, value in (("count", 4), ("sum", 12), ("avg", 3)):
        assert numbers(asked(f"histogram_{expr}(h)", [one])) == {(): value}
    variance = (2 * (math.sqrt(2) - 3) ** 2 + 2 * (math.sqrt(32) - 3) ** 2) / 4
    assert numbers(asked("histogram_stdvar(h)", [one])) == {(): pytest.approx(variance)}
    assert numbers(asked("histogram_stddev(h)", [one])) == {(): pytest.approx(math.sqrt(variance))}


def test_nan_observations_move_the_quantile_and_are_told_of() -> None:
    one = series("h", histogram({1: 8}, nan=2))
    result = asked("histogram_quantile(0.5, h)", [one])
    assert numbers(result) == {(): pytest.approx(2 ** (5 / 8))}
    (info,) = result.infos
    told = "input to histogram_quantile has NaN observations, result is skewed higher"
    assert info == f'PromQL info: {told} for metric name "h" (1:20)'
    assert math.isnan(numbers(asked("histogram_quantile(0.9, h)", [one]))[()])


def test_increase_adds_what_was_counted_before_a_reset() -> None:
    one = series("h", histogram({0: 10, 1: 10}), histogram({0: 14, 1: 10}), histogram({0: 1}), histogram({0: 3}))
    # from 20 to 24, reset, to 3: 7 in 30 s of a window of 30 s
    found = only(asked("increase(h[30001ms])", [one], at_ms=30_000))
    assert found.gauge
    assert found.count == pytest.approx(7, rel=1e-3)
    assert dict(zip(found.positive_index.tolist(), found.positive.tolist(), strict=True))[0] == pytest.approx(7, 1e-3)


def test_rate_over_a_change_of_schema_is_in_the_coarser_one() -> None:
    one = series("h", histogram({1: 1, 2: 1}, schema=1), histogram({1: 3, 2: 2}, schema=0))
    found = only(asked("increase(h[10001ms])", [one], at_ms=10_000))
    assert found.schema == 0
    assert contents(found)[3] == {1: pytest.approx(1, 1e-3), 2: pytest.approx(2, 1e-3)}


def test_increase_is_in_the_coarsest_schema_of_its_window() -> None:
    fine = [histogram({1: 1.0 * n, 2: 1.0 * n}, schema=1) for n in (1, 2, 4)]
    one = series("h", fine[0], histogram({1: 4}, schema=0), fine[2])
    assert only(asked("increase(h[20001ms])", [one], at_ms=20_000)).schema == 0
    assert only(asked("delta(h[20001ms])", [one], at_ms=20_000)).schema == 1


def test_sum_over_schemas_and_zero_buckets_reconciles_both() -> None:
    fine = series("h", histogram({-2: 5, 1: 1, 2: 2, 3: 3}, schema=1), a="1")
    coarse = series("h", histogram({1: 7}, schema=0, zero=1, threshold=0.3), a="2")
    found = only(asked("sum(h)", [fine, coarse]))
    # in the coarser schema, (0.25, 0.5] is cut by the threshold 0.3, which grows to its end
    assert (found.schema, found.zero_threshold) == (0, 0.5)
    assert contents(found) == (19, 0, 6, {1: 10, 2: 3})


def test_average_of_histograms() -> None:
    found = only(asked("avg(h)", [series("h", histogram({1: 2}), a="1"), series("h", histogram({1: 4}), a="2")]))
    assert contents(found)[3] == {1: 3}


@pytest.mark.parametrize(
    ("expr", "buckets"),
    [
        ("h * 2", {1: 4, 2: 6}),
        ("2 * h", {1: 4, 2: 6}),
        ("h / 2", {1: 1, 2: 1.5}),
        ("-h", {1: -2, 2: -3}),
        ("h + h", {1: 4, 2: 6}),
        ("h - ignoring (x) h", {}),
        ("h == h", {1: 2, 2: 3}),
        ("sum_over_time(h[5s])", {1: 2, 2: 3}),
        ("last_over_time(h[5s])", {1: 2, 2: 3}),
        ("h or vector(1)", {1: 2, 2: 3}),
        ("topk(1, h) or h", {1: 2, 2: 3}),
        ("limitk(1, h)", {1: 2, 2: 3}),
        ('label_replace(h, "a", "b", "", "")', {1: 2, 2: 3}),
    ],
)
def test_operator_gives_a_histogram(expr: str, buckets: dict[int, float]) -> None:
    found = only(asked(expr, [series("h", histogram({1: 2, 2: 3}))]))
    assert contents(found)[3] == buckets


@pytest.mark.parametrize(
    ("expr", "info"),
    [
        ("h + 1", '"+": histogram + float (1:1)'),
        ("1 - h", '"-": float - histogram (1:1)'),
        ("sum(h > 5)", '">": histogram > float (1:5)'),
        ("h * h", '"*": histogram * histogram (1:1)'),
        ("2 / h", '"/": float / histogram (1:1)'),
    ],
)
def test_operator_that_histograms_do_not_have_says_so_and_where(expr: str, info: str) -> None:
    result = asked(expr, [series("h", histogram({1: 2}))])
    assert numbers(result) == {}
    assert result.infos == (f"PromQL info: incompatible sample types encountered for binary operator {info}",)


@pytest.mark.parametrize("name", ["min", "max", "stddev", "stdvar"])
def test_aggregation_of_floats_leaves_histograms_out_and_says_so(name: str) -> None:
    result = asked(f"{name}({{a='1'}})", [series("h", histogram({1: 2}), a="1")], [floats("f", 5.0, a="1")])
    assert numbers(result) == {(): 5.0 if name in {"min", "max"} else 0.0}
    assert result.infos == (f"PromQL info: ignored histogram in {name} aggregation (1:{len(name) + 2})",)


def test_sum_of_floats_and_histograms_is_nothing_and_a_warning() -> None:
    result = asked("sum({a='1'})", [series("h", histogram({1: 2}), a="1")], [floats("f", 5.0, a="1")])
    assert numbers(result) == {}
    assert result.warnings == ("PromQL warning: encountered a mix of histograms and floats for aggregation (1:5)",)
    assert numbers(asked("count({a='1'})", [series("h", histogram({1: 2}), a="1")], [floats("f", 5.0, a="1")])) == {
        (): 2.0
    }


def test_series_that_became_a_histogram_answers_with_its_latest_sample() -> None:
    values, later = [floats("x", 1.0, 2.0)], series("x", *[histogram({1: 1})] * 3)
    later = HistogramSeries(later.labels, later.timestamps_ms + 2 * STEP_MS, later.histograms)
    assert list(numbers(asked("x", [later], values, at_ms=10_000)).values()) == [2.0]
    assert only(asked("x", [later], values, at_ms=40_000)).count == 1
    warned = asked("rate(x[1m])", [later], values, at_ms=40_000)
    assert numbers(warned) == {}
    assert warned.warnings == ('PromQL warning: encountered a mix of histograms and floats for metric name "x" (1:6)',)
    assert list(numbers(asked("count_over_time(x[1m])", [later], values, at_ms=40_000)).values()) == [5.0]
    ignored = asked("max_over_time(x[1m])", [later], values, at_ms=40_000)
    assert list(numbers(ignored).values()) == [2.0]
    assert ignored.infos == (
        'PromQL info: ignored histograms in a range containing both floats and histograms for metric name "x" (1:15)',
    )


def test_change_of_kind_is_a_change_and_a_reset() -> None:
    values = [floats("x", 1.0, 2.0, 1.0), floats("x", 7.0, start=6)]
    block = Block(
        values[0].labels,
        np.concatenate([one.timestamps_ms for one in values]),
        np.concatenate([one.values for one in values], axis=1),
    )
    later = series("x", *[histogram({1: count}) for count in (4, 4, 3)])
    later = HistogramSeries(later.labels, later.timestamps_ms + 3 * STEP_MS, later.histograms)
    plain = series("y", histogram({1: 4}), histogram({1: 5}))
    for name, expected in (("changes", 5.0), ("resets", 4.0)):
        found = numbers(asked(f"{name}(x[2m])", [later], [block], at_ms=60_000))
        assert found == {(): expected}
        inside = numbers(asked(f"{name}(x[31s])", [later], [block], at_ms=60_000))
        assert inside == {(): 2.0}
    assert numbers(asked("changes(y[2m])", [plain], at_ms=60_000)) == {(): 1.0}


def test_stale_marker_ends_a_series_of_histograms() -> None:
    stale = NativeHistogram(0, 0, float(STALE), 0, 0, NO_INDEX, NO_COUNTS, NO_INDEX, NO_COUNTS)
    one = series("h", histogram({1: 1}), stale)
    assert only(asked("h", [one], at_ms=9_000)).count == 1
    assert numbers(asked("h", [one], at_ms=10_000)) == {}
    assert numbers(asked("count_over_time(h[1m])", [one], at_ms=10_000)) == {(): 1.0}


def test_classic_and_native_histogram_of_one_name_answer_nothing_and_warn() -> None:
    buckets = [floats("h", 1.0, le="1"), floats("h", 2.0, le="+Inf")]
    result = asked("histogram_quantile(0.5, h)", [series("h", histogram({1: 2}))], buckets)
    assert numbers(result) == {}
    assert result.warnings == (
        'PromQL warning: vector contains a mix of classic and native histograms for metric name "h" (1:25)',
    )


def test_counter_function_on_a_gauge_warns() -> None:
    one = series("h", histogram({1: 1}, gauge=True), histogram({1: 2}, gauge=True))
    result = asked("rate(h[1m])", [one], at_ms=10_000)
    assert result.warnings == ('PromQL warning: this native histogram metric is not a counter: "h" (1:6)',)
    assert asked("delta(h[1m])", [one], at_ms=10_000).warnings == ()


def test_equal_histograms_compare_bucket_by_bucket() -> None:
    pair = [series("a", histogram({1: 1, 5: 2})), series("b", histogram({1: 1, 5: 2}))]
    assert numbers(asked("a == bool ignoring (__name__) b", pair)) == {(): 1.0}
    assert numbers(asked("a != b", pair)) == {}


def test_far_apart_buckets_cost_columns_and_not_a_range_of_indexes() -> None:
    one = series("h", histogram({-(2**30): 1, 2**30: 1}), histogram({-(2**30): 2, 2**30: 5}))
    assert only(asked("rate(h[1m])", [one], at_ms=10_000)).positive_index.tolist() == [-(2**30), 2**30]


def test_range_query_answers_histograms_step_by_step() -> None:
    source = MemorySource(histograms=[series("h", histogram({1: 1}), histogram({1: 2}), histogram({1: 4}))])
    matrix = Engine(source).range("irate(h[1m])", start_ms=0, end_ms=20_000, step_ms=10_000)
    assert {step: one.count for step, one in matrix.histograms[0].items()} == {1: 0.1, 2: 0.2}
    assert np.isnan(matrix.values).all()


def test_count_values_names_histograms_as_prometheus_prints_them() -> None:
    found = numbers(asked('count_values("v", h)', [series("h", histogram({1: 2}, total=3.5, zero=1, threshold=0.5))]))
    assert found == {(("v", "{count:3, sum:3.5, [-0.5,0.5]:1, (1,2]:2}"),): 1.0}
