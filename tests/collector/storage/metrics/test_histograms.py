"""Native histograms are kept bit for bit through the log, the segments and a crash."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.errors import BadRequestError
from collector.model.histogram import STALE_HISTOGRAM, NativeHistogram, validate
from collector.model.series import ABSENT, RefusalReason, SampleBatch, SampleTable

START_MS = 1_700_000_000_000
ALL = {"min_ms": 0, "max_ms": 1 << 60}


def histogram(count: float = 6.0, first: int = -2, **changes: object) -> NativeHistogram:
    fields: dict[str, object] = {
        "schema": 3,
        "count": count,
        "sum": 1.5 * count,
        "zero_threshold": 1e-128,
        "zero_count": 1.0,
        "positive_index": np.array([first, first + 1, first + 5], np.int32),
        "positive": np.array([1.0, 2.0, count - 5]),
        "negative_index": np.array([0], np.int32),
        "negative": np.array([1.0]),
    }
    return NativeHistogram(**(fields | changes))  # type: ignore[arg-type]


def batch(rig, at_ms: int, each: NativeHistogram, name: str = "latency", target: str = "otlp|shop|1") -> SampleBatch:
    return SampleBatch(target, at_ms, (rig.series(name),), np.array([ABSENT]), histograms=((0, each),))


def content(rig) -> dict[str, list[tuple[int, NativeHistogram]]]:
    return {
        dict(found.labels)["__name__"]: list(zip(found.timestamps_ms.tolist(), found.histograms, strict=True))
        for found in rig.store.select_histograms([], **ALL)
    }


def same(found: list[tuple[int, NativeHistogram]], expected: list[tuple[int, NativeHistogram]]) -> bool:
    return [at for at, _ in found] == [at for at, _ in expected] and all(
        one.identical(other) for (_, one), (_, other) in zip(found, expected, strict=True)
    )


def test_histograms_come_back_from_head_log_and_segment(rig):
    store = rig.open()
    sent = [(START_MS + step, histogram(6.0 + step, first=step // 4)) for step in range(12)]
    sent.append((START_MS + 12, STALE_HISTOGRAM))
    sent.append((START_MS + 13, histogram(gauge=True, sum=float("nan"))))
    for at, each in sent:
        rig.append(batch(rig, at, each))
    assert same(content(rig)["latency"], sent)
    rig.open()
    assert same(content(rig)["latency"], sent)
    rig.store.seal_up_to(START_MS + 7)
    assert same(content(rig)["latency"], sent)
    store = rig.open()
    assert same(content(rig)["latency"], sent)
    (found,) = store.select_histograms(rig.named("latency"), min_ms=START_MS + 2, max_ms=START_MS + 9)
    assert found.timestamps_ms.tolist() == [START_MS + step for step in range(2, 10)]
    assert found.histograms[0].identical(sent[2][1])


def test_a_series_has_floats_at_some_times_and_histograms_at_others(rig):
    store = rig.open()
    name = rig.series("latency")
    rig.append(rig.batch(START_MS, {name: 3.0}, "otlp|shop|1"), batch(rig, START_MS + 1, histogram()))
    for _ in range(2):
        (block,) = store.select(rig.named("latency"), **ALL)
        assert (block.timestamps_ms.tolist(), block.values.tolist()) == ([START_MS], [[3.0]])
        assert [at for at, _ in content(rig)["latency"]] == [START_MS + 1]
        store.seal_up_to(START_MS + 1)
        store = rig.open()


def test_series_of_histograms_are_found_by_their_labels_in_their_time(rig):
    store = rig.open()
    rig.append(batch(rig, START_MS, histogram()), batch(rig, START_MS + 9, histogram(), "other", "otlp|shop|2"))
    assert store.series(rig.named("latency"), min_ms=START_MS, max_ms=START_MS + 5) == [rig.series("latency")]
    assert store.label_values("__name__", [], min_ms=START_MS + 5, max_ms=START_MS + 10) == ["other"]
    assert store.select(rig.named("latency"), **ALL) == []
    store.seal_up_to(START_MS + 9)
    assert store.label_values("__name__", [], **ALL) == ["latency", "other"]


def test_a_late_histogram_takes_its_place_and_another_at_the_same_time_is_refused(rig):
    store = rig.open()
    first, late = histogram(7.0), histogram(8.0)
    rig.append(batch(rig, START_MS + 10, first))
    store.seal_up_to(START_MS + 10)
    outcome = rig.append(batch(rig, START_MS + 5, late), batch(rig, START_MS + 5, late))
    assert (outcome.stored, outcome.repeated, outcome.refusals) == (1, 1, ())
    other = rig.append(batch(rig, START_MS + 5, histogram(9.0)))
    assert [each.reason for each in other.refusals] == [RefusalReason.DUPLICATE]
    too_late = rig.append(batch(rig, START_MS + 10 - 300_001, late))
    assert [each.reason for each in too_late.refusals] == [RefusalReason.OUT_OF_ORDER]
    for _ in range(3):
        assert same(content(rig)["latency"], [(START_MS + 5, late), (START_MS + 10, first)])
        store = rig.open()
        store.seal_up_to(START_MS + 10)


def test_histograms_leave_with_the_retention(rig):
    store = rig.open(retention_s=1800)
    for step in range(400):
        rig.now_ms = START_MS + step * 10_000
        rig.append(batch(rig, rig.now_ms, histogram(), "old" if step < 100 else "new", f"t{step < 100}"))
    assert set(content(rig)) == {"new"}
    assert store.series_count == 1
    assert store.stats.histograms == 400


COUNTS = st.lists(st.integers(0, 1 << 40).map(float), max_size=4)
HISTOGRAMS = st.builds(
    lambda schema, positive, negative, start, total, gauge: NativeHistogram(
        schema,
        total,
        total / 3,
        0.0,
        0.0,
        np.arange(start, start + 3 * len(positive), 3, dtype=np.int32),
        np.array(positive, np.float64),
        np.arange(len(negative), dtype=np.int32),
        np.array(negative, np.float64),
        gauge,
    ),
    st.integers(-4, 8),
    COUNTS,
    COUNTS,
    st.integers(-1000, 1000),
    st.floats(0, 1e18),
    st.booleans(),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 1), st.integers(0, 9), HISTOGRAMS),
        st.tuples(st.just("seal"), st.integers(0, 9)),
        st.tuples(st.just("reopen")),
    ),
    max_size=20,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_what_is_appended_comes_back_across_sealing_and_reopening(rig_at, steps):
    with tempfile.TemporaryDirectory() as directory:
        rig = rig_at(Path(directory))
        rig.open()
        expected: dict[str, dict[int, NativeHistogram]] = {}
        for step in steps:
            match step:
                case ("append", number, offset, each):
                    rig.append(batch(rig, START_MS + offset, each, f"m{number}"))
                    expected.setdefault(f"m{number}", {}).setdefault(START_MS + offset, each)
                case ("seal", offset):
                    rig.store.seal_up_to(START_MS + offset)
                case ("reopen",):
                    rig.open()
            found = content(rig)
            assert found.keys() == expected.keys()
            assert all(same(found[name], sorted(row.items())) for name, row in expected.items())
        rig.close()


def test_a_table_brings_histograms_at_several_times(rig):
    store = rig.open()
    names = (rig.series("a"), rig.series("b"))
    times = np.array([START_MS, START_MS + 1], np.int64)
    values = np.array([[1.0, ABSENT], [ABSENT, ABSENT]])
    one, two = histogram(7.0), histogram(8.0)
    rig.append(SampleTable("t", names, times, values, histograms=((1, 0, one), (1, 1, two))))
    assert same(content(rig)["b"], [(START_MS, one), (START_MS + 1, two)])
    assert [block.labels for block in store.select([], **ALL)] == [(names[0],)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 9}, r"schema 9 is not within -4\.\.8"),
        ({"count": -1.0}, "count is -1.0"),
        ({"zero_count": float("nan")}, "zero_count is nan"),
        ({"zero_threshold": float("inf")}, "zero_threshold is inf"),
        ({"positive_index": np.array([1, 1, 2], np.int32)}, "positive bucket indices do not increase: 1, 1, 2"),
        ({"negative_index": np.array([1, 2], np.int32)}, "2 negative bucket indices and 1 counts"),
        ({"positive": np.array([1.0, -2.0, 1.0])}, "positive bucket -1 holds -2.0"),
        ({"count": 3.0}, "count 3.0 is less than its buckets hold: 6.0"),
    ],
)
def test_a_wrong_histogram_is_named_for_what_is_wrong(changes, message):
    with pytest.raises(BadRequestError, match=message):
        validate(histogram(**{"positive": np.array([1.0, 2.0, 1.0])} | changes))


def test_right_histograms_are_valid():
    validate(histogram())
    validate(STALE_HISTOGRAM)
