from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.model.ids import TraceId
from collector.storage.traces import search
from collector.storage.traces.search import Matching, Position, Range, cursor_text, newest, parse_cursor

EVER = Range(0, 2**63 - 1)
SPANS = "SELECT trace_hi, trace_lo, span_id, start_unix_nano FROM spans WHERE start_unix_nano BETWEEN $start AND $end"
BY_SPAN = Matching(SPANS, {}, by_span=True)
WHOLE = Matching(SPANS, {}, by_span=False)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as made:
        columns = "trace_hi UBIGINT, trace_lo UBIGINT, span_id UBIGINT, start_unix_nano UBIGINT"
        made.execute(f"CREATE TABLE spans ({columns})")
        yield made


def pages(connection, matching, within, limit):
    found, after = [], None
    while True:
        page = newest(connection, matching, within, limit=limit, after=after)
        found += page.positions
        if not page.more:
            return found
        assert len(page.positions) == limit
        after, again = parse_cursor(cursor_text(page.positions[-1], within))
        assert again == within


spans = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9), st.integers(0, 30)), max_size=40)


@settings(max_examples=40, deadline=None)
@given(rows=spans, limit=st.integers(1, 5), first=st.integers(1, 10), start=st.integers(0, 10), end=st.integers(10, 30))
@pytest.mark.parametrize("matching", [BY_SPAN, WHOLE])
def test_pages_hold_every_trace_once_by_its_newest_match(connection, matching, rows, limit, first, start, end):
    """Whatever the size of the parts that the range is searched in."""
    connection.execute("DELETE FROM spans")
    if rows:
        values = ", ".join(f"({high}, {low}, 1, {at})" for high, low, at in rows)
        connection.execute(f"INSERT INTO spans VALUES {values}")  # noqa: S608  (numbers)
    latest = {}
    for high, low, at in rows:
        if start <= at <= end:
            latest[high, low] = max(at, latest.get((high, low), 0))
    expected = sorted((Position(at, *trace) for trace, at in latest.items()), reverse=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "FIRST_LOOK_SPANS", first)
        assert pages(connection, matching, Range(start, end), limit) == expected


def test_a_cursor_that_no_search_gave_is_refused():
    for wrong in ("", "x", "1-2-3", "1-" + "0" * 32 + "-1-1-1", "g-" + "0" * 32 + "-1-1"):
        with pytest.raises(ValueError, match="cursor"):
            parse_cursor(wrong)
    assert parse_cursor(f"a-{TraceId(1):032x}-0-ff") == (Position(10, 0, 1), Range(0, 255))
