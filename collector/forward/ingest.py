"""The agent's end of OTLP: a request is read, masked and queued on disk, and acknowledged when it is there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from collector.errors import TemporaryError, UnsupportedError
from collector.forward.prepare import prepare
from collector.forward.record import QueuedRequest
from collector.forward.sender import Sender
from collector.pipeline.admission import Admission, Hold
from collector.pipeline.commit import GroupCommit
from collector.pipeline.redaction import Redactor
from collector.pipeline.self_metrics import SelfMetrics
from collector.receivers.otlp_ingest import Response, Signal, check_size, trace_response

_INLINE_BYTES = 16 << 10  # is read and packed in about the time that it takes to hand it to a thread and back


@dataclass(frozen=True, slots=True)
class Lane:
    """One signal's way through the agent."""

    commit: GroupCommit[QueuedRequest]
    sender: Sender


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardIngest:
    """An `OtlpSink`."""

    lanes: Mapping[Signal, Lane]  # signals that are not here are refused
    admission: Admission
    counts: SelfMetrics
    redactor: Redactor | None = None
    enqueue_failed: Counter[Signal] = field(default_factory=Counter)  # items that were told to come again

    async def export(self, signal: Signal, request: bytes, *, transport: str, hold: Hold) -> Response:
        lane = self.lanes.get(signal)
        if lane is None:
            raise UnsupportedError(f"{signal.value} are not forwarded by this agent (forward.signals)")
        check_size(request, self.admission.limits, hold)
        work = partial(prepare, signal, request, redactor=self.redactor, now_ms=time.time_ns() // 1_000_000)
        prepared = work() if len(request) < _INLINE_BYTES else await asyncio.to_thread(work)
        try:
            await lane.commit.submit(prepared.queued)
        except TemporaryError:
            self.enqueue_failed[signal] += prepared.queued.items
            raise
        lane.sender.wake()
        self.counts.accepted(signal.value, transport, prepared.queued.items)
        if signal is Signal.TRACES:
            return trace_response(prepared.rejected, self.counts, transport)
        return ExportLogsServiceResponse() if signal is Signal.LOGS else ExportMetricsServiceResponse()
