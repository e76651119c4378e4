"""What the OTLP servers need of whoever takes the requests: the collector's stores, or an agent's queue."""

from __future__ import annotations

from typing import Protocol

from collector.pipeline.admission import Admission, Hold
from collector.pipeline.self_metrics import SelfMetrics
from collector.receivers.otlp_ingest import Response, Signal


class OtlpSink(Protocol):
    @property
    def admission(self) -> Admission: ...

    @property
    def counts(self) -> SelfMetrics: ...

    async def export(self, signal: Signal, request: bytes, *, transport: str, hold: Hold) -> Response:
        """
        Take one serialised export request; return when it is durable.

        Args:
            hold: of the admission; grows to the request.

        Raises:
            BadRequestError, LimitExceededError, TemporaryError: nothing of it was taken.
        """
        ...
