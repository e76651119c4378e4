"""What is made of spans: connectors over their durable counts, flushed to the metric store; tail sampling."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import numpy as np

from collector.errors import CollectorError
from collector.model.telemetry import SpanBatch
from collector.pipeline.commit import GroupCommit
from collector.pipeline.connectors.config import ConnectorsConfig
from collector.pipeline.connectors.connectors import Connectors, Flush
from collector.pipeline.sampling.config import ProcessorsConfig
from collector.pipeline.sampling.sampler import Sampler
from collector.pipeline.self_metrics import SelfMetrics
from collector.storage.metrics.store import MetricStore
from collector.storage.traces import derived, held
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.derived import Derivation

_log = logging.getLogger(__name__)
# Until then each commit leaves a row: at ten commits a second 600 of some 15 kB, which a start adds up in 50 ms.
REWRITE_EVERY_MS = 60_000
LAST_FLUSH_WITHIN_S = 2.0  # of the 5 s that a stop may take


class SpanProcessing:
    """
    Made before the first span is written; `finish` is called after the last one.

    Implements Deriver, so that a mistake in what is made of spans never keeps the spans themselves from being stored.
    """

    def __init__(
        self,
        config: ConnectorsConfig,
        processors: ProcessorsConfig,
        database: TelemetryDatabase,
        store: MetricStore,
        counts: SelfMetrics,
    ) -> None:
        """
        Raises:
            CollectorError: the counts cannot be read.
        """
        self._database = database
        self._store = store
        self.counts = counts
        sampling = processors.tail_sampling
        sections = [section for section in (config.spanmetrics, config.servicegraph) if section is not None]
        self._flush_s = min((section.flush_s for section in sections), default=0.0)
        self._expiration_ms = min((each.expiration_ms for each in sections if each.expiration_ms), default=0)
        self.connectors = Connectors(
            span_metrics=config.spanmetrics.options() if config.spanmetrics else None,
            service_graph=config.servicegraph.options() if config.servicegraph else None,
            exemplars_later=sampling is not None,
        )
        if sections:
            self._restore()
            database.deriver = self
        self.sampler = None
        self.failures = 0  # commits whose spans are not counted
        with database.writing() as connection:
            held.create(connection)
        if sampling is not None:
            self.sampler = Sampler(sampling, database, counts, tell=self.connectors.exemplify)
            database.holding = True
        elif spans := held.release(database):
            _log.info("%s spans that waited for a decision are kept, as there is no tail_sampling any more", spans)
        self._count(counts)

    def background(self, commit: GroupCommit[Any]) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        found: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        if self._flush_s:
            found.append(("connectors", partial(self._keep_flushing, commit)))
        if self.sampler is not None:
            found.append(("tail sampling", partial(self.sampler.run, commit)))
        return found

    def _count(self, counts: SelfMetrics) -> None:
        """Under the names of the OpenTelemetry Collector, where it has one."""
        if graph := self.connectors.service_graph:
            for name, text, read in (
                ("dropped_spans", "Spans dropped when trying to add edges.", lambda: graph.dropped_spans),
                ("expired_edges", "Edges that expired before finding its matching span.", lambda: graph.expired_edges),
                ("total_edges", "Total number of unique edges.", lambda: graph.total_edges),
            ):
                counts.counter(f"otelcol_connector_servicegraph_{name}", text, read)
            counts.gauge("steersman_connector_servicegraph_waiting_spans", "Ends of requests.", lambda: graph.waiting)
        if self._flush_s:
            text = "Commits whose spans could not be counted; the log says why."
            counts.counter("steersman_connector_failures", text, lambda: self.failures)
        for name, series in self.connectors.series.items():
            counts.gauge(f"steersman_connector_{name}_series", "Sets of labels.", partial(len, series.labels))
            counts.counter(
                f"steersman_connector_{name}_overflowed",
                "Counted without all labels.",
                partial(getattr, series, "overflowed"),
            )

    def derive(self, spans: SpanBatch) -> Derivation:
        try:
            return self.connectors.derive(spans)
        except Exception:
            self.failures += 1
            _log.exception("%s spans are stored and not counted", spans.table.num_rows)
            return Derivation(None, np.empty(0, derived.CELL), lambda: None)

    def finish(self) -> None:
        """Flush what was counted last. To be called from no loop's thread, and once nobody writes spans any more."""
        if not self._flush_s:
            return
        try:
            flush = self._flush()
            self._rewrite(_now_ms())
            self._store.submit(flush.tables).result(LAST_FLUSH_WITHIN_S)
        except (CollectorError, TimeoutError) as error:
            _log.warning("the last of the metrics of spans was not written: %s", error)

    async def _keep_flushing(self, commit: GroupCommit[Any]) -> None:
        while True:
            await asyncio.sleep(self._flush_s)
            try:
                flush = await commit.alone(self._flush)
                self._store.set_metadata(flush.metadata)
                outcome = await self._store.append_tables(flush.tables)
            except CollectorError as error:
                _log.warning("metrics of spans are not written for now: %s", error)
                continue
            for refusal in outcome.refusals:
                _log.warning("%s of the metrics of spans were refused: %s", refusal.count, refusal.example)

    def _flush(self) -> Flush:
        now_ms = _now_ms()
        if derivation := self.connectors.expire(now_ms):
            with self._database.writing():
                self._database.append_derived(derivation)
            derivation.keep()
        forgotten = bool(self._expiration_ms) and self.connectors.forget_before(now_ms - self._expiration_ms)
        if forgotten or now_ms - self._rewritten_ms >= REWRITE_EVERY_MS:
            self._rewrite(now_ms)
        return self.connectors.flush(now_ms)

    def _rewrite(self, now_ms: int) -> None:
        content = self.connectors.content()
        with self._database.writing() as connection:
            derived.rewrite(connection, self.connectors.layouts, content)
        content.keep()
        self._rewritten_ms = now_ms

    def _restore(self) -> None:
        with self._database.writing() as connection:
            self.connectors.restore(derived.read(connection))
        self._rewrite(_now_ms())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
