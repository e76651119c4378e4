"""What tests of several layers of the collector send."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@pytest.fixture
def trace_request() -> ExportTraceServiceRequest:
    """Two spans with every field and every type of value."""
    return _trace_request()


@pytest.fixture(scope="session")
def new_trace_request():
    """The same, for fixtures that live longer than one test."""
    return _trace_request


def _trace_request() -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    per_resource = request.resource_spans.add(schema_url="https://opentelemetry.io/schemas/1.37.0")
    per_resource.resource.attributes.add(key="service.name").value.string_value = "catalog"
    per_resource.resource.attributes.add(key="service.instance.id").value.string_value = "catalog-1"
    per_resource.resource.attributes.add(key="process.pid").value.int_value = 4242
    per_resource.resource.dropped_attributes_count = 7
    per_scope = per_resource.scope_spans.add(schema_url="https://opentelemetry.io/schemas/1.36.0")
    per_scope.scope.name, per_scope.scope.version = "shop", "1.2"
    per_scope.scope.attributes.add(key="scope.attribute").value.bool_value = True
    now = 1_700_000_000_000_000_000
    root = per_scope.spans.add(
        trace_id=bytes.fromhex("0af7651916cd43dd8448eb211c80319c"),
        span_id=bytes.fromhex("b7ad6b7169203331"),
        name="GET /products",
        kind=2,
        start_time_unix_nano=now,
        end_time_unix_nano=now + 12_345_678,
        trace_state="vendor=1",
        flags=0x101,
        dropped_attributes_count=1,
        dropped_events_count=2,
        dropped_links_count=3,
    )
    root.status.code, root.status.message = 2, "no stock"
    values = {key: root.attributes.add(key=key).value for key in ("s", "b", "i", "d", "y", "a", "m", "e", "ü")}
    values["s"].string_value = "text"
    values["b"].bool_value = True
    values["i"].int_value = -(2**63)
    values["d"].double_value = 0.1
    values["y"].bytes_value = b"\x00\xff"
    values["a"].array_value.values.add(string_value="x")
    values["a"].array_value.values.add().kvlist_value.values.add(key="deep").value.int_value = 1
    values["m"].kvlist_value.values.add(key="k").value.double_value = 1.5
    values["ü"].string_value = "grün €"
    event = root.events.add(name="exception", time_unix_nano=now + 1_000_000, dropped_attributes_count=4)
    event.attributes.add(key="exception.type").value.string_value = "KeyError"
    link = root.links.add(
        trace_id=bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736"),
        span_id=bytes.fromhex("00f067aa0ba902b7"),
        trace_state="other=2",
        flags=1,
        dropped_attributes_count=5,
    )
    link.attributes.add(key="why").value.string_value = "queue"
    child = per_scope.spans.add(
        trace_id=root.trace_id,
        span_id=bytes.fromhex("00000000000000ab"),
        parent_span_id=root.span_id,
        name="worker_pool.wait",
        kind=1,
        start_time_unix_nano=now + 2_000_000,
        end_time_unix_nano=now + 3_000_000,
    )
    child.status.code = 1
    return request
