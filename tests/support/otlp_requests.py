"""Arbitrary OTLP requests of traces and logs, as hypothesis strategies, and how an exporter would send them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

import cramjam
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

text = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["", "\x00", "ü€🙂", '"\\\n', "null"])
keys = text | st.sampled_from(["service.name", "http.route", "$bytes", "$double", "$map"])
uint64 = st.integers(0, 2**64 - 1) | st.integers(1_700_000_000 * 10**9, 1_800_000_000 * 10**9)
uint32 = st.integers(0, 2**32 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
scalars = st.one_of(
    st.just(AnyValue()),
    st.builds(AnyValue, string_value=text),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats()),
    st.builds(AnyValue, bytes_value=st.binary(max_size=12)),
)


def _nested(inner: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    arrays = st.builds(ArrayValue, values=st.lists(inner, max_size=3))
    # OTLP asks for distinct keys in a map (common.proto, KeyValueList), and JSON can only have such.
    pairs = st.lists(st.builds(KeyValue, key=keys, value=inner), max_size=3, unique_by=lambda pair: pair.key)
    return st.builds(AnyValue, array_value=arrays) | st.builds(
        AnyValue, kvlist_value=st.builds(KeyValueList, values=pairs)
    )


values = st.recursive(scalars, _nested, max_leaves=6)
attributes = st.lists(st.builds(KeyValue, key=keys, value=values), max_size=4)
ids = {size: st.binary(min_size=size, max_size=size).filter(any) for size in (8, 16)}
resources = st.builds(Resource, attributes=attributes, dropped_attributes_count=uint32)
scopes = st.builds(
    InstrumentationScope, name=text, version=text, attributes=attributes, dropped_attributes_count=uint32
)
events = st.builds(Span.Event, time_unix_nano=uint64, name=text, attributes=attributes, dropped_attributes_count=uint32)
links = st.builds(
    Span.Link,
    trace_id=ids[16],
    span_id=ids[8],
    trace_state=text,
    attributes=attributes,
    dropped_attributes_count=uint32,
    flags=uint32,
)
spans = st.builds(
    Span,
    trace_state=text,
    parent_span_id=st.just(b"") | ids[8],
    flags=uint32,
    name=text,
    kind=st.integers(0, 5) | int32,
    start_time_unix_nano=uint64,
    end_time_unix_nano=uint64,
    attributes=attributes,
    dropped_attributes_count=uint32,
    events=st.lists(events, max_size=2),
    dropped_events_count=uint32,
    links=st.lists(links, max_size=2),
    dropped_links_count=uint32,
    status=st.builds(Status, message=text, code=st.integers(0, 2) | int32),
)
trace_requests = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans,
            resource=resources,
            schema_url=text,
            scope_spans=st.lists(
                st.builds(ScopeSpans, scope=scopes, schema_url=text, spans=st.lists(spans, max_size=3)), max_size=2
            ),
        ),
        min_size=1,
        max_size=2,
    ),
)
records = st.builds(
    LogRecord,
    time_unix_nano=uint64,
    observed_time_unix_nano=uint64,
    severity_number=st.integers(0, 24) | int32,
    severity_text=text,
    body=values,
    attributes=attributes,
    dropped_attributes_count=uint32,
    flags=uint32,
    trace_id=st.just(b"") | ids[16],
    span_id=st.just(b"") | ids[8],
    event_name=text,
)
log_requests = st.builds(
    ExportLogsServiceRequest,
    resource_logs=st.lists(
        st.builds(
            ResourceLogs,
            resource=resources,
            schema_url=text,
            scope_logs=st.lists(
                st.builds(ScopeLogs, scope=scopes, schema_url=text, log_records=st.lists(records, max_size=3)),
                max_size=2,
            ),
        ),
        min_size=1,
        max_size=2,
    ),
)


def otlp_json(request: Message) -> bytes:
    """What an exporter of OTLP/JSON sends: protobuf's mapping, ids in hex, enums as numbers."""

    def hexed(node: Any, *, in_value: bool = False) -> Any:
        if isinstance(node, dict):
            return {
                key: base64.b64decode(value).hex()
                if not in_value and key in ("traceId", "spanId", "parentSpanId")
                else hexed(value, in_value=in_value or key in ("value", "body"))
                for key, value in node.items()
            }
        return [hexed(item, in_value=in_value) for item in node] if isinstance(node, list) else node

    return json.dumps(hexed(MessageToDict(request, use_integers_for_enums=True))).encode()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": lambda body: bytes(cramjam.zstd.compress(body)),
}
