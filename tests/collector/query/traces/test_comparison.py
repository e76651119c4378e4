from __future__ import annotations

import pytest

from collector.query.traces import comparison
from collector.query.traces.comparison import compare
from collector.query.traces.syntax import parse_filter
from collector.storage.traces.search import Range

EVER = Range(0, 2**63 - 1)


@pytest.fixture(scope="module")
def database(builder):
    """Twenty traces of two spans; the five slow ones called the new version of payment, as did one that was fast."""
    for trace in range(1, 21):
        slow = trace <= 5
        attributes = {"order": trace, "route": "/pay"}
        version = "2.0" if trace <= 6 else "1.9"
        builder.span(trace, 1, service="gateway", took_ms=900 if slow else 20, attributes=attributes)
        builder.span(trace, 2, 1, service="payment", resource=[("version", version)], took_ms=10)
    builder.store(times=2)
    return builder.database


def compared(database, selection, baseline="", limit=10):
    return compare(
        database, selection=parse_filter(selection), baseline=parse_filter(baseline), within=EVER, limit=limit
    )


def test_what_the_slow_ones_have_more_often_comes_first(database):
    found = compared(database, "duration > 500ms")
    assert (found.selection_traces, found.baseline_traces, found.capped) == (5, 15, False)
    (version,) = found.values  # not the route, which all have, nor the orders, of which each has its own
    assert version[:5] == ("resource", "version", "2.0", 5, 1)
    assert version.score == pytest.approx((5 / 5 - 1 / 15) / (0.3 * 0.7 * (1 / 5 + 1 / 15)) ** 0.5)


def test_the_baseline_may_be_named(database):
    found = compared(database, "duration > 500ms", '{resource.version = "2.0"}')
    assert (found.selection_traces, found.baseline_traces) == (5, 1)
    assert found.values == ()  # they all have it


def test_nothing_to_compare_is_an_empty_answer(database):
    assert compared(database, "duration > 5s").values == ()
    assert compared(database, "{}").baseline_traces == 0


def test_a_set_over_the_limit_is_cut_and_says_so(database, monkeypatch):
    monkeypatch.setattr(comparison, "MAX_TRACES", 4)
    found = compared(database, "duration > 500ms")
    assert (found.selection_traces, found.baseline_traces, found.capped) == (4, 4, True)
