"""
Traces in OTLP: as the JSON of Jaeger's API v3, and out of the OTLP that a user uploads. Pure.

The JSON is protobuf's mapping with OTLP's exceptions: ids in hex, enums as numbers (OTLP, "JSON Protobuf Encoding").
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from collector.errors import BadRequestError
from collector.model.attributes import Attribute, ValueType, attributes_of, text_of
from collector.model.ids import SPAN_ID_BYTES, TRACE_ID_BYTES, SpanId, TraceId, span_id_hex, trace_id_hex
from collector.model.telemetry import Event, Link, Resource, Scope, Span, Trace

_UINT64 = 2**64


def otlp_json(traces: Iterable[Trace]) -> dict[str, Any]:
    """`{"resourceSpans": […]}` of all the traces' spans, those of one resource and scope together."""
    spans = [span for trace in traces for span in trace.spans]
    per_resource: dict[Resource, dict[Scope, list[Span]]] = {}
    for span in spans:
        per_resource.setdefault(span.resource, {}).setdefault(span.scope, []).append(span)
    return {
        "resourceSpans": [
            {
                "resource": _present(
                    attributes=_attributes(resource.attributes), droppedAttributesCount=resource.dropped_attributes
                ),
                "scopeSpans": [
                    {
                        "scope": _present(
                            name=scope.name,
                            version=scope.version,
                            attributes=_attributes(scope.attributes),
                            droppedAttributesCount=scope.dropped_attributes,
                        ),
                        "spans": [_span(span) for span in of_scope],
                        **_present(schemaUrl=scope.schema_url),
                    }
                    for scope, of_scope in per_scope.items()
                ],
                **_present(schemaUrl=resource.schema_url),
            }
            for resource, per_scope in per_resource.items()
        ]
    }


def _present(**fields: Any) -> dict[str, Any]:
    """Without what has its default, as protobuf's JSON leaves it out."""
    return {key: value for key, value in fields.items() if value}


def _span(span: Span) -> dict[str, Any]:
    end = (span.start_unix_nano + span.duration_nano) % _UINT64
    return {
        "traceId": trace_id_hex(span.trace_id),
        "spanId": span_id_hex(span.span_id),
        **_present(
            traceState=span.trace_state,
            parentSpanId=span_id_hex(span.parent_span_id) if span.parent_span_id else "",
            flags=span.flags,
            name=span.name,
            kind=span.kind,
        ),
        "startTimeUnixNano": str(span.start_unix_nano),
        "endTimeUnixNano": str(end),
        **_present(
            attributes=_attributes(span.attributes),
            droppedAttributesCount=span.dropped_attributes,
            events=[_event(event) for event in span.events],
            droppedEventsCount=span.dropped_events,
            links=[_link(link) for link in span.links],
            droppedLinksCount=span.dropped_links,
        ),
        "status": _present(message=span.status_message, code=span.status_code),
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "timeUnixNano": str(event.time_unix_nano),
        **_present(
            name=event.name,
            attributes=_attributes(event.attributes),
            droppedAttributesCount=event.dropped_attributes,
        ),
    }


def _link(link: Link) -> dict[str, Any]:
    return {
        "traceId": trace_id_hex(link.trace_id),
        "spanId": span_id_hex(link.span_id),
        **_present(
            traceState=link.trace_state,
            attributes=_attributes(link.attributes),
            droppedAttributesCount=link.dropped_attributes,
            flags=link.flags,
        ),
    }


def _attributes(attributes: Sequence[Attribute]) -> list[dict[str, Any]]:
    return [{"key": attribute.key, "value": _value(attribute)} for attribute in attributes]


def _value(attribute: Attribute) -> dict[str, Any]:
    """An empty value is shown as an empty string: Jaeger's page refuses a value that has none of the kinds."""
    match attribute.type:
        case ValueType.EMPTY:
            return {"stringValue": ""}
        case ValueType.STRING:
            return {"stringValue": attribute.text}
        case ValueType.BOOL:
            return {"boolValue": attribute.text == "true"}
        case ValueType.INT:
            return {"intValue": attribute.text}
        case ValueType.DOUBLE:
            return _double(attribute.value)
        case ValueType.BYTES:
            return {"bytesValue": attribute.text}
    return _nested(attribute.value)


