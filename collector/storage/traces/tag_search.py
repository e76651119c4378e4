"""Jaeger's search: a trace matches if one span of it satisfies everything that is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from collector.model.telemetry import SpanKind, StatusCode
from collector.storage.traces.conditions import Parameters, has, on_event, on_resource, on_scope
from collector.storage.traces.needs import OPERATION, Needs, all_of, of_service, one_of
from collector.storage.traces.search import Matching, Range


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceQuery:
    within: Range  # of the span's start
    limit: int  # of traces, newest first
    service: str | None = None
    operation: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)  # ANDed
    min_duration_nano: int | None = None  # inclusive
    max_duration_nano: int | None = None


def matching_spans(query: TraceQuery) -> Matching:
    parameters = Parameters()
    conditions = ["start_unix_nano BETWEEN $start AND $end"]
    for column, operator, value in (
        ("service", "=", query.service),
        ("name", "=", query.operation),
        ("duration_nano", ">=", query.min_duration_nano),
        ("duration_nano", "<=", query.max_duration_nano),
    ):
        if value is not None:
            conditions.append(f"{column} {operator} {parameters.bind(value)}")
    conditions += [_PSEUDO_TAGS.get(key, _attribute)(parameters, key, value) for key, value in query.tags.items()]
    sql = f"SELECT trace_hi, trace_lo, span_id, start_unix_nano FROM spans WHERE {' AND '.join(conditions)}"  # noqa: S608
    return Matching(sql, parameters.values, by_span=True, needs=_needs(query))


def _needs(query: TraceQuery) -> Needs:
    parts = [one_of(key, [value]) for key, value in query.tags.items() if key not in _PSEUDO_TAGS]
    if query.operation is not None:
        parts.append(one_of(OPERATION, [query.operation]))
    if query.service is not None:
        parts.append(of_service(query.service))
    return all_of(parts)


_Condition = Callable[[Parameters, str, str], str]


def _attribute(parameters: Parameters, key: str, value: str) -> str:
    """An attribute of the span, of its resource or of one of its events, whatever its type (Jaeger's rule)."""
    same = f"a.k = {parameters.bind(key)} AND a.v = {parameters.bind(value)}"
    return (
        f"({has('attributes', same)} OR {on_resource(has('attributes', same))}"
        f" OR {on_event(has('e.attributes', same))})"
    )


def _error(parameters: Parameters, key: str, value: str) -> str:
    if value == "true":
        return f"(status_code = {int(StatusCode.ERROR)} OR {_attribute(parameters, key, value)})"
    return f"(status_code <> {int(StatusCode.ERROR)} OR {_attribute(parameters, key, value)})"


def _status_code(_parameters: Parameters, _key: str, value: str) -> str:
    codes = {code.name: int(code) for code in StatusCode}
    return f"status_code = {codes.get(value.upper(), -1)}"


def _kind(_parameters: Parameters, _key: str, value: str) -> str:
    kinds = {kind.name: int(kind) for kind in SpanKind}
    return f"kind = {kinds.get(value.upper(), -1)}"


def _column(name: str) -> _Condition:
    return lambda parameters, _key, value: f"{name} = {parameters.bind(value)}"


def _scope(column: str) -> _Condition:
    return lambda parameters, _key, value: on_scope(f"{column} = {parameters.bind(value)}")


# Tags that Jaeger shows but OTLP keeps in fields of their own; the otel.library names are those of Jaeger before 1.36.
_PSEUDO_TAGS: Mapping[str, _Condition] = {
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
