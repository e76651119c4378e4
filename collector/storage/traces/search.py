"""
The search for traces: the newest first, a page at a time.

A search reads the newest spans first and stops when it has a page. What is common is found in a small part of the
range, whatever the range. What is rare is looked for where the attribute index has it (attribute_index.py); what that
does not know, such as a regular expression, costs one scan of the range.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import duckdb

from collector.model.ids import TraceId, trace_id_halves, trace_id_hex, trace_id_of
from collector.storage.traces.attribute_index import Interval, blocks_with, joined, waiting_intervals
from collector.storage.traces.needs import Needs

# Spans that the first look reads, about 10 ms of scanning; each further look reads FACTOR times as many.
FIRST_LOOK_SPANS = 200_000
FACTOR = 4
_CURSOR = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{32})-([0-9a-f]{1,16})-([0-9a-f]{1,16})")


@dataclass(frozen=True, slots=True)
class Matching:
    """The spans that a search is for, as SQL that yields trace_hi, trace_lo, span_id and start_unix_nano of each."""

    sql: str  # of spans that start from $start to $end, both inclusive
    values: Mapping[str, object]  # the other parameters
    by_span: bool  # whether a span matches by itself, so that the range may be searched in parts
    needs: Needs = ()  # of each of the spans


class Position(NamedTuple):
    """Where a trace stands in the order of answers, which is descending."""

    at_unix_nano: int  # the start of its newest matching span
    trace_hi: int
    trace_lo: int

    @property
    def trace_id(self) -> TraceId:
        return trace_id_of(self.trace_hi, self.trace_lo)


@dataclass(frozen=True, slots=True)
class Range:
    start_unix_nano: int  # both inclusive
    end_unix_nano: int


@dataclass(frozen=True, slots=True)
class Page:
    positions: Sequence[Position]
    more: bool  # there are others after the last of these


def cursor_text(after: Position, within: Range) -> str:
    """What continues a search after `after`. It holds the range too, so that a range that ended now stays the same."""
    start, end = within.start_unix_nano, within.end_unix_nano
    return f"{after.at_unix_nano:x}-{trace_id_hex(after.trace_id)}-{start:x}-{end:x}"


def parse_cursor(text: str) -> tuple[Position, Range]:
    """
    Raises:
        ValueError: not what `cursor_text` made.
    """
    match = _CURSOR.fullmatch(text)
    if not match:
        raise ValueError(f"cursor {text[:80]!r} is not one that a search has given")
    at, trace, start, end = (int(part, 16) for part in match.groups())
    return Position(at, *trace_id_halves(TraceId(trace))), Range(start, end)


def newest(
    cursor: duckdb.DuckDBPyConnection,
    matching: Matching,
    within: Range,
    *,
    limit: int,
    after: Position | None = None,
) -> Page:
    """The traces with a matching span, the one with the newest such span first; none that stands before `after`."""
    found: dict[TraceId, Position] = {}
    for part in _looks(cursor, matching, within, after):
        below = after
        while len(found) <= limit:
            positions = _newest_of_part(cursor, matching, part, below, limit + 1)
            earlier = _earlier(cursor, matching, within, after, positions)
            for position in positions:
                if position.trace_id not in earlier:
                    found.setdefault(position.trace_id, position)
            if len(positions) <= limit:
                break
            below = positions[-1]
        if len(found) > limit:
            break
    positions = list(found.values())
    return Page(positions[:limit], len(positions) > limit)


def _looks(
    cursor: duckdb.DuckDBPyConnection, matching: Matching, within: Range, after: Position | None
) -> Iterator[Range]:
    """The range, newest part first."""
    if not matching.by_span:
        yield within
        return
    count, first, last = _one(cursor, "SELECT count(*), min(start_unix_nano), max(start_unix_nano) FROM spans")
    if not count:
        return
    low = max(within.start_unix_nano, first)
    high = min(within.end_unix_nano, last if after is None else min(last, after.at_unix_nano))
    width = max(1, (last - first + 1) * FIRST_LOOK_SPANS // count)
    if low <= high:
        begin = max(low, high - width + 1)
        yield Range(begin, high)
        high = begin - 1
        width *= FACTOR
    for interval in _candidates(cursor, matching.needs, Interval(low, high)) if low <= high else ():
        until = interval.last_unix_nano
        while interval.first_unix_nano <= until:
            begin = max(interval.first_unix_nano, until - width + 1)
            yield Range(begin, until)
            until = begin - 1
            width *= FACTOR


def _candidates(cursor: duckdb.DuckDBPyConnection, needs: Needs, within: Interval) -> list[Interval]:
    """Where in the range what is looked for may be, newest first."""
    if not needs:
        return [within]
    there = joined([*blocks_with(cursor, needs), *waiting_intervals(cursor)])
    clipped = (
        Interval(max(first, within.first_unix_nano), min(last, within.last_unix_nano))
        for first, last in reversed(there)
    )
    return [interval for interval in clipped if interval.first_unix_nano <= interval.last_unix_nano]


def _one(cursor: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, int, int]:
    row = cursor.execute(sql).fetchone()
    return (0, 0, 0) if row is None or not row[0] else (int(row[0]), int(row[1]), int(row[2]))


_BELOW = "HAVING (max(start_unix_nano), trace_hi, trace_lo) < ($at, $hi, $lo)"


def _newest_of_part(
    cursor: duckdb.DuckDBPyConnection, matching: Matching, part: Range, below: Position | None, count: int
) -> list[Position]:
    sql = f"""
        SELECT max(start_unix_nano) AS latest, trace_hi, trace_lo FROM ({matching.sql})
        GROUP BY trace_hi, trace_lo {_BELOW if below else ""}
        ORDER BY latest DESC, trace_hi DESC, trace_lo DESC LIMIT {count:d}
    """  # noqa: S608  (ours, the values are bound)
    values = _values(matching, part)
    if below:
        values |= {"at": below.at_unix_nano, "hi": below.trace_hi, "lo": below.trace_lo}
    return [Position(*row) for row in cursor.execute(sql, values).fetchall()]


def _earlier(
    cursor: duckdb.DuckDBPyConnection,
    matching: Matching,
    within: Range,
    after: Position | None,
    positions: Sequence[Position],
) -> set[TraceId]:
    """Which of the traces match, searched by parts, with a newer span too, so that a former page has shown them."""
    if after is None or not positions or not matching.by_span:
        return set()
    lows = ", ".join(str(position.trace_lo) for position in positions)  # integers of ours: pushed into the scan
    sql = f"""
        SELECT max(start_unix_nano), trace_hi, trace_lo FROM ({matching.sql}) WHERE trace_lo IN ({lows})
        GROUP BY trace_hi, trace_lo
    """  # noqa: S608  (ours, the values are bound)
    part = Range(after.at_unix_nano, within.end_unix_nano)
    rows = cursor.execute(sql, _values(matching, part)).fetchall()
    return {position.trace_id for position in (Position(*row) for row in rows) if position >= after}


def _values(matching: Matching, part: Range) -> dict[str, object]:
    return {**matching.values, "start": part.start_unix_nano, "end": part.end_unix_nano}
