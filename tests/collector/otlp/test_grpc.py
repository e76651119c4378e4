from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from collector.model.ids import parse_trace_id

TRACE_ID = parse_trace_id("0af7651916cd43dd8448eb211c80319c")


@pytest.fixture
async def channel(receivers):
    async with grpc.aio.insecure_channel(receivers.grpc) as channel:
        yield channel


async def test_acknowledged_spans_are_found(receivers, channel, trace_request):
    response = await TraceServiceStub(channel).Export(trace_request)
    assert not response.HasField("partial_success")
    trace = receivers.traces.trace(TRACE_ID)
    assert [span.name for span in trace.spans] == ["GET /products", "worker_pool.wait"]


async def test_gzip_is_understood(receivers, trace_request):
    async with grpc.aio.insecure_channel(receivers.grpc, compression=grpc.Compression.Gzip) as channel:
        await TraceServiceStub(channel).Export(trace_request)
    assert receivers.traces.trace(TRACE_ID) is not None


async def test_all_three_signals_are_served(receivers, channel):
    assert await LogsServiceStub(channel).Export(ExportLogsServiceRequest()) is not None
    assert await MetricsServiceStub(channel).Export(ExportMetricsServiceRequest()) is not None


async def test_invalid_ids_are_a_partial_success(receivers, channel, trace_request):
    trace_request.resource_spans[0].scope_spans[0].spans[0].trace_id = bytes(16)
    response = await TraceServiceStub(channel).Export(trace_request)
    assert response.partial_success.rejected_spans == 1
    assert len(receivers.traces.trace(TRACE_ID).spans) == 1


async def test_bytes_that_are_no_request_are_an_invalid_argument(receivers, channel):
    export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await export(b"\x0a\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not OTLP protobuf" in caught.value.details()


async def test_a_bomb_is_resource_exhausted(receivers):
    async with grpc.aio.insecure_channel(receivers.grpc, compression=grpc.Compression.Gzip) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await export(bytes(50 << 20))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_too_many_requests_at_once_are_unavailable(receivers, channel):
    holds = [receivers.ingest.admission.request() for _ in range(8)]
    for hold in holds:
        hold.__enter__()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await TraceServiceStub(channel).Export(ExportTraceServiceRequest())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    for hold in holds:
        hold.__exit__(None, None, None)


async def test_many_small_requests_share_commits(receivers, channel, trace_request):
    stub = TraceServiceStub(channel)
    requests = []
    for index in range(1, 41):
        request = ExportTraceServiceRequest()
        request.CopyFrom(trace_request)
        for span in request.resource_spans[0].scope_spans[0].spans:
            span.trace_id = index.to_bytes(16, "big")
        requests.append(request)
    for part in range(0, 40, 8):
        await asyncio.gather(*(stub.Export(request) for request in requests[part : part + 8]))
    assert len(receivers.traces.traces([parse_trace_id(f"{index:x}") for index in range(1, 41)])) == 40
    commits = receivers.counts.registry.get_sample_value("steersman_collector_commit_duration_seconds_count")
    assert 1 <= commits <= 20
    accepted = receivers.counts.registry.get_sample_value(
        "otelcol_receiver_accepted_spans_total", {"receiver": "otlp", "transport": "grpc"}
    )
    assert accepted == 80
