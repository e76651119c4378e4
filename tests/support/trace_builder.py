"""Small traces, written as trees, put into a store."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_values import key_values

from collector.pipeline.spans import decode_spans
from collector.storage.traces.database import TelemetryDatabase

MS = 1_000_000
START = 1_700_000_000_000_000_000


class Builder:
    """`span(trace, id, …)` adds one; `store()` writes them all."""

    def __init__(self, database: TelemetryDatabase) -> None:
        self.database = database
        self._request = ExportTraceServiceRequest()
        self._spans = {}

    def span(self, trace, span, parent=0, *, service="shop", at_ms=0, took_ms=1, resource=(), **fields):
        spans = self._of(service, tuple(resource))
        made = spans.add(
            trace_id=trace.to_bytes(16),
            span_id=span.to_bytes(8),
            parent_span_id=parent.to_bytes(8) if parent else b"",
            name=fields.get("name", f"op {span}"),
            kind=fields.get("kind", 1),
            start_time_unix_nano=START + at_ms * MS,
            end_time_unix_nano=START + (at_ms + took_ms) * MS,
        )
        made.status.code, made.status.message = fields.get("status", 0), fields.get("message", "")
        made.attributes.extend(key_values(fields.get("attributes", {})))
        for name, attributes in fields.get("events", {}).items():
            made.events.add(name=name, time_unix_nano=START, attributes=key_values(attributes))

    def _of(self, service, resource):
        if (service, resource) not in self._spans:
            made = self._request.resource_spans.add()
            made.resource.attributes.extend(key_values({"service.name": service, **dict(resource)}))
            scope = made.scope_spans.add()
            scope.scope.name, scope.scope.version = f"{service}-library", "1.0"
            self._spans[service, resource] = scope.spans
        return self._spans[service, resource]

    def store(self, times=1):
        for _ in range(times):
            self.database.write([decode_spans(self._request.SerializeToString(), received_ms=1)])
