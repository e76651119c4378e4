from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import resource as process_resource
import time
import zlib

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from collector.model.ids import parse_trace_id
from collector.receivers import otlp_http
from collector.storage.logs import LogQuery

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
TRACE_ID = parse_trace_id("0af7651916cd43dd8448eb211c80319c")


async def post(receivers, path, body, headers=PROTOBUF):
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(receivers.http + path, content=body, headers=headers)


def otlp_json(request: ExportTraceServiceRequest) -> dict:
    """What an exporter of OTLP/JSON would send: protobuf's mapping, ids in hex, enums as numbers."""
    tree = MessageToDict(request, use_integers_for_enums=True)

    def hexed(node):
        if isinstance(node, dict):
            return {
                key: base64.b64decode(value).hex() if key in ("traceId", "spanId", "parentSpanId") else hexed(value)
                for key, value in node.items()
            }
        return [hexed(item) for item in node] if isinstance(node, list) else node

    return hexed(tree)


async def test_acknowledged_spans_are_found_with_every_field(receivers, trace_request):
    answer = await post(receivers, "/v1/traces", trace_request.SerializeToString())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")
    trace = receivers.traces.trace(TRACE_ID)
    assert trace is not None
    root, child = trace.spans
    assert child.parent_span_id == root.span_id == 0xB7AD6B7169203331
    assert (root.name, root.kind, root.duration_nano) == ("GET /products", 2, 12_345_678)
    assert root.start_unix_nano == 1_700_000_000_000_000_000
    assert (root.status_code, root.status_message) == (2, "no stock")
    assert (root.trace_state, root.flags) == ("vendor=1", 0x101)
    assert (root.dropped_attributes, root.dropped_events, root.dropped_links) == (1, 2, 3)
    assert {item.key: item.value for item in root.attributes} == {
        "s": "text",
        "b": True,
        "i": -(2**63),
        "d": 0.1,
        "y": b"\x00\xff",
        "a": ["x", {"deep": 1}],
        "m": {"k": 1.5},
        "e": None,
        "ü": "grün €",
    }
    (event,) = root.events
    assert (event.name, event.time_unix_nano, event.dropped_attributes) == ("exception", 1_700_000_000_001_000_000, 4)
    assert {item.key: item.value for item in event.attributes} == {"exception.type": "KeyError"}
    (link,) = root.links
    assert link.trace_id == parse_trace_id("4bf92f3577b34da6a3ce929d0e0e4736")
    assert (link.span_id, link.trace_state, link.flags, link.dropped_attributes) == (0xF067AA0BA902B7, "other=2", 1, 5)
    assert {item.key: item.value for item in link.attributes} == {"why": "queue"}
    assert root.resource.service == "catalog"
    assert {item.key: item.value for item in root.resource.attributes}["process.pid"] == 4242
    assert root.resource.dropped_attributes == 7
    assert root.resource.schema_url == "https://opentelemetry.io/schemas/1.37.0"
    assert (root.scope.name, root.scope.version) == ("shop", "1.2")
    assert root.scope.schema_url == "https://opentelemetry.io/schemas/1.36.0"
    assert [item.value for item in root.scope.attributes] == [True]


async def test_json_says_the_same_as_protobuf(receivers, trace_request):
    assert (await post(receivers, "/v1/traces", trace_request.SerializeToString())).status_code == 200
    by_protobuf = receivers.traces.trace(TRACE_ID)
    other = "11111111111111111111111111111111"
    body = json.dumps(otlp_json(trace_request)).replace("0af7651916cd43dd8448eb211c80319c", other.upper())
    assert '"kind": 2' in body
    answer = await post(receivers, "/v1/traces", body, JSON)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {}
    by_json = receivers.traces.trace(parse_trace_id(other))
    assert str(by_json).replace(str(int(other, 16)), str(TRACE_ID)) == str(by_protobuf)


async def test_unknown_json_fields_are_ignored(receivers):
    body = {"resourceSpans": [{"novelty": 1, "scopeSpans": []}], "later": {}}
    assert (await post(receivers, "/v1/traces", json.dumps(body), JSON)).status_code == 200


async def test_gzip_is_understood(receivers, trace_request):
    body = gzip.compress(trace_request.SerializeToString())
    answer = await post(receivers, "/v1/traces", body, PROTOBUF | {"content-encoding": "gzip"})
    assert answer.status_code == 200
    assert receivers.traces.trace(TRACE_ID) is not None


