"""
Traces beyond Jaeger's API: search by a filter, a trace taken apart, two sets of traces compared.

`GET /api/v1/traces/search`, `/api/v1/traces/compare`, `/api/v1/traces/{trace_id}`; see docs/traces.md.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from collector.api.jaeger_json import kind_name
from collector.api.logs import attributes_json
from collector.errors import BadRequestError
from collector.model.ids import parse_trace_id, span_id_hex, trace_id_hex
from collector.model.telemetry import Event, StatusCode, Trace
from collector.query.traces.comparison import Comparison, ValueCount, compare
from collector.query.traces.critical_path import critical_nano, critical_path
from collector.query.traces.matching import matching
from collector.query.traces.syntax import parse_filter
from collector.query.traces.tree import Node, end_of, tree_of
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader
from collector.storage.traces.search import Range, cursor_text, parse_cursor
from collector.storage.traces.summaries import TraceSummary

DEFAULT_LIMIT = 20  # traces, as Jaeger's page
MAX_LIMIT = 1_000
DEFAULT_LOOKBACK_S = 3600
DEFAULT_VALUES = 30  # of a comparison; who reads more has not found it in the first ones
MAX_VALUES = 1_000
_NANO = 1_000_000_000
_MAX_S = 2**63 // _NANO

Seconds = Annotated[float | None, Query(ge=0, le=_MAX_S, allow_inf_nan=False)]


def traces_router(database: TelemetryDatabase) -> APIRouter:
    # Plain functions, not coroutines: they wait for DuckDB, so they run in the thread pool.
    reader = TraceReader(database)
    router = APIRouter(prefix="/api/v1/traces")

    @router.get("/search")
    def search(
        filter: str = "",  # noqa: A002  (the parameter's name)
        start: Seconds = None,
        end: Seconds = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """The newest first. `start` and `end` are Unix seconds of the spans' starts, both inclusive."""
        after, within = None, _range(start, end)
        if cursor:
            try:
                after, within = parse_cursor(cursor)
            except ValueError as error:
                raise BadRequestError(str(error)) from error
        found, page = reader.find_summaries(matching(parse_filter(filter)), within, limit=limit, after=after)
        return _success(
            {
                "traces": [summary_json(summary) for summary in found],
                "truncated": page.more,
                "cursor": cursor_text(page.positions[-1], within) if page.more else None,
            }
        )

    @router.get("/compare")
    def compared(
        selection: str,
        baseline: str = "",
        start: Seconds = None,
        end: Seconds = None,
        limit: Annotated[int, Query(ge=1, le=MAX_VALUES)] = DEFAULT_VALUES,
    ) -> dict[str, Any]:
        """Which attribute values the selection's traces have more often than the others that match `baseline`."""
        return _success(
            comparison_json(
                compare(
                    database,
                    selection=parse_filter(selection),
                    baseline=parse_filter(baseline),
                    within=_range(start, end),
                    limit=limit,
                )
            )
        )

    @router.get("/{trace_id}")
    def trace(trace_id: str) -> dict[str, Any]:
        """One trace as a tree: depth, self time and share of the critical path of each span."""
        try:
            found = reader.trace(parse_trace_id(trace_id))
        except ValueError as error:
            raise BadRequestError(str(error)) from error
        if found is None:
            raise HTTPException(404, f"no trace {trace_id}")
        return _success(trace_json(found))

    return router


def _success(data: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": data}


def _range(start: float | None, end: float | None) -> Range:
    until = time.time() if end is None else end
    since = max(0.0, until - DEFAULT_LOOKBACK_S) if start is None else start
    if since > until:
        raise BadRequestError(f"start {since} is after end {until}")
    return Range(round(since * _NANO), round(until * _NANO))


def summary_json(summary: TraceSummary) -> dict[str, Any]:
    """Nanoseconds since 1970 are decimal strings, as JSON's numbers lose digits; durations are numbers."""
    return {
        "trace_id": trace_id_hex(summary.trace_id),
        "root_service": summary.root_service,
        "root_name": summary.root_name,
        "start_unix_nano": str(summary.start_unix_nano),
        "duration_nano": summary.end_unix_nano - summary.start_unix_nano,
        "spans": summary.spans,
        "errors": summary.errors,
        "orphans": summary.orphans,
        "services": [service._asdict() for service in summary.services],
    }


def trace_json(trace: Trace) -> dict[str, Any]:
    nodes = tree_of(trace.spans)
    sections = critical_path(trace.spans)
    critical = critical_nano(sections)
    start = min(span.start_unix_nano for span in trace.spans)
    return {
        "trace_id": trace_id_hex(trace.trace_id),
        "start_unix_nano": str(start),
        "duration_nano": max(end_of(span) for span in trace.spans) - start,
        "spans": [_node(node, critical.get(node.span.span_id, 0)) for node in nodes],
        "critical_path": [
            {
                "span_id": span_id_hex(section.span_id),
                "start_unix_nano": str(section.start_unix_nano),
                "end_unix_nano": str(section.end_unix_nano),
            }
            for section in sections
        ],
    }


def _node(node: Node, critical: int) -> dict[str, Any]:
    span = node.span
    known = span.status_code in set(StatusCode)
    return {
        "span_id": span_id_hex(span.span_id),
        "parent_span_id": span_id_hex(span.parent_span_id) if span.parent_span_id else "",
        "depth": node.depth,
        "service": span.resource.service,
        "name": span.name,
        "kind": kind_name(span.kind),
        "start_unix_nano": str(span.start_unix_nano),
        "duration_nano": span.duration_nano,
        "self_nano": node.self_nano,
        "critical_nano": critical,
        "status": StatusCode(span.status_code).name.lower() if known else str(span.status_code),
        "status_message": span.status_message,
        "attributes": attributes_json(span.attributes),
        "resource": attributes_json(span.resource.attributes),
        "events": [_event(event) for event in span.events],
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "time_unix_nano": str(event.time_unix_nano),
        "name": event.name,
        "attributes": attributes_json(event.attributes),
    }


def comparison_json(found: Comparison) -> dict[str, Any]:
    return {
        "selection": found.selection_traces,
        "baseline": found.baseline_traces,
        "capped": found.capped,
        "values": [_value(value, found) for value in found.values],
    }


def _value(value: ValueCount, found: Comparison) -> dict[str, Any]:
    share, others = value.selection / found.selection_traces, value.baseline / found.baseline_traces
    return {
        **value._asdict(),
        "selection_share": share,
        "baseline_share": others,
        "ratio": share / others if others else None,  # None: no trace of the baseline has it
    }
