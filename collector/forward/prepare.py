"""What is done to a request before it is queued: it is read, so that its sender learns what is wrong, and masked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from collector.errors import BadRequestError
from collector.forward.masking import SecretsSeen, mask
from collector.forward.record import QueuedRequest
from collector.forward.splitting import count
from collector.pipeline.intake import Intake
from collector.pipeline.logs import decode_logs
from collector.pipeline.redaction import Redactor
from collector.pipeline.spans import decode_spans
from collector.receivers.otlp_ingest import REQUEST_TYPES, Signal, digest_of


@dataclass(frozen=True, slots=True)
class Prepared:
    queued: QueuedRequest
    rejected: Mapping[str, int] = field(default_factory=dict)  # spans that no destination can take, by reason


def prepare(signal: Signal, request: bytes, *, redactor: Redactor | None, now_ms: int) -> Prepared:
    """
    Args:
        request: Serialised.
        redactor: None: nothing is masked.

    Raises:
        BadRequestError: not that message.
    """
    if signal is Signal.METRICS:
        return _metrics(request, redactor, now_ms)
    seen = None if redactor is None else SecretsSeen(redactor)
    intake = Intake(None, cast(Redactor, seen))  # it asks for no more than SecretsSeen has
    rejected: Mapping[str, int] = {}
    if signal is Signal.TRACES:
        spans = decode_spans(request, received_ms=now_ms, intake=intake)
        rows, rejected = spans.rows, spans.rejected
    else:
        rows = decode_logs(request, received_ms=now_ms, intake=intake).rows
    masked = request
    if redactor is not None and seen is not None and seen.any:
        message = REQUEST_TYPES[signal].FromString(request)
        mask(message, redactor)
        masked = _bytes(message)
    return Prepared(QueuedRequest.of(masked, items=rows, now_ms=now_ms, digest=digest_of(request)), rejected)


def _metrics(request: bytes, redactor: Redactor | None, now_ms: int) -> Prepared:
    try:
        message = ExportMetricsServiceRequest.FromString(request)
    except DecodeError as error:
        raise BadRequestError(f"not an ExportMetricsServiceRequest ({len(request)} bytes): {error}") from error
    masked = _bytes(message) if redactor is not None and mask(message, redactor) else request
    return Prepared(
        QueuedRequest.of(masked, items=count(Signal.METRICS, message), now_ms=now_ms, digest=digest_of(request))
    )


def _bytes(message: Message) -> bytes:
    return bytes(message.SerializeToString())
