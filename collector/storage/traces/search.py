"""The search for traces, as SQL. A trace matches if one span of it satisfies everything that is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from collector.model.telemetry import SpanKind, StatusCode


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceQuery:
    service: str
    start_min_unix_nano: int  # of the span's start; both inclusive
    start_max_unix_nano: int
    limit: int  # of traces, newest first
    operation: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)  # ANDed
    min_duration_nano: int | None = None  # inclusive
    max_duration_nano: int | None = None


class _Conditions:
    def __init__(self) -> None:
        self.sql: list[str] = []
        self.values: list[object] = []

    def add(self, sql: str, *values: object) -> None:
        self.sql.append(sql)
        self.values.extend(values)


def matching_traces(query: TraceQuery) -> tuple[str, list[object]]:
    """SQL that yields (trace_hi, trace_lo) of the newest traces that match, and its parameters."""
    conditions = _Conditions()
    conditions.add("service = ?", query.service)
    conditions.add("start_unix_nano BETWEEN ? AND ?", query.start_min_unix_nano, query.start_max_unix_nano)
    if query.operation is not None:
        conditions.add("name = ?", query.operation)
    if query.min_duration_nano is not None:
        conditions.add("duration_nano >= ?", query.min_duration_nano)
    if query.max_duration_nano is not None:
        conditions.add("duration_nano <= ?", query.max_duration_nano)
    for key, value in query.tags.items():
        _PSEUDO_TAGS.get(key, _attribute)(conditions, key, value)
    sql = f"""
        SELECT trace_hi, trace_lo FROM spans WHERE {" AND ".join(conditions.sql)}
        GROUP BY ALL ORDER BY max(start_unix_nano) DESC LIMIT ?
    """  # noqa: S608  (the conditions are ours, the values are bound)
    return sql, [*conditions.values, query.limit]


_HAS = "len(list_filter({0}, lambda a: a.k = ? AND a.v = ?)) > 0"


def _attribute(conditions: _Conditions, key: str, value: str) -> None:
    """An attribute of the span, of its resource or of one of its events, whatever its type (Jaeger's rule)."""
    in_resources = f"resource_id IN (SELECT id FROM resources WHERE {_HAS.format('attributes')})"  # noqa: S608  (ours)
    in_events = f"len(list_filter(events, lambda e: {_HAS.format('e.attributes')})) > 0"
    conditions.add(f"({_HAS.format('attributes')} OR {in_resources} OR {in_events})", *(key, value) * 3)


def _error(conditions: _Conditions, key: str, value: str) -> None:
    if value == "true":
        conditions.add(f"(status_code = ? OR {_HAS.format('attributes')})", int(StatusCode.ERROR), key, value)
    else:
        _attribute(conditions, key, value)


def _status_code(conditions: _Conditions, _key: str, value: str) -> None:
    codes = {code.name: int(code) for code in StatusCode}
    conditions.add("status_code = ?", codes.get(value.upper(), -1))


def _kind(conditions: _Conditions, _key: str, value: str) -> None:
    kinds = {kind.name: int(kind) for kind in SpanKind}
    conditions.add("kind = ?", kinds.get(value.upper(), -1))


def _column(name: str) -> Callable[[_Conditions, str, str], None]:
    return lambda conditions, _key, value: conditions.add(f"{name} = ?", value)


def _scope(column: str) -> Callable[[_Conditions, str, str], None]:
    sql = f"scope_id IN (SELECT id FROM scopes WHERE {column} = ?)"  # noqa: S608  (ours)
    return lambda conditions, _key, value: conditions.add(sql, value)


# Tags that Jaeger shows but OTLP keeps in fields of their own; the otel.library names are those of Jaeger before 1.36.
_PSEUDO_TAGS: Mapping[str, Callable[[_Conditions, str, str], None]] = {
    "error": _error,
    "otel.status_code": _status_code,
    "otel.status_description": _column("status_message"),
    "span.kind": _kind,
    "w3c.tracestate": _column("trace_state"),
    "otel.scope.name": _scope("name"),
    "otel.scope.version": _scope("version"),
    "otel.library.name": _scope("name"),
    "otel.library.version": _scope("version"),
}