async def test_a_batch_sent_twice_shows_once(receivers, trace_request):
    for _ in range(2):
        assert (await post(receivers, "/v1/traces", trace_request.SerializeToString())).status_code == 200
    trace = receivers.traces.trace(TRACE_ID)
    assert trace is not None
    assert len(trace.spans) == 2


async def test_spans_with_invalid_ids_are_refused_one_by_one(receivers, trace_request):
    spans = trace_request.resource_spans[0].scope_spans[0].spans
    good = {"span_id": b"12345678", "trace_id": b"1234567890123456"}
    for wrong in (
        {"trace_id": b""},
        {"trace_id": bytes(16)},
        {"trace_id": b"123456789012345"},
        {"trace_id": b"12345678901234567"},
        {"span_id": b""},
        {"span_id": bytes(8)},
        {"span_id": b"1234567"},
        {"parent_span_id": b"123"},
    ):
        spans.add(name="wrong", **(good | wrong))
    spans.add(name="fine", **good)
    answer = await post(receivers, "/v1/traces", trace_request.SerializeToString())
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_spans == 8
    assert "invalid trace id" in partial.error_message
    names = [operation.name for operation in receivers.traces.operations("catalog")]
    assert names == ["GET /products", "fine", "worker_pool.wait"]
    as_json = await post(receivers, "/v1/traces", json.dumps(otlp_json(trace_request)), JSON)
    assert as_json.json()["partialSuccess"]["rejectedSpans"] == "8"


async def test_truncated_requests_are_bad_requests_and_store_nothing(receivers, trace_request):
    whole = trace_request.SerializeToString()
    answers = await asyncio.gather(*(post(receivers, "/v1/traces", whole[:cut]) for cut in range(1, 40, 5)))
    assert {answer.status_code for answer in answers} == {400}
    assert Status.FromString(answers[0].content).code == 3
    assert "not OTLP protobuf" in Status.FromString(answers[0].content).message
    assert receivers.traces.services() == []


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"resourceSpans": 3}', b'{"resourceSpans": [3]}', b"\xff", b"[" * 99_999]
)
async def test_bad_json_is_answered_in_json(receivers, body):
    answer = await post(receivers, "/v1/traces", body, JSON)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["code"] == 3
    assert answer.json()["message"]


async def test_an_id_in_json_that_is_not_hex_is_a_bad_request(receivers):
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}
    assert (await post(receivers, "/v1/traces", json.dumps(body), JSON)).status_code == 400


