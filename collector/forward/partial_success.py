"""What a destination says of a request that it took: all of it, or all but some items."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector.forward.answer import Answer, Verdict
from collector.receivers.otlp_ingest import Signal

_RESPONSES: Mapping[Signal, tuple[type[Message], str]] = {
    Signal.TRACES: (ExportTraceServiceResponse, "rejected_spans"),
    Signal.LOGS: (ExportLogsServiceResponse, "rejected_log_records"),
    Signal.METRICS: (ExportMetricsServiceResponse, "rejected_data_points"),
}


def delivered(signal: Signal, response: bytes) -> Answer:
    """
    Args:
        response: Serialised; what cannot be read says nothing against the request.
    """
    kind, field = _RESPONSES[signal]
    try:
        partial = kind.FromString(response).partial_success
    except DecodeError:
        return Answer(Verdict.DELIVERED)
    rejected = max(0, getattr(partial, field))
    return Answer(Verdict.DELIVERED, str(partial.error_message)[:200], rejected=rejected)
