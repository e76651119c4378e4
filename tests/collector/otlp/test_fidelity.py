"""Whatever is sent, by whatever encoding, is read back as it was."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator

import grpc.aio
import httpx
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_requests import PACKED, log_requests, otlp_json, trace_requests
from otlp_values import any_value, key_values

from collector.model.attributes import Attribute
from collector.model.telemetry import LogRecord as Stored
from collector.receivers.otlp_json import request_of_json
from collector.storage.logs import LogQuery

EXAMPLES = int(os.environ.get("STEERSMAN_FIDELITY_EXAMPLES", "12"))
examples = settings(
    deadline=None,
    max_examples=EXAMPLES,
    phases=[phase for phase in Phase if phase is not Phase.shrink],  # over sockets it would take minutes
    suppress_health_check=list(HealthCheck),
)
WAYS = [("grpc", "identity"), ("grpc", "gzip"), *((kind, packed) for kind in ("protobuf", "json") for packed in PACKED)]
JSON_TYPES = {"protobuf": "application/x-protobuf", "json": "application/json"}


# A NaN of an SDK's own, and one that is negative; a zero that is; integers and doubles whose digits are a card's.
ODD_NUMBERS = {
    "nan": math.nan,
    "-nan": struct.unpack("<d", b"\x01\0\0\0\0\0\xf8\xff")[0],
    "inf": [math.inf, -math.inf, {"nan": math.nan}],
    "-0": -0.0,
    "digits": [4111111111111111, 0.4111111111111111, 4.1111111111111111e15],
    "cookie": "a key that has a secret where secrets are masked",
}


@pytest.fixture
def redactor() -> None:
    """None: what is arbitrary may pass for a secret."""


def odd_trace() -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    per_resource = request.resource_spans.add()
    per_resource.resource.attributes.extend(key_values(ODD_NUMBERS))
    per_scope = per_resource.scope_spans.add()
    per_scope.scope.attributes.extend(key_values(ODD_NUMBERS))
    span = per_scope.spans.add(attributes=key_values(ODD_NUMBERS), status={})
    span.events.add(attributes=key_values(ODD_NUMBERS))
    return request


def odd_logs() -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    per_resource = request.resource_logs.add()
    per_resource.resource.attributes.extend(key_values(ODD_NUMBERS))
    records = per_resource.scope_logs.add().log_records
    records.add(attributes=key_values(ODD_NUMBERS), body=any_value(ODD_NUMBERS))
    records.add(body=any_value(math.nan))
    return request


def by_each_way(request):
    def decorate(test):
        for way in WAYS:
            test = example(request=request, way=way)(test)
        return test

    return decorate


async def send(receivers, request, way) -> None:
    kind, packed = way
    is_trace = isinstance(request, ExportTraceServiceRequest)
    if kind == "grpc":
        compression = grpc.Compression.Gzip if packed == "gzip" else grpc.Compression.NoCompression
        async with grpc.aio.insecure_channel(receivers.grpc, compression=compression) as channel:
            stub = TraceServiceStub(channel) if is_trace else LogsServiceStub(channel)
            assert not (await stub.Export(request)).HasField("partial_success")
        return
    body = request.SerializeToString() if kind == "protobuf" else otlp_json(request)
    headers = {"content-type": JSON_TYPES[kind], "content-encoding": packed}
    async with httpx.AsyncClient() as client:
        path = "/v1/traces" if is_trace else "/v1/logs"
        answer = await client.post(receivers.http + path, content=PACKED[packed](body), headers=headers)
    assert answer.status_code == 200, answer.text


@given(request=trace_requests, way=st.sampled_from(WAYS))
@by_each_way(odd_trace())
@examples
async def test_any_trace_is_read_back_through_jaegers_api(receivers, request, way):
    trace_id = os.urandom(16)
    for number, (_, _, span) in enumerate(spans_of(request), 1):
        span.trace_id, span.span_id = trace_id, number.to_bytes(8)
    await send(receivers, request, way)
    async with httpx.AsyncClient(base_url=receivers.jaeger) as client:
        third = await client.get(f"/api/v3/traces/{trace_id.hex()}")
        first = await client.get(f"/api/traces/{trace_id.hex()}")
    expected = {span.span_id: of_span for of_span in spans_of(as_shown(request)) for span in of_span[2:]}
    if not expected:
        assert third.status_code == first.status_code == 404
        return
    read = ExportTraceServiceRequest.FromString(
        request_of_json(httpx.Response(200, json=third.json()["result"]).content, ExportTraceServiceRequest)
    )
    shown = {span.span_id: of_span for of_span in spans_of(read) for span in of_span[2:]}
    assert shown.keys() == expected.keys()
    for span_id, parts in expected.items():
        for part, other in zip(parts, shown[span_id], strict=True):
            assert str(other) == str(part)
    assert_first_version(first.json()["data"][0], expected)


def spans_of(request) -> Iterator[tuple[object, object, Span]]:
    """Each span with its resource and scope (and their schema URLs)."""
    for per_resource in request.resource_spans:
        for per_scope in per_resource.scope_spans:
            for span in per_scope.spans:
                yield (
                    (per_resource.resource, per_resource.schema_url),
                    (per_scope.scope, per_scope.schema_url),
                    span,
                )


def as_shown(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """
    What API v3 shows otherwise, as Jaeger's page refuses a whole trace over it: an empty value and a double that is
    not finite are text there.
    """
    shown = ExportTraceServiceRequest()
    shown.CopyFrom(request)
    for per_resource in shown.resource_spans:
        _show(per_resource.resource.attributes)
        for per_scope in per_resource.scope_spans:
            _show(per_scope.scope.attributes)
            for span in per_scope.spans:
                _show(span.attributes)
                for part in [*span.events, *span.links]:
                    _show(part.attributes)
    return shown


def _show(pairs) -> None:
    for pair in pairs:
        _show_value(pair.value)


def _show_value(value: AnyValue) -> None:
    match value.WhichOneof("value"):
        case None:
            value.string_value = ""
        case "double_value" if not math.isfinite(value.double_value):
            value.string_value = repr(value.double_value)
        case "array_value":
            for item in value.array_value.values:
                _show_value(item)
        case "kvlist_value":
            _show(value.kvlist_value.values)


def assert_first_version(trace, expected) -> None:
    """What version 1 has a place for."""
    assert len(trace["spans"]) == len(expected)
    for shown in trace["spans"]:
        (resource, _), (scope, _), span = expected[bytes.fromhex(shown["spanID"])]
        assert shown["traceID"] == span.trace_id.hex()
        assert shown["operationName"] == span.name
        assert shown["startTime"] == span.start_time_unix_nano // 1000
        duration = (span.end_time_unix_nano - span.start_time_unix_nano + 2**63) % 2**64 - 2**63
        assert shown["duration"] == max(0, duration) // 1000
        parents = [span.parent_span_id] if span.parent_span_id else []
        assert [bytes.fromhex(one["spanID"]) for one in shown["references"]] == parents + [
            link.span_id for link in span.links
        ]
        tags = [(tag["key"], tag["value"]) for tag in shown["tags"]]
        assert set(scalar_tags(span.attributes)) <= set(tags)
        assert not scope.name or ("otel.library.name", scope.name) in tags
        assert [log["timestamp"] for log in shown["logs"]] == [event.time_unix_nano // 1000 for event in span.events]
        process = trace["processes"][shown["processID"]]
        named = [pair for pair in resource.attributes if pair.key != "service.name"]
        assert set(scalar_tags(named)) <= {
            (tag["key"], tag["value"]) for tag in process["tags"] if not isinstance(tag["value"], list)
        }


def scalar_tags(pairs) -> Iterator[tuple[str, object]]:
    for pair in pairs:
        match pair.value.WhichOneof("value"):
            case "string_value" | "bool_value" | "int_value" | "double_value" as kind:
                yield pair.key, getattr(pair.value, kind)


@given(request=log_requests, way=st.sampled_from(WAYS))
@by_each_way(odd_logs())
@examples
async def test_any_log_record_is_kept_with_every_field(receivers, request, way):
    expected = {}
    for per_resource in request.resource_logs:
        for per_scope in per_resource.scope_logs:
            for record in per_scope.log_records:
                # The moment tells the records of one example, and of the others, apart.
                record.time_unix_nano = int.from_bytes(os.urandom(7)) + 1
                expected[record.time_unix_nano] = (
                    record,
                    (per_resource.resource, per_resource.schema_url),
                    (per_scope.scope, per_scope.schema_url),
                )
    await send(receivers, request, way)
    for moment, (record, resource, scope) in expected.items():
        (stored,) = receivers.logs.find(LogQuery(start_unix_nano=moment, end_unix_nano=moment + 1, limit=2))
        assert bits(rebuilt(stored)) == bits(record)
        assert bits_of(stored.resource.attributes) == [bits(pair) for pair in resource[0].attributes]
        assert stored.resource.dropped_attributes == resource[0].dropped_attributes_count
        assert stored.resource.schema_url == resource[1]
        assert bits_of(stored.scope.attributes) == [bits(pair) for pair in scope[0].attributes]
        assert (stored.scope.name, stored.scope.version) == (scope[0].name, scope[0].version)
        assert stored.scope.dropped_attributes == scope[0].dropped_attributes_count
        assert stored.scope.schema_url == scope[1]


def bits(message) -> bytes:
    """A NaN is not equal to itself; its bytes are, once there is but one kind of it."""
    copy = type(message)()
    copy.CopyFrom(message)
    _one_nan(copy)
    return copy.SerializeToString(deterministic=True)


def _one_nan(message) -> None:
    for field, value in message.ListFields():
        if field.name == "double_value" and value != value:
            message.double_value = math.nan
        elif field.message_type:
            for inner in [value] if hasattr(value, "ListFields") else value:
                _one_nan(inner)


def bits_of(attributes) -> list[bytes]:
    return [bits(KeyValue(key=item.key, value=any_value(item.value))) for item in attributes]


def rebuilt(stored: Stored) -> LogRecord:
    return LogRecord(
        time_unix_nano=stored.time_unix_nano,
        observed_time_unix_nano=stored.observed_unix_nano,
        severity_number=stored.severity_number,
        severity_text=stored.severity_text,
        body=any_value(stored.body.value),
        attributes=[KeyValue(key=item.key, value=any_value(item.value)) for item in stored.attributes],
        dropped_attributes_count=stored.dropped_attributes,
        flags=stored.flags,
        trace_id=stored.trace_id.to_bytes(16) if stored.trace_id else b"",
        span_id=stored.span_id.to_bytes(8) if stored.span_id else b"",
        event_name=stored.event_name,
    )


@pytest.mark.parametrize("text", ['{"$bytes":"AP8="}', '{"$map":[["$bytes","x"]]}', '[{"$double":"-inf"}]'])
def test_what_json_cannot_say_is_shown_without_the_reserved_key(text):
    shown = Attribute("", 7 if text[0] == "{" else 6, text).shown_text
    assert shown in ('"AP8="', '{"$bytes":"x"}', '["-inf"]')
