from __future__ import annotations

import contextlib
import os

import cramjam
import grpc.aio
import httpx
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from collector.errors import BadRequestError, LimitExceededError, TemporaryError
from collector.model.attributes import ValueType
from collector.model.ids import parse_trace_id
from collector.pipeline.admission import Admission, Limits
from collector.pipeline.intake import Intake
from collector.pipeline.spans import decode_spans
from collector.receivers import otlp_grpc, otlp_zstd
from collector.storage.logs import LogQuery

PROTOBUF = {"content-type": "application/x-protobuf"}
TRACE_ID = parse_trace_id("0af7651916cd43dd8448eb211c80319c")


async def post(receivers, body, *, path="/v1/traces", encoding="identity"):
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(receivers.http + path, content=body, headers=PROTOBUF | {"content-encoding": encoding})


def one_attribute_each(count: int, value: str = "v") -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(1, 4):
        span = spans.add(trace_id=b"1" * 16, span_id=number.to_bytes(8), dropped_attributes_count=number)
        for index in range(count if number == 2 else 1):
            span.attributes.add(key=f"k{index}").value.string_value = value
        span.events.add(name="event").attributes.add(key="of event").value.string_value = value
    return request


def decoded(request, **limits):
    intake = Intake(Limits(**limits))
    return decode_spans(request.SerializeToString(), received_ms=0, intake=intake).table.to_pylist(), intake


def test_attributes_over_the_limit_are_left_out_and_counted_as_dropped():
    rows, intake = decoded(one_attribute_each(7), max_attributes=5)
    assert [len(row["attributes"]) for row in rows] == [1, 5, 1]
    assert [pair["k"] for pair in rows[1]["attributes"]] == [f"k{index}" for index in range(5)]
    assert [row["dropped_attributes"] for row in rows] == [1, 4, 3]
    assert [pair["v"] for row in rows for pair in row["events"][0]["attributes"]] == ["v"] * 3
    assert intake.dropped == 2


def test_a_value_over_the_limit_is_cut_between_characters():
    rows, intake = decoded(one_attribute_each(1, "grün" * 3), max_attribute_bytes=8)
    assert rows[0]["attributes"][0]["v"] == "grüngr"
    assert rows[0]["events"][0]["attributes"][0]["v"] == "grüngr"
    assert intake.truncated == 6


def test_an_array_that_is_cut_becomes_a_string():
    request = one_attribute_each(1)
    request.resource_spans[0].scope_spans[0].spans[0].attributes[0].value.array_value.values.add(string_value="x" * 99)
    rows, _ = decoded(request, max_attribute_bytes=10)
    assert rows[0]["attributes"][0] == {"k": "k0", "t": ValueType.STRING, "v": '["xxxxxxxx'}


async def test_zstd_is_understood(receivers, trace_request):
    body = bytes(cramjam.zstd.compress(trace_request.SerializeToString()))
    assert (await post(receivers, body, encoding="zstd")).status_code == 200
    assert receivers.traces.trace(TRACE_ID) is not None


async def test_a_zstd_bomb_is_refused(receivers):
    bomb = bytes(cramjam.zstd.compress(bytes(100 << 20)))
    assert len(bomb) < 20_000
    assert (await post(receivers, bomb, encoding="zstd")).status_code == 413


async def test_broken_zstd_is_a_bad_request(receivers, trace_request):
    packed = bytes(cramjam.zstd.compress(trace_request.SerializeToString()))
    for body in (b"not zstd", packed[:-3], packed + b"more", packed[:4], packed[:20] + bytes(len(packed) - 20)):
        assert (await post(receivers, body, encoding="zstd")).status_code == 400


def test_a_zstd_window_over_the_limit_is_refused_before_it_is_made():
    packed = bytearray(cramjam.zstd.compress(os.urandom(64)))
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\xa0" + bytes(packed[-67:])  # no size; a window of 2^30 bytes
    with Admission(Limits()).memory() as hold:
        with pytest.raises(LimitExceededError, match="window of 1073741824 bytes exceeds 8388608"):
            otlp_zstd.unpacked(frame, 1 << 20, hold)
        assert hold.size == 0
        with pytest.raises(LimitExceededError, match="blocks"):
            otlp_zstd.unpacked(b"\x28\xb5\x2f\xfd\x00\x00" + bytes(3) * 20_000, 1 << 20, hold)
        with pytest.raises(BadRequestError, match="cut short"):
            otlp_zstd.unpacked(b"\x28\xb5\x2f\xfd\x00\x00" + bytes(3), 1 << 20, hold)


async def test_links_with_wrong_ids_are_refused_with_their_span_and_counted(receivers, trace_request):
    root, child = trace_request.resource_spans[0].scope_spans[0].spans
    root.links.add(trace_id=b"short", span_id=b"12345678")
    child.links.add()  # an empty context may stand
    answer = await post(receivers, trace_request.SerializeToString())
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_spans, partial.error_message) == (1, "invalid id in a link (1 spans)")
    assert [span.span_id for span in receivers.traces.trace(TRACE_ID).spans] == [0xAB]
    counted = receivers.counts.registry.get_sample_value(
        "steersman_collector_refused_spans_total", {"reason": "invalid id in a link"}
    )
    assert counted == 1


async def test_log_records_that_are_sent_again_are_stored_once(receivers):
    request = ExportLogsServiceRequest()
    logs = request.resource_logs.add().scope_logs.add().log_records
    for _ in range(2):
        logs.add(time_unix_nano=5).body.string_value = "two lines of one batch may be alike"
    for _ in range(3):
        assert (await post(receivers, request.SerializeToString(), path="/v1/logs")).status_code == 200
    logs.add(time_unix_nano=6)
    assert (await post(receivers, request.SerializeToString(), path="/v1/logs")).status_code == 200
    found = receivers.logs.find(LogQuery(start_unix_nano=0, end_unix_nano=9, limit=20))
    assert [record.time_unix_nano for record in found] == [6, 5, 5, 5, 5]


async def test_over_grpc_a_sender_is_told_when_to_come_back(receivers):
    async with grpc.aio.insecure_channel(receivers.grpc) as channel:
        with contextlib.ExitStack() as holds:
            for _ in range(8):
                holds.enter_context(receivers.ingest.admission.request())
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await TraceServiceStub(channel).Export(ExportTraceServiceRequest())
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    status, delay = Status.FromString(details), RetryInfo()
    assert status.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert status.details[0].Unpack(delay)
    assert delay.retry_delay.seconds == 1


async def test_a_grpc_message_that_does_not_arrive_is_given_up(receivers, monkeypatch):
    monkeypatch.setattr(otlp_grpc, "MESSAGE_TIMEOUT_S", 0.05)
    async with grpc.aio.insecure_channel(receivers.grpc) as channel:
        call = channel.stream_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_call_without_a_message_is_an_invalid_argument(receivers):
    async with grpc.aio.insecure_channel(receivers.grpc) as channel:
        call = channel.stream_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")()
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_bodies_that_arrive_hold_no_more_than_the_memory_in_flight():
    admission = Admission(Limits(max_bytes_in_flight=100))
    with admission.memory() as alone:
        alone.to(500)  # or it could never be served
        with admission.memory() as other, pytest.raises(TemporaryError, match="with 500 in flight, exceeds 100"):
            other.to(1)
    with admission.memory() as first, admission.memory() as second:
        first.to(60)
        second.to(40)
        with pytest.raises(TemporaryError):
            first.to(61)
