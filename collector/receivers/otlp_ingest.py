"""What OTLP does with a request, whatever brought it: admit, decode, store durably, say what was refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import blake2b
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

from collector.errors import LimitExceededError
from collector.model.telemetry import Batch, LogBatch, SpanBatch
from collector.pipeline.admission import Admission, Hold, Limits
from collector.pipeline.commit import GroupCommit
from collector.pipeline.intake import AS_SENT, Intake
from collector.pipeline.logs import decode_logs
from collector.pipeline.self_metrics import SelfMetrics
from collector.pipeline.spans import decode_spans

# Below this a request decodes in about the time that it takes to hand it to another thread and back.
_INLINE_BYTES = 32 << 10
_Batch = TypeVar("_Batch", SpanBatch, LogBatch, covariant=True)
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


class _Decode(Protocol[_Batch]):
    def __call__(self, request: bytes, *, received_ms: int, intake: Intake) -> _Batch: ...


class MetricsSink(Protocol):
    async def ingest(self, request: bytes) -> tuple[int, str]:
        """(rejected data points, why), once the others are durable."""
        ...


@dataclass(frozen=True, slots=True)
class OtlpIngest:
    commit: GroupCommit[Batch]
    metrics: MetricsSink
    admission: Admission
    counts: SelfMetrics
    intake: Intake = AS_SENT

    async def export(self, signal: Signal, request: bytes, *, transport: str, hold: Hold) -> Response:
        """
        Store one serialised export request; return when that is durable.

        Args:
            hold: of the admission; grows to the request.

        Raises:
            BadRequestError, LimitExceededError, TemporaryError: nothing of it was stored.
        """
        check_size(request, self.admission.limits, hold)
        match signal:
            case Signal.TRACES:
                return await self._traces(request, transport)
            case Signal.LOGS:
                return await self._logs(request, transport)
            case Signal.METRICS:
                return await self._metrics(request, transport)

    async def _traces(self, request: bytes, transport: str) -> ExportTraceServiceResponse:
        batch = await self._stored(request, decode_spans)
        self.counts.accepted("traces", transport, batch.table.num_rows)
        return trace_response(batch.rejected, self.counts, transport)

    async def _logs(self, request: bytes, transport: str) -> ExportLogsServiceResponse:
        batch = await self._stored(request, decode_logs)
        self.counts.accepted("logs", transport, batch.table.num_rows)
        return ExportLogsServiceResponse()

    async def _stored(self, request: bytes, decode: _Decode[_Batch]) -> _Batch:
        def decoded() -> _Batch:
            batch = decode(request, received_ms=_now_ms(), intake=self.intake)
            return replace(batch, digest=digest_of(request))

        with self.commit.coming():
            batch = decoded() if len(request) < _INLINE_BYTES else await asyncio.to_thread(decoded)
        await self.commit.submit(batch)
        return batch

    async def _metrics(self, request: bytes, transport: str) -> ExportMetricsServiceResponse:
        rejected, reason = await self.metrics.ingest(request)
        response = ExportMetricsServiceResponse()
        if rejected or reason:
            self.counts.refused("metrics", transport, rejected)
            response.partial_success.rejected_data_points = rejected
            response.partial_success.error_message = reason
        return response


def check_size(request: bytes, limits: Limits, hold: Hold) -> None:
    """
    Hold the memory of a request.

    Raises:
        LimitExceededError: it is too large.
        TemporaryError: too much is in flight.
    """
    if len(request) > limits.max_request_bytes:
        raise LimitExceededError(f"request of {len(request)} bytes exceeds {limits.max_request_bytes}")
    hold.to(len(request))


def trace_response(rejected: Mapping[str, int], counts: SelfMetrics, transport: str) -> ExportTraceServiceResponse:
    """The answer to spans that were taken, all but those rejected, which it counts."""
    response = ExportTraceServiceResponse()
    if rejected:
        total = sum(rejected.values())
        counts.refused("traces", transport, total)
        counts.refused_spans(rejected)
        response.partial_success.rejected_spans = total
        reasons = "; ".join(f"{reason} ({count} spans)" for reason, count in rejected.items())
        response.partial_success.error_message = reasons
    return response


def digest_of(request: bytes) -> bytes:
    """128 bits: that two different requests of a day share one is out of the question."""
    return blake2b(request, digest_size=16).digest()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
