"""OTLP metrics ingest: a request's bytes in, durable samples and the partial success to answer with out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from collector.model.series import SampleSink
from collector.pipeline.redaction import Redactor
from collector.receivers.otlp_metrics_config import OtlpConfig
from collector.receivers.otlp_metrics_decode import DecodedMetrics, MetricsDecoder
from collector.storage.metrics.store import MetricStore

INLINE_BYTES = 256 << 10  # a request of some 1,500 points, which takes about 10 ms
REASONS = 3  # named in an answer; the rest is counted


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class MetricsIngest:
    def __init__(
        self,
        sink: SampleSink,
        store: MetricStore,
        *,
        config: OtlpConfig | None = None,
        redactor: Redactor | None = None,
        clock: Callable[[], int] = _now_ms,
    ) -> None:
        self._sink = sink
        self._store = store
        self._clock = clock
        self._decoder = MetricsDecoder(config, redactor)
        self._decoding = asyncio.Lock()

    def configure(self, config: OtlpConfig) -> None:
        """The `otlp` section of a configuration that was loaded anew."""
        self._decoder.configure(config)

    async def ingest(self, request: bytes) -> tuple[int, str]:
        """
        Store a serialised ExportMetricsServiceRequest.

        Returns:
            (rejected points, reason) for the partial success, once the rest is durable; (0, "") if all of it is.

        Raises:
            BadRequestError: the bytes are not such a request.
            TemporaryError: the store cannot write now; nothing was acknowledged.
        """
        decoded = await self._decoded(request)
        if decoded.metadata:
            self._store.set_metadata(decoded.metadata)
        try:
            outcome = await self._sink.append_tables([batch.as_table() for batch in decoded.batches])
        except BaseException:
            self._decoder.take_back(decoded)
            raise
        for refusal in outcome.refusals:
            decoded.rejected[f"{refusal.reason.value}: {refusal.example}"] += refusal.count
        return _partial_success(decoded)

    async def _decoded(self, request: bytes) -> DecodedMetrics:
        """One at a time, as streams are remembered; a large request in a thread, so that queries go on meanwhile."""
        async with self._decoding:
            if len(request) < INLINE_BYTES:
                return self._decoder.decode(request, now_ms=self._clock())
            return await asyncio.to_thread(self._decoder.decode, request, now_ms=self._clock())


def _partial_success(decoded: DecodedMetrics) -> tuple[int, str]:
    rejected = min(decoded.rejected.total(), decoded.points)
    reasons = [f"{reason} ({count})" for reason, count in decoded.rejected.most_common(REASONS)]
    if len(decoded.rejected) > REASONS:
        reasons.append(f"and {len(decoded.rejected) - REASONS} more reasons")
    return rejected, "; ".join(reasons)
