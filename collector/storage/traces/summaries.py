"""What a list of traces shows of each: when, how long, how many spans and errors, which services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import duckdb

from collector.model.ids import TraceId, trace_id_of
from collector.model.telemetry import StatusCode
from collector.storage.traces.extents import spans_of

_COLUMNS = "trace_hi, trace_lo, span_id, parent_span_id, service, name, start_unix_nano, duration_nano, status_code"
_LAST = 2**64 - 1  # the last nanosecond that OTLP can say; a span with a wrong clock may end after it


class ServiceSummary(NamedTuple):
    name: str
    spans: int
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSummary:
    trace_id: TraceId
    root_service: str  # of the earliest span without a parent, else of the earliest whose parent is not there
    root_name: str
    start_unix_nano: int  # of the earliest span
    end_unix_nano: int  # of the one that ended last
    spans: int
    errors: int
    orphans: int  # spans whose parent is not there
    services: tuple[ServiceSummary, ...]  # by name


def read_summaries(cursor: duckdb.DuckDBPyConnection, trace_ids: Sequence[TraceId]) -> list[TraceSummary]:
    """Of those of the traces that exist, in the order asked for. A span that was sent twice counts once."""
    spans = spans_of(cursor, trace_ids, _COLUMNS) if trace_ids else None
    if spans is None:
        return []
    sql = f"""
        WITH s AS MATERIALIZED (
            SELECT DISTINCT ON (trace_hi, trace_lo, span_id) * FROM ({spans})
        ), placed AS (
            SELECT s.*, p.span_id IS NULL AND s.parent_span_id <> 0 AS orphan, (
                CASE WHEN s.parent_span_id = 0 THEN 0 WHEN p.span_id IS NULL THEN 1 ELSE 2 END,
                s.start_unix_nano, s.span_id
            ) AS place
            FROM s LEFT JOIN s p ON p.trace_hi = s.trace_hi AND p.trace_lo = s.trace_lo AND p.span_id = s.parent_span_id
        ), per_service AS (
            SELECT trace_hi, trace_lo, service, min_by(name, place) AS name, min(place) AS place,
                min(start_unix_nano) AS began,
                max(least(start_unix_nano::HUGEINT + greatest(duration_nano, 0), {_LAST})) AS ended,
                count(*) AS spans, count(*) FILTER (status_code = {int(StatusCode.ERROR)}) AS errors,
                count(*) FILTER (orphan) AS orphans
            FROM placed GROUP BY trace_hi, trace_lo, service
        )
        SELECT trace_hi, trace_lo, min_by(service, place), min_by(name, place), min(began), max(ended)::UBIGINT,
            sum(spans)::BIGINT, sum(errors)::BIGINT, sum(orphans)::BIGINT,
            list({{'name': service, 'spans': spans, 'errors': errors}} ORDER BY service)
        FROM per_service GROUP BY trace_hi, trace_lo
    """  # noqa: S608
    found: dict[TraceId, TraceSummary] = {}
    for high, low, service, name, start, end, spans, errors, orphans, services in cursor.execute(sql).fetchall():
        trace_id = trace_id_of(high, low)
        found[trace_id] = TraceSummary(
            trace_id=trace_id,
            root_service=service,
            root_name=name,
            start_unix_nano=start,
            end_unix_nano=end,
            spans=spans,
            errors=errors,
            orphans=orphans,
            services=tuple(ServiceSummary(**per_service) for per_service in services),
        )
    return [found[trace_id] for trace_id in dict.fromkeys(trace_ids) if trace_id in found]
