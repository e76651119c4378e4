"""Spans as tests of the pipeline think of them, decoded as if they had been sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_values import key_values

from collector.model.telemetry import SpanBatch
from collector.pipeline.spans import decode_spans

START_NANO = 1_700_000_000_000_000_000
RECEIVED_MS = START_NANO // 1_000_000
UNSPECIFIED, INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(6)
UNSET, OK, ERROR = range(3)


@dataclass(frozen=True)
class Made:
    service: str = "shop"
    name: str = "op"
    kind: int = SERVER
    status: int = UNSET
    took_nano: int = 1_000_000
    trace: int = 1
    span: int = 1
    parent: int = 0
    at_nano: int = START_NANO
    attributes: Mapping[str, object] = field(default_factory=dict)
    resource: Mapping[str, object] = field(default_factory=dict)


def decoded(spans: Sequence[Made], *, received_ms: int = RECEIVED_MS) -> SpanBatch:
    """One request, in which each span has a resource of its own (or shares one that is alike)."""
    return decode_spans(encoded(spans), received_ms=received_ms)


def encoded(spans: Sequence[Made]) -> bytes:
    request = ExportTraceServiceRequest()
    for made in spans:
        per_resource = request.resource_spans.add()
        per_resource.resource.attributes.extend(key_values({"service.name": made.service, **made.resource}))
        span = per_resource.scope_spans.add().spans.add(
            trace_id=made.trace.to_bytes(16),
            span_id=made.span.to_bytes(8),
            parent_span_id=made.parent.to_bytes(8) if made.parent else b"",
            name=made.name,
            kind=made.kind,
            start_time_unix_nano=made.at_nano,
            end_time_unix_nano=made.at_nano + made.took_nano,
            attributes=key_values(made.attributes),
        )
        span.status.code = made.status
    return bytes(request.SerializeToString())