async def test_a_bomb_is_refused_while_it_is_inflated(receivers):
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(pack.compress(bytes(1 << 20)) for _ in range(190)), pack.flush()])
    assert len(bomb) < 200_000
    before = process_resource.getrusage(process_resource.RUSAGE_SELF).ru_maxrss
    answer = await post(receivers, "/v1/traces", bomb, PROTOBUF | {"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert Status.FromString(answer.content).code == 8
    assert process_resource.getrusage(process_resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


async def test_a_body_over_the_limit_is_refused_whether_it_says_its_length_or_not(receivers):
    async def chunks():
        for _ in range(300):
            yield bytes(1000)

    assert (await post(receivers, "/v1/traces", bytes(200_001))).status_code == 413
    assert (await post(receivers, "/v1/traces", chunks())).status_code == 413


async def test_a_body_that_does_not_arrive_gives_its_place_back(receivers, monkeypatch):
    monkeypatch.setattr(otlp_http, "BODY_TIMEOUT_S", 0.05)

    url = httpx.URL(receivers.http)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n")
    writer.write(b"content-length: 1000\r\n\r\nthe beginning")
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n")
        writer.close()
    assert b" 503 " in answer
    with contextlib.ExitStack() as stack:
        for _ in range(receivers.ingest.admission.limits.max_requests):
            stack.enter_context(receivers.ingest.admission.request())


async def test_broken_gzip_is_a_bad_request(receivers, trace_request):
    packed = gzip.compress(trace_request.SerializeToString())
    gzipped = PROTOBUF | {"content-encoding": "gzip"}
    for body in (b"not gzip", packed[:-9], packed + b"more"):
        assert (await post(receivers, "/v1/traces", body, gzipped)).status_code == 400


async def test_other_types_and_encodings_are_unsupported(receivers):
    assert (await post(receivers, "/v1/traces", b"", {"content-type": "text/plain"})).status_code == 415
    assert (await post(receivers, "/v1/traces", b"", PROTOBUF | {"content-encoding": "br"})).status_code == 415


async def test_too_many_requests_at_once_are_told_to_come_back(receivers):
    holds = [receivers.ingest.admission.request() for _ in range(8)]
    for hold in holds:
        hold.__enter__()
    answer = await post(receivers, "/v1/traces", b"")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert Status.FromString(answer.content).code == 14
    for hold in holds:
        hold.__exit__(None, None, None)
    assert (await post(receivers, "/v1/traces", b"")).status_code == 200


async def test_an_attribute_nested_too_deep_is_a_bad_request(receivers, trace_request):
    value = trace_request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="deep").value
    for _ in range(90):
        value = value.array_value.values.add()
    value.string_value = "bottom"
    assert (await post(receivers, "/v1/traces", trace_request.SerializeToString())).status_code in (200, 400)
    nested = b""
    for _ in range(3000):  # AnyValue.array_value of ArrayValue.values, by hand
        nested = b"\x0a" + _varint(len(nested)) + nested
        nested = b"\x2a" + _varint(len(nested)) + nested
    attribute = b"\x0a\x01k\x12" + _varint(len(nested)) + nested
    span = b"\x0a\x10" + b"1" * 16 + b"\x12\x08" + b"1" * 8 + b"\x4a" + _varint(len(attribute)) + attribute
    for tag in (b"\x12", b"\x12", b"\x0a"):
        span = tag + _varint(len(span)) + span
    answer = await post(receivers, "/v1/traces", span)
    assert answer.status_code == 400
    assert "nested" in Status.FromString(answer.content).message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


async def test_logs_keep_their_fields(receivers):
    request = ExportLogsServiceRequest()
    per_resource = request.resource_logs.add()
    per_resource.resource.attributes.add(key="service.name").value.string_value = "cart"
    logs = per_resource.scope_logs.add().log_records
    record = logs.add(
        time_unix_nano=5_000,
        observed_time_unix_nano=6_000,
        severity_number=17,
        severity_text="ERROR",
        trace_id=b"1" * 16,
        span_id=b"2" * 8,
        event_name="cart.lost",
        flags=1,
        dropped_attributes_count=2,
    )
    record.body.string_value = "cart is lost"
    record.attributes.add(key="count").value.int_value = 3
    logs.add(observed_time_unix_nano=7_000, severity_number=9).body.kvlist_value.values.add(key="a").value.int_value = 1
    assert (await post(receivers, "/v1/logs", request.SerializeToString())).status_code == 200
    newest, oldest = receivers.logs.find(LogQuery(start_unix_nano=0, end_unix_nano=10_000, limit=5))
    assert newest.body.value == {"a": 1}
    assert (newest.time_unix_nano, newest.observed_unix_nano) == (0, 7_000)
    assert (oldest.body.value, oldest.severity_number, oldest.severity_text) == ("cart is lost", 17, "ERROR")
    assert (oldest.trace_id, oldest.span_id) == (int.from_bytes(b"1" * 16, "big"), int.from_bytes(b"2" * 8, "big"))
    assert (oldest.event_name, oldest.flags, oldest.dropped_attributes) == ("cart.lost", 1, 2)
    assert [(item.key, item.value) for item in oldest.attributes] == [("count", 3)]
    assert oldest.resource.service == "cart"
    only = receivers.logs.find(LogQuery(start_unix_nano=0, end_unix_nano=10_000, limit=5, min_severity=13))
    assert only == [oldest]
    assert receivers.logs.find(LogQuery(start_unix_nano=0, end_unix_nano=10_000, limit=5, service="shop")) == []


async def test_metrics_reach_the_metric_store(receivers):
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="temperature")
    metric.gauge.data_points.add(time_unix_nano=time.time_ns(), as_double=21.5)
    answer = await post(receivers, "/v1/metrics", request.SerializeToString())
    assert answer.status_code == 200
    ExportMetricsServiceResponse.FromString(answer.content)
    assert "temperature" in receivers.metrics.label_values("__name__", [], min_ms=0, max_ms=2**62)
    assert (await post(receivers, "/v1/metrics", b"\xff\xff")).status_code == 400
