"""Reading traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple, TypeVar

import duckdb

from collector.errors import LimitExceededError
from collector.model.ids import TraceId, trace_id_halves, trace_id_of
from collector.model.telemetry import Resource, Scope, Trace
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.extents import spans_of
from collector.storage.traces.red import RedQuery, RedSeries, read_red
from collector.storage.traces.rows import (
    RESOURCE_AT,
    SCOPE_AT,
    SPAN_FIELDS,
    read_resources,
    read_scopes,
    span_of_row,
)
from collector.storage.traces.search import Matching, Page, Position, Range, newest
from collector.storage.traces.summaries import TraceSummary, read_summaries
from collector.storage.traces.tag_search import TraceQuery, matching_spans

# Of one answer. A span takes about 5 kB of Python objects and JSON, so this is some 250 MB at worst.
MAX_SPANS = 50_000
MAX_KNOWN = 4_096  # resources, and scopes, kept decoded: 1 kB each


class Operation(NamedTuple):
    name: str
    kind: int


class Dependency(NamedTuple):
    parent: str
    child: str
    call_count: int


class TraceReader:
    """Answers block the calling thread. A span that was sent twice (same trace and span id) is shown once."""

    def __init__(self, database: TelemetryDatabase) -> None:
        self._database = database
        self._resources: dict[int, Resource] = {}
        self._scopes: dict[int, Scope] = {}

    def services(self) -> list[str]:
        with self._database.reading() as cursor:
            rows = cursor.execute("SELECT DISTINCT service FROM spans ORDER BY service").fetchall()
        return [row[0] for row in rows]

    def operations(self, service: str, *, kind: int | None = None) -> list[Operation]:
        """The distinct span names and kinds of a service, by name; nothing if the service is unknown."""
        with self._database.reading() as cursor:
            rows = cursor.execute(
                "SELECT DISTINCT name, kind FROM spans WHERE service = $1 AND ($2::INTEGER IS NULL OR kind = $2)"
                " ORDER BY name, kind",
                [service, kind],
            ).fetchall()
        return [Operation(*row) for row in rows]

    def trace(self, trace_id: TraceId) -> Trace | None:
        return next(iter(self.traces([trace_id])), None)

    def traces(self, trace_ids: Sequence[TraceId]) -> list[Trace]:
        """Those of the traces that exist, in the order asked for."""
        with self._database.reading() as cursor:
            return self._traces(cursor, trace_ids)

    def find(self, query: TraceQuery) -> list[Trace]:
        """Whole traces that have a matching span, those with the newest match first."""
        with self._database.reading() as cursor:
            page = newest(cursor, matching_spans(query), query.within, limit=query.limit)
            return self._traces(cursor, [position.trace_id for position in page.positions])

    def find_summaries(
        self, matching: Matching, within: Range, *, limit: int, after: Position | None = None
    ) -> tuple[list[TraceSummary], Page]:
        """As `find`, but what a list shows of each trace; and where the page ends."""
        with self._database.reading() as cursor:
            page = newest(cursor, matching, within, limit=limit, after=after)
            return read_summaries(cursor, [position.trace_id for position in page.positions]), page

    def red(self, query: RedQuery) -> list[RedSeries]:
        with self._database.reading() as cursor:
            return read_red(cursor, query)

    def dependencies(self, *, start_unix_nano: int, end_unix_nano: int) -> list[Dependency]:
        """How often one service called another, by spans that started within the bounds (both inclusive)."""
        # A span that was sent twice counts once; told apart by a hash of 64 bits, which costs half of the pair itself.
        sql = """
            SELECT parent.service, child.service, count(DISTINCT hash(child.trace_lo, child.span_id))
            FROM spans AS child JOIN spans AS parent ON parent.span_id = child.parent_span_id
                AND parent.trace_lo = child.trace_lo AND parent.trace_hi = child.trace_hi
            WHERE parent.service <> child.service AND child.parent_span_id <> 0
                AND child.start_unix_nano BETWEEN $start AND $end AND parent.start_unix_nano BETWEEN $start AND $end
            GROUP BY ALL ORDER BY ALL
        """
        with self._database.reading() as cursor:
            rows = cursor.execute(sql, {"start": start_unix_nano, "end": end_unix_nano}).fetchall()
        return [Dependency(*row) for row in rows]

    def _traces(self, cursor: duckdb.DuckDBPyConnection, trace_ids: Sequence[TraceId]) -> list[Trace]:
        sql = spans_of(cursor, trace_ids, SPAN_FIELDS) if trace_ids else None
        if sql is None:
            return []
        found = cursor.execute(sql).fetchmany(MAX_SPANS + 1)
        if len(found) > MAX_SPANS:
            raise LimitExceededError(
                f"the answer has more than {MAX_SPANS} spans; ask for fewer traces than {len(trace_ids)}"
            )
        wanted = {trace_id_halves(trace_id) for trace_id in trace_ids}
        once = {row[:3]: row for row in found if (row[0], row[1]) in wanted}
        rows = sorted(once.values(), key=lambda row: (row[0], row[1], row[7], row[2]))
        resources = _known(self._resources, {row[RESOURCE_AT] for row in rows}, partial(read_resources, cursor))
        scopes = _known(self._scopes, {row[SCOPE_AT] for row in rows}, partial(read_scopes, cursor))
        traces: dict[TraceId, Trace] = {}
        for key, group in groupby(rows, key=lambda row: (row[0], row[1])):
            trace_id = trace_id_of(*key)
            traces[trace_id] = Trace(trace_id, tuple(span_of_row(row, resources, scopes) for row in group))
        return [traces[trace_id] for trace_id in dict.fromkeys(trace_ids) if trace_id in traces]


_Value = TypeVar("_Value")


def _known(
    known: dict[int, _Value], ids: set[int], read: Callable[[set[int]], Mapping[int, _Value]]
) -> Mapping[int, _Value]:
    """What is not known yet is read. An id is a hash of its value, so what is known stays true."""
    here = dict(known)
    if missing := ids - here.keys():
        here |= read(missing)
        if len(here) > MAX_KNOWN:
            known.clear()
        known.update((id_, here[id_]) for id_ in ids if id_ in here)
    return here
