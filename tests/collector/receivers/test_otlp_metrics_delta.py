from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.model.series import labels_of
from collector.receivers.otlp_metrics_delta import DeltaStreams

A, B, C = (labels_of({"__name__": name}) for name in "abc")
S = 1_000_000_000


def test_deltas_of_a_stream_are_added_up():
    streams = DeltaStreams()
    assert streams.add(A, (1.0, 2.0), start_nano=S, at_nano=2 * S)[0] == (1.0, 2.0)
    assert streams.add(A, (3.0, 4.0), start_nano=2 * S, at_nano=3 * S)[0] == (4.0, 6.0)
    assert streams.add(B, (5.0,), start_nano=2 * S, at_nano=3 * S)[0] == (5.0,)


@pytest.mark.parametrize(
    ("start_s", "at_s", "message"),
    [(2, 3, "delta is 0 ms behind the last"), (2, 2, "1000 ms behind the last"), (0.5, 4, "500 ms before its stream")],
)
def test_a_point_that_was_overtaken_is_refused(start_s, at_s, message):
    streams = DeltaStreams()
    streams.add(A, (1.0,), start_nano=S, at_nano=3 * S)
    with pytest.raises(ValueError, match=message):
        streams.add(A, (1.0,), start_nano=int(start_s * S), at_nano=at_s * S)
    assert streams.add(A, (1.0,), start_nano=3 * S, at_nano=4 * S)[0] == (2.0,)


def test_the_stream_that_is_silent_for_longest_is_forgotten_first():
    streams = DeltaStreams(limit=2)
    for at, series in enumerate((A, B, A, C), 1):
        streams.add(series, (1.0,), start_nano=0, at_nano=at * S)
    assert len(streams) == 2
    assert streams.add(A, (1.0,), start_nano=0, at_nano=9 * S)[0] == (3.0,)
    assert streams.add(B, (1.0,), start_nano=0, at_nano=9 * S)[0] == (1.0,)


def test_other_buckets_start_anew():
    streams = DeltaStreams()
    streams.add(A, (1.0, 1.0), start_nano=0, at_nano=S)
    assert streams.add(A, (1.0, 1.0, 1.0), start_nano=0, at_nano=2 * S)[0] == (1.0, 1.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=30))
def test_points_that_could_not_be_stored_and_come_again_are_counted_once(points):
    """As long as a sender waits for an answer, as OTLP has it."""
    streams = DeltaStreams()
    expected = 0
    for at, (value, fails) in enumerate(points, 1):
        if fails:
            _, addition = streams.add(A, (float(value),), start_nano=0, at_nano=at * S)
            streams.take_back(addition)
        expected += value
        total, _ = streams.add(A, (float(value),), start_nano=0, at_nano=at * S)
        assert total == (float(expected),)


def test_taking_back_leaves_what_came_meanwhile():
    streams = DeltaStreams()
    streams.add(A, (1.0,), start_nano=0, at_nano=S)
    _, lost = streams.add(A, (10.0,), start_nano=0, at_nano=2 * S)
    streams.add(A, (100.0,), start_nano=0, at_nano=3 * S)
    streams.take_back(lost)
    assert streams.add(A, (1000.0,), start_nano=0, at_nano=4 * S)[0] == (1101.0,)
