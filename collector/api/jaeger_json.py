"""
Traces in the JSON of Jaeger's query API v1. Pure.

Source: the OpenTelemetry Collector's translation to Jaeger's model (opentelemetry-collector-contrib,
pkg/translator/jaeger) and Jaeger's of that to JSON (jaeger, internal/uimodel).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from typing import Any

from collector.model.attributes import Attribute, ValueType
from collector.model.ids import SpanId, TraceId, span_id_hex, trace_id_hex
from collector.model.telemetry import Event, Link, Resource, Span, SpanKind, StatusCode, Trace

_NANO_PER_MICRO = 1000
_TYPES = {
    ValueType.BOOL: "bool",
    ValueType.INT: "int64",
    ValueType.DOUBLE: "float64",
    ValueType.BYTES: "binary",
}  # everything else is shown as a string


def trace_json(trace: Trace) -> dict[str, Any]:
    processes: dict[Resource, str] = {}
    spans = []
    for span in trace.spans:
        process = processes.setdefault(span.resource, f"p{len(processes) + 1}")
        spans.append(_span(span, process))
    return {
        "traceID": trace_id_hex(trace.trace_id),
        "spans": spans,
        "processes": {process: _process(resource) for resource, process in processes.items()},
        "warnings": None,
    }


def _process(resource: Resource) -> dict[str, Any]:
    attributes = [attribute for attribute in resource.attributes if attribute.key != "service.name"]
    return {"serviceName": resource.service, "tags": _tags(attributes)}


def _span(span: Span, process: str) -> dict[str, Any]:
    return {
        "traceID": trace_id_hex(span.trace_id),
        "spanID": span_id_hex(span.span_id),
        "operationName": span.name,
        "references": _references(span),
        "startTime": span.start_unix_nano // _NANO_PER_MICRO,
        "duration": max(0, span.duration_nano) // _NANO_PER_MICRO,
        "tags": _span_tags(span),
        "logs": [_log(event) for event in span.events],
        "processID": process,
        "warnings": _warnings(span),
    }


def _warnings(span: Span) -> list[str] | None:
    if span.duration_nano < 0:
        return [f"the span ends {-span.duration_nano} ns before it starts; its duration is shown as 0"]
    return None


def _references(span: Span) -> list[dict[str, str]]:
    references = []
    if span.parent_span_id:
        references.append(_reference("CHILD_OF", span.trace_id, span.parent_span_id))
    references.extend(_reference(_link_type(link), link.trace_id, link.span_id) for link in span.links)
    return references


def _reference(kind: str, trace_id: TraceId, span_id: SpanId) -> dict[str, str]:
    return {"refType": kind, "traceID": trace_id_hex(trace_id), "spanID": span_id_hex(span_id)}


def _link_type(link: Link) -> str:
    """OpenTracing's reference type, which the compatibility conventions keep in an attribute."""
    child_of = any(key == "opentracing.ref_type" and text == "child_of" for key, _, text in link.attributes)
    return "CHILD_OF" if child_of else "FOLLOWS_FROM"


def _span_tags(span: Span) -> list[dict[str, Any]]:
    # The page reads the library's name, other clients the newer one (OpenTelemetry, "Mapping to Jaeger").
    scope = (("name", span.scope.name), ("version", span.scope.version))
    tags = [
        _tag(f"otel.{prefix}.{what}", "string", text) for what, text in scope if text for prefix in ("scope", "library")
    ]
    tags.extend(_tags(span.attributes))
    if kind := kind_name(span.kind):
        tags.append(_tag("span.kind", "string", kind))
    if span.status_code in (StatusCode.OK, StatusCode.ERROR):
        tags.append(_tag("otel.status_code", "string", StatusCode(span.status_code).name))
    if span.status_code == StatusCode.ERROR:
        tags.append(_tag("error", "bool", True))
    if span.status_message:
        tags.append(_tag("otel.status_description", "string", span.status_message))
    if span.trace_state:
        tags.append(_tag("w3c.tracestate", "string", span.trace_state))
    return tags


def kind_name(kind: int) -> str:
    """Jaeger's word for a span kind; empty if unspecified or unknown."""
    return SpanKind(kind).name.lower() if SpanKind.INTERNAL <= kind <= SpanKind.CONSUMER else ""


def _log(event: Event) -> dict[str, Any]:
    fields = _tags(event.attributes)
    if event.name and not any(field["key"] == "event" for field in fields):
        fields.insert(0, _tag("event", "string", event.name))
    return {"timestamp": event.time_unix_nano // _NANO_PER_MICRO, "fields": fields}


def _tags(attributes: Iterable[Attribute]) -> list[dict[str, Any]]:
    return [_attribute_tag(attribute) for attribute in attributes]


def _attribute_tag(attribute: Attribute) -> dict[str, Any]:
    kind = _TYPES.get(attribute.type, "string")
    match attribute.type:
        case ValueType.BOOL | ValueType.INT:
            return _tag(attribute.key, kind, attribute.value)
        case ValueType.DOUBLE if math.isfinite(attribute.value):
            return _tag(attribute.key, kind, attribute.value)
        case ValueType.BYTES:
            return _tag(attribute.key, kind, base64.b64encode(attribute.value).decode())
    return _tag(attribute.key, "string", attribute.shown_text)  # JSON has no NaN, so such a double is text too


def _tag(key: str, kind: str, value: Any) -> dict[str, Any]:
    return {"key": key, "type": kind, "value": value}
