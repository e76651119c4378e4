"""Rows of DuckDB turned back into values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage

from collector.model.attributes import Attribute, ValueType, attributes_of, text_of
from collector.model.ids import SpanId, TraceId, trace_id_of
from collector.model.telemetry import UNKNOWN_SERVICE, Event, Link, Resource, Scope, Span

SPAN_FIELDS = (
    "trace_hi, trace_lo, span_id, parent_span_id, service, name, kind, start_unix_nano, duration_nano, status_code,"
    " status_message, trace_state, flags, attributes, events, links, dropped_attributes, dropped_events,"
    " dropped_links, resource_id, scope_id"
)
RESOURCE_AT, SCOPE_AT = 19, 20  # where SPAN_FIELDS has the two ids


def span_of_row(row: Sequence[Any], resources: Mapping[int, Resource], scopes: Mapping[int, Scope]) -> Span:
    return Span(
        trace_id=trace_id_of(row[0], row[1]),
        span_id=SpanId(row[2]),
        parent_span_id=SpanId(row[3]),
        name=row[5],
        kind=row[6],
        start_unix_nano=row[7],
        duration_nano=row[8],
        status_code=row[9],
        status_message=row[10],
        trace_state=row[11],
        flags=row[12],
        attributes=attributes_of_row(row[13]),
        events=tuple(_event(event) for event in row[14]),
        links=tuple(_link(link) for link in row[15]),
        dropped_attributes=row[16],
        dropped_events=row[17],
        dropped_links=row[18],
        resource=resources[row[RESOURCE_AT]],
        scope=scopes[row[SCOPE_AT]],
    )


def attributes_of_row(pairs: Iterable[Mapping[str, Any]]) -> tuple[Attribute, ...]:
    return tuple(Attribute(pair["k"], ValueType(pair["t"]), pair["v"] or "") for pair in pairs)


def _event(event: Mapping[str, Any]) -> Event:
    return Event(
        event["time_unix_nano"], event["name"], attributes_of_row(event["attributes"]), event["dropped_attributes"]
    )


def _link(link: Mapping[str, Any]) -> Link:
    return Link(
        trace_id=TraceId(int.from_bytes(link["trace_id"][:16], "big")),
        span_id=SpanId(int.from_bytes(link["span_id"][:8], "big")),
        trace_state=link["trace_state"],
        attributes=attributes_of_row(link["attributes"]),
        dropped_attributes=link["dropped_attributes"],
        flags=link["flags"],
    )


def read_resources(cursor: duckdb.DuckDBPyConnection, ids: set[int]) -> dict[int, Resource]:
    rows = cursor.execute(
        "SELECT id, message, schema_url FROM resources WHERE list_contains(?::UBIGINT[], id)", [sorted(ids)]
    ).fetchall()
    return {row[0]: _resource(ResourceMessage.FromString(row[1]), row[2]) for row in rows}


def read_scopes(cursor: duckdb.DuckDBPyConnection, ids: set[int]) -> dict[int, Scope]:
    rows = cursor.execute(
        "SELECT id, message, schema_url FROM scopes WHERE list_contains(?::UBIGINT[], id)", [sorted(ids)]
    ).fetchall()
    return {row[0]: _scope(InstrumentationScope.FromString(row[1]), row[2]) for row in rows}


def _resource(message: ResourceMessage, schema_url: str) -> Resource:
    service = next((text_of(pair.value)[1] for pair in message.attributes if pair.key == "service.name"), "")
    attributes = attributes_of(message.attributes)
    return Resource(service or UNKNOWN_SERVICE, attributes, message.dropped_attributes_count, schema_url)


def _scope(message: InstrumentationScope, schema_url: str) -> Scope:
    attributes = attributes_of(message.attributes)
    return Scope(message.name, message.version, attributes, message.dropped_attributes_count, schema_url)