def _double(value: float) -> dict[str, Any]:
    """JSON has no NaN; protobuf writes a string, which Jaeger's page refuses where it expects a number."""
    return {"doubleValue": value} if math.isfinite(value) else {"stringValue": repr(value)}


def _nested(value: Any) -> dict[str, Any]:
    match value:
        case dict():
            pairs = [{"key": key, "value": _nested(inner)} for key, inner in value.items()]
            return {"kvlistValue": _present(values=pairs)}
        case list():
            return {"arrayValue": _present(values=[_nested(inner) for inner in value])}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return _double(value)
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
    return {"stringValue": "" if value is None else str(value)}


def traces_of_otlp(request: ExportTraceServiceRequest) -> list[Trace]:
    """
    The traces of an OTLP request, in the order of their first spans.

    Raises:
        BadRequestError: a span's id has the wrong length or is zero.
    """
    spans = [
        span_of_otlp(span, resource, scope)
        for per_resource in request.resource_spans
        for resource in [_resource(per_resource)]
        for per_scope in per_resource.scope_spans
        for scope in [_scope(per_scope)]
        for span in per_scope.spans
    ]
    order = {trace_id: place for place, trace_id in enumerate(dict.fromkeys(span.trace_id for span in spans))}
    spans.sort(key=lambda span: (order[span.trace_id], span.start_unix_nano))
    return [Trace(trace_id, tuple(group)) for trace_id, group in groupby(spans, key=lambda span: span.trace_id)]


def span_of_otlp(span: trace_pb2.Span, resource: Resource, scope: Scope) -> Span:
    return Span(
        trace_id=TraceId(_id("trace id", span.trace_id, TRACE_ID_BYTES)),
        span_id=SpanId(_id("span id", span.span_id, SPAN_ID_BYTES)),
        parent_span_id=SpanId(_id("parent span id", span.parent_span_id, SPAN_ID_BYTES) if span.parent_span_id else 0),
        name=span.name,
        kind=span.kind,
        start_unix_nano=span.start_time_unix_nano,
        duration_nano=span.end_time_unix_nano - span.start_time_unix_nano,
        status_code=span.status.code,
        status_message=span.status.message,
        trace_state=span.trace_state,
        flags=span.flags,
        attributes=attributes_of(span.attributes),
        events=tuple(
            Event(event.time_unix_nano, event.name, attributes_of(event.attributes), event.dropped_attributes_count)
            for event in span.events
        ),
        links=tuple(
            Link(
                trace_id=TraceId(int.from_bytes(link.trace_id[:TRACE_ID_BYTES], "big")),
                span_id=SpanId(int.from_bytes(link.span_id[:SPAN_ID_BYTES], "big")),
                trace_state=link.trace_state,
                attributes=attributes_of(link.attributes),
                dropped_attributes=link.dropped_attributes_count,
                flags=link.flags,
            )
            for link in span.links
        ),
        dropped_attributes=span.dropped_attributes_count,
        dropped_events=span.dropped_events_count,
        dropped_links=span.dropped_links_count,
        resource=resource,
        scope=scope,
    )


def _id(what: str, raw: bytes, length: int) -> int:
    if len(raw) != length or not any(raw):
        raise BadRequestError(f"{what} {raw[:32].hex()!r} is not {length} bytes with one that is not 0")
    return int.from_bytes(raw, "big")


def _resource(per_resource: trace_pb2.ResourceSpans) -> Resource:
    message = per_resource.resource
    service = next((text_of(pair.value)[1] for pair in message.attributes if pair.key == "service.name"), "")
    return Resource(
        service or "unknown_service",
        attributes_of(message.attributes),
        message.dropped_attributes_count,
        per_resource.schema_url,
    )


def _scope(per_scope: trace_pb2.ScopeSpans) -> Scope:
    message = per_scope.scope
    attributes = attributes_of(message.attributes)
    return Scope(message.name, message.version, attributes, message.dropped_attributes_count, per_scope.schema_url)
