"""Tables: many series at many timestamps in one append."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.model.histogram import NO_COUNTS, NO_INDEX, NativeHistogram
from collector.model.series import ABSENT, Exemplar, RefusalReason, SampleTable

START_MS = 1_700_000_000_000


def bits(value: float) -> int:
    return int(np.array([value], np.float64).view(np.uint64)[0])


def table(rig, names: list[str], offsets: list[int], values: list[list[float]], target: str = "t") -> SampleTable:
    labels = tuple(rig.series(name) for name in names)
    return SampleTable(target, labels, np.array(offsets, np.int64) + START_MS, np.array(values, np.float64))


def test_a_table_is_one_commit_and_comes_back_after_a_restart(rig):
    store = rig.open()
    outcome = rig.append(table(rig, ["a", "b"], [0, 5, 10], [[1, 2, 3], [4, ABSENT, 6]]))
    assert (outcome.stored, outcome.repeated, outcome.refusals) == (5, 0, ())
    assert store.stats.commits == 1
    expected = {
        rig.series("a"): {START_MS: bits(1), START_MS + 5: bits(2), START_MS + 10: bits(3)},
        rig.series("b"): {START_MS: bits(4), START_MS + 10: bits(6)},
    }
    assert rig.everything() == expected
    rig.open()
    assert rig.everything() == expected


def test_only_the_columns_outside_the_allowed_time_are_refused(rig):
    rig.open(retention_s=60)
    outcome = rig.append(table(rig, ["a"], [-60_001, -60_000, 0, 600_000, 600_001], [[1, 2, 3, 4, 5]]))
    assert outcome.stored == 3
    assert {(each.reason, each.count) for each in outcome.refusals} == {
        (RefusalReason.TOO_OLD, 1),
        (RefusalReason.TOO_FAR_AHEAD, 1),
    }


@pytest.mark.parametrize(
    ("offsets", "values", "message"),
    [
        ([0, 0], [[1, 2]], "timestamps do not increase"),
        ([5, 1], [[1, 2]], "timestamps do not increase"),
        ([0], [[1, 2]], r"values of shape \(1, 2\) for 1 series at 1 timestamps"),
    ],
)
def test_a_table_of_the_wrong_shape_is_refused_whole(rig, offsets, values, message):
    rig.open()
    with pytest.raises(ValueError, match=message):
        rig.append(table(rig, ["a"], offsets, values))
    assert rig.everything() == {}


def test_a_wrong_table_does_not_fail_those_that_share_its_commit(rig):
    store = rig.open()
    right = table(rig, ["a"], [0], [[1]])
    exemplar = Exemplar((("trace_id", "x"),), 1.0, START_MS)
    histogram = NativeHistogram(0, 0.0, 0.0, 0.0, 0.0, NO_INDEX, NO_COUNTS, NO_INDEX, NO_COUNTS)
    wrong = [
        (replace(right, values=right.values.astype(np.float32)), "float32 values at int64 timestamps"),
        (replace(right, exemplars=((1, exemplar),)), "is of none of 1 series, 1 timestamps"),
        (replace(right, histograms=((0, 1, histogram),)), "is of none of 1 series, 1 timestamps"),
    ]
    for each, message in wrong:
        with pytest.raises(ValueError, match=message):
            store.submit([each])
    assert rig.append(right).stored == 1


async def test_refusals_are_in_the_outcome_and_no_exception(rig):
    store = rig.open(series_limit=1)
    outcome = await store.append_tables([table(rig, ["a", "b"], [0], [[1], [2]])])
    assert outcome.stored == 1
    assert [(each.reason, each.count) for each in outcome.refusals] == [(RefusalReason.SERIES_LIMIT, 1)]


def test_a_long_table_is_cut_into_records_that_a_frame_can_hold(rig, monkeypatch):
    monkeypatch.setattr("collector.storage.metrics.wal.RECORD_VALUES", 7)
    rig.open()
    rig.append(table(rig, ["a", "b", "c"], list(range(11)), np.arange(33.0).reshape(3, 11).tolist()))
    rig.open()
    assert rig.everything()[rig.series("c")] == {START_MS + at: bits(22.0 + at) for at in range(11)}


CELLS = st.one_of(st.just(float(ABSENT)), st.integers(0, 5).map(float), st.just(float("nan")))
TABLES = st.tuples(
    st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(0, 20), min_size=1, max_size=5, unique=True).map(sorted),
    st.lists(CELLS, min_size=20, max_size=20),
    st.integers(0, 1),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(TABLES, min_size=1, max_size=3)),
        st.tuples(st.just("seal"), st.integers(0, 20)),
        st.tuples(st.just("reopen")),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, window_ms=st.sampled_from([0, 3, 300_000]))
def test_tables_in_any_order_keep_what_the_window_allows_and_the_first_of_each(rig_at, steps, window_ms):
    with tempfile.TemporaryDirectory() as directory:
        rig = rig_at(Path(directory))
        rig.open(out_of_order_s=window_ms / 1000)
        expected: dict[tuple[tuple[str, str], ...], dict[int, int]] = {}
        for step in steps:
            match step:
                case ("append", tables):
                    sent = []
                    for series, offsets, cells, target in tables:
                        values = [
                            [cells[5 * row + column] for column in range(len(offsets))] for row in range(len(series))
                        ]
                        sent.append(table(rig, [f"m{number}" for number in series], offsets, values, f"t{target}"))
                        _expect(expected, sent[-1], window_ms)
                    rig.append(*sent)
                case ("seal", offset):
                    rig.store.seal_up_to(START_MS + offset)
                case ("reopen",) if (
                    window_ms == 300_000
                ):  # of a sealed series a restart knows no more than a chunk's begin
                    rig.open(out_of_order_s=window_ms / 1000)
            assert rig.everything() == {labels: row for labels, row in expected.items() if row}
        rig.close()


def _expect(expected, sent: SampleTable, window_ms: int) -> None:
    for labels, row in zip(sent.labels, sent.values.view(np.uint64).tolist(), strict=True):
        known = expected.setdefault(labels, {})
        newest = max(known, default=0)
        for at, value in zip(sent.timestamps_ms.tolist(), row, strict=True):
            if value != bits(ABSENT) and at >= newest - window_ms:
                known.setdefault(at, value)
