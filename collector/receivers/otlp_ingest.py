"""What OTLP does with a request, whatever brought it: admit, decode, store durably, say what was refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from collector.pipeline.admission import Admission
from collector.pipeline.commit import GroupCommit
from collector.pipeline.logs import decode_logs
from collector.pipeline.self_metrics import SelfMetrics
from collector.pipeline.spans import decode_spans

# Below this a request decodes in about the time that it takes to hand it to another thread and back.
_INLINE_BYTES = 32 << 10
_Decoded = TypeVar("_Decoded")
Response = ExportTraceServiceResponse | ExportLogsServiceResponse | ExportMetricsServiceResponse


class Signal(Enum):
    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


REQUEST_TYPES: Mapping[Signal, type[Message]] = {
    Signal.TRACES: ExportTraceServiceRequest,
    Signal.LOGS: ExportLogsServiceRequest,
    Signal.METRICS: ExportMetricsServiceRequest,
}


class MetricsSink(Protocol):
    async def ingest(self, request: bytes) -> tuple[int, str]:
        """(rejected data points, why), once the others are durable."""
        ...


@dataclass(frozen=True, slots=True)
class OtlpIngest:
    commit: GroupCommit
    metrics: MetricsSink
    admission: Admission
    counts: SelfMetrics

    async def export(self, signal: Signal, request: bytes, *, transport: str) -> Response:
        """
        Store one serialised export request; return when that is durable.

        Raises:
            BadRequestError, LimitExceededError, TemporaryError: nothing of it was stored.
        """
        with self.admission.bytes(len(request)):
            match signal:
                case Signal.TRACES:
                    return await self._traces(request, transport)
                case Signal.LOGS:
                    return await self._logs(request, transport)
                case Signal.METRICS:
                    return await self._metrics(request, transport)

    async def _traces(self, request: bytes, transport: str) -> ExportTraceServiceResponse:
        now_ms = _now_ms()
        batch = await _decoded(request, lambda: decode_spans(request, received_ms=now_ms))
        await self.commit.submit(batch)
        self.counts.accepted("traces", transport, batch.table.num_rows)
        response = ExportTraceServiceResponse()
        if batch.rejected:
            self.counts.refused("traces", transport, batch.rejected)
            response.partial_success.rejected_spans = batch.rejected
            response.partial_success.error_message = batch.reason
        return response

    async def _logs(self, request: bytes, transport: str) -> ExportLogsServiceResponse:
        now_ms = _now_ms()
        batch = await _decoded(request, lambda: decode_logs(request, received_ms=now_ms))
        await self.commit.submit(batch)
        self.counts.accepted("logs", transport, batch.table.num_rows)
        return ExportLogsServiceResponse()

    async def _metrics(self, request: bytes, transport: str) -> ExportMetricsServiceResponse:
        rejected, reason = await self.metrics.ingest(request)
        response = ExportMetricsServiceResponse()
        if rejected or reason:
            self.counts.refused("metrics", transport, rejected)
            response.partial_success.rejected_data_points = rejected
            response.partial_success.error_message = reason
        return response


async def _decoded(request: bytes, decode: Callable[[], _Decoded]) -> _Decoded:
    return decode() if len(request) < _INLINE_BYTES else await asyncio.to_thread(decode)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
