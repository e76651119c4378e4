"""
The connectors that the configuration asks for, over their durable counts.

    commit of spans -> `derive`: what they add, in the transaction of the spans -> counted once that is durable
    every flush     -> `flush`: all series as they stand, for the metric store
    start           -> `restore`: counts go on where they were, so a restart is no counter reset

All of it belongs to the thread that writes the spans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from collector.model.labels import Labels
from collector.model.series import MetricMetadata, SampleTable
from collector.model.telemetry import SpanBatch
from collector.pipeline.connectors.columns import SpanColumns, columns_of
from collector.pipeline.connectors.dimensions import Resources
from collector.pipeline.connectors.rows import (
    Counted,
    all_counted,
    labels_of_text,
    restored,
    series_rows,
    stored_cells,
)
from collector.pipeline.connectors.samples import Family
from collector.pipeline.connectors.series import SeriesSet
from collector.pipeline.connectors.service_graph import ServiceGraph, ServiceGraphOptions
from collector.pipeline.connectors.span_metrics import SpanMetrics, SpanMetricsOptions
from collector.pipeline.connectors.texts import Places
from collector.storage.traces.derived import FAMILIES, Derivation, Stored

SPAN_METRICS, SERVICE_GRAPH = FAMILIES


class _Connector(Protocol):
    series: SeriesSet

    @property
    def layout(self) -> str: ...

    def families(self) -> list[Family]: ...

    def keep(self, series: Places) -> None: ...


class Flush(NamedTuple):
    """What the metric store is to take."""

    tables: list[SampleTable]
    metadata: list[MetricMetadata]


class Connectors:
    """Implements Deriver."""

    def __init__(
        self,
        *,
        span_metrics: SpanMetricsOptions | None,
        service_graph: ServiceGraphOptions | None,
        exemplars_later: bool = False,
    ) -> None:
        """
        Args:
            exemplars_later: Only spans told to `exemplify` are named by exemplars, as others may not be kept.
        """
        resources = Resources()
        self.span_metrics = SpanMetrics(span_metrics, resources) if span_metrics else None
        self.service_graph = ServiceGraph(service_graph, resources) if service_graph else None
        self._exemplars_later = exemplars_later
        self._parts: dict[str, _Connector] = {}
        if self.span_metrics:
            self._parts[SPAN_METRICS] = self.span_metrics
        if self.service_graph:
            self._parts[SERVICE_GRAPH] = self.service_graph
        self._saved = dict.fromkeys(self._parts, 0)  # series whose labels are durable
        self._flushed_ms: int | None = None
        self._flushed: dict[str, int] = {}  # how many series each metric had then

    @property
    def layouts(self) -> dict[str, str]:
        """By family, what must not change while its counts go on."""
        return {name: part.layout for name, part in self._parts.items()}

    @property
    def series(self) -> dict[str, SeriesSet]:
        """By family."""
        return {name: part.series for name, part in self._parts.items()}

    def restore(self, stored: Stored) -> None:
        """
        What a former process has counted, as far as it was counted under the same layout. Before the first `derive`;
        `content` is to be written then.
        """
        for family, part in self._parts.items():
            if stored.layouts.get(family) != part.layout:
                continue
            labels = stored.series.get(family, {})
            numbers = {number: part.series.restore(labels_of_text(text)) for number, text in labels.items()}
            for histogram, cells, at_ms in restored(stored.cells, family, numbers):
                part.series.histograms[histogram].add(cells, at_ms)

    def derive(self, spans: SpanBatch) -> Derivation:
        columns = columns_of(spans)
        return self._derivation(columns, columns.received_ms)

    def expire(self, now_ms: int) -> Derivation | None:
        """What has waited too long for its counterpart; None if there is nothing."""
        waiting = self.service_graph is not None and self.service_graph.waiting
        return self._derivation(None, now_ms) if waiting else None

    def exemplify(self, batch: SpanBatch) -> None:
        """Name the spans, which have been counted before, by exemplars."""
        if self.span_metrics is not None:
            spans = columns_of(batch)
            self.span_metrics.exemplify(spans, self.span_metrics.measure(spans))

    def flush(self, now_ms: int) -> Flush:
        """
        All series as they stand. One that is new since the last flush has been 0 then, so that its first spans are an
        increase too.
        """
        families = [family for part in self._parts.values() for family in part.families() if family.labels]
        tables = [*self._zeros(families), *(_table(family, family.values, now_ms) for family in families)]
        self._flushed_ms = now_ms
        self._flushed = {family.metadata.name: len(family.labels) for family in families}
        return Flush(tables, [family.metadata for family in families])

    def forget_before(self, at_ms: int) -> bool:
        """Forget the series that nothing has been added to since. Whether there were any."""
        found = False
        for name, part in self._parts.items():
            touched = np.max([histograms.touched_ms for histograms in part.series.histograms], axis=0)
            alive = np.flatnonzero(touched >= at_ms)
            if len(alive) < len(touched):
                part.keep(alive)
                self._saved[name] = len(alive)
                self._flushed_ms = None
                found = True
        return found

    def content(self) -> Derivation:
        """All that is counted, to stand in the place of what a number of commits added."""
        every = [
            all_counted(name, number, histograms)
            for name, part in self._parts.items()
            for number, histograms in enumerate(part.series.histograms)
        ]
        series = series_rows(self._labels(), dict.fromkeys(self._parts, 0))
        return Derivation(series, stored_cells(every), self._saver())

    def _derivation(self, spans: SpanColumns | None, now_ms: int) -> Derivation:
        span_metrics, service_graph = self.span_metrics, self.service_graph
        parts: list[Counted] = []
        keeps: list[Callable[[], None]] = []
        if span_metrics is not None and spans is not None:
            cells = span_metrics.measure(spans)
            parts.append(Counted(SPAN_METRICS, 0, cells, now_ms))
            keeps.append(partial(span_metrics.series.histograms[0].add, cells, now_ms))
            if not self._exemplars_later:
                keeps.append(partial(span_metrics.exemplify, spans, cells))
        if service_graph is not None:
            change = service_graph.measure(spans, now_ms=now_ms)
            parts.append(Counted(SERVICE_GRAPH, 0, change.client, now_ms))
            parts.append(Counted(SERVICE_GRAPH, 1, change.server, now_ms))
            keeps.append(partial(service_graph.add, change, now_ms))
        keeps.append(self._saver())

        def keep() -> None:
            for each in keeps:
                each()

        return Derivation(series_rows(self._labels(), self._saved), stored_cells(parts), keep)

    def _labels(self) -> dict[str, list[Labels]]:
        return {name: part.series.labels for name, part in self._parts.items()}

    def _saver(self) -> Callable[[], None]:
        """To be called once the labels of all series that there are now are durable."""
        return partial(self._saved.update, {name: len(part.series.labels) for name, part in self._parts.items()})

    def _zeros(self, families: Sequence[Family]) -> list[SampleTable]:
        before = self._flushed_ms
        if before is None:
            return []
        new = [(family, family.labels[self._flushed.get(family.metadata.name, 0) :]) for family in families]
        return [
            _table(replace(family, labels=labels, exemplars=()), np.zeros(len(labels)), before)
            for family, labels in new
            if labels
        ]


def _table(family: Family, values: NDArray[np.float64], at_ms: int) -> SampleTable:
    return SampleTable(
        target=f"connector|{family.metadata.name}",
        labels=family.labels,
        timestamps_ms=np.array([at_ms], np.int64),
        values=values.reshape(-1, 1),
        exemplars=family.exemplars,
    )
