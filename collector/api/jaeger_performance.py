"""
Where Jaeger's performance metrics come from: the spans themselves, which is exact, or the metrics that were counted of
all spans before some of their traces were dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from collector.model.markers import is_absent
from collector.pipeline.connectors.span_metrics import UNITS, SpanMetricsOptions, kind_text
from collector.query.promql.engine import Engine
from collector.storage.traces.reader import TraceReader
from collector.storage.traces.red import RedQuery, RedSeries

_NANO_PER_MS = 1_000_000
_TIMEOUT_S = 30.0  # as of queries of spans (storage/traces/database.py)
_META = re.compile(r"([\\.+*?()|\[\]{}^$])")


@dataclass(frozen=True, slots=True)
class PerformanceSeries:
    service: str
    operation: str  # empty unless asked for
    times_unix_nano: NDArray[np.int64]  # [steps]
    values: NDArray[np.float64]  # [steps], NaN where there were no calls


class Performance(Protocol):
    """Rates count what was within the window before each step. A service without a call in the range is left out."""

    def latencies_ms(self, query: RedQuery, quantile: float) -> list[PerformanceSeries]: ...

    def calls(self, query: RedQuery) -> list[PerformanceSeries]:
        """Calls a second."""
        ...

    def errors(self, query: RedQuery) -> list[PerformanceSeries]:
        """The share of calls that failed."""
        ...


@dataclass(frozen=True, slots=True)
class SpansPerformance:
    reader: TraceReader

    def latencies_ms(self, query: RedQuery, quantile: float) -> list[PerformanceSeries]:
        return self._each(query, lambda series: series.quantile_nano(quantile) / _NANO_PER_MS)

    def calls(self, query: RedQuery) -> list[PerformanceSeries]:
        return self._each(query, lambda series: series.calls / (query.window_nano / 1e9))

    def errors(self, query: RedQuery) -> list[PerformanceSeries]:
        return self._each(
            query, lambda series: np.where(series.calls > 0, series.errors / np.maximum(series.calls, 1), np.nan)
        )

    def _each(self, query: RedQuery, values: Callable[[RedSeries], NDArray[np.float64]]) -> list[PerformanceSeries]:
        return [
            PerformanceSeries(series.service, series.operation, series.times_unix_nano, values(series))
            for series in self.reader.red(query)
        ]


@dataclass(frozen=True, slots=True)
class SpanMetricsPerformance:
    """
    The queries are Jaeger's own over a Prometheus (internal/storage/metricstore/prometheus/metricstore/reader.go). A
    quantile is as exact as the buckets are.
    """

    engine: Engine
    options: SpanMetricsOptions

    def latencies_ms(self, query: RedQuery, quantile: float) -> list[PerformanceSeries]:
        unit = UNITS[self.options.unit]
        name = f"{self.options.namespace}_duration_{unit.suffix}_bucket"
        rates = f"sum(rate({name}{{{_filter(query)}}}[{_window(query)}])) by ({_group(query)},le)"
        return self._read(query, f"histogram_quantile({quantile}, {rates})", unit.nano / _NANO_PER_MS)

    def calls(self, query: RedQuery) -> list[PerformanceSeries]:
        return self._read(query, self._rate(query))

    def errors(self, query: RedQuery) -> list[PerformanceSeries]:
        """Where nothing failed there is no series of failures, and the share is 0."""
        calls, failed = self._rate(query), self._rate(query, ', status_code="STATUS_CODE_ERROR"')
        return self._read(query, f"({failed} or 0 * {calls}) / {calls}")

    def _rate(self, query: RedQuery, more: str = "") -> str:
        name = f"{self.options.namespace}_calls_total"
        return f"sum(rate({name}{{{_filter(query)}{more}}}[{_window(query)}])) by ({_group(query)})"

    def _read(self, query: RedQuery, expression: str, factor: float = 1.0) -> list[PerformanceSeries]:
        start_ms, step_ms = query.start_unix_nano // _NANO_PER_MS, query.step_nano // _NANO_PER_MS
        found = self.engine.range(
            expression,
            start_ms=start_ms,
            end_ms=start_ms + (query.steps - 1) * step_ms,
            step_ms=step_ms,
            timeout_s=_TIMEOUT_S,
        )
        values = np.where(is_absent(found.values), np.nan, found.values * factor)
        times = found.timestamps_ms * _NANO_PER_MS
        return [
            PerformanceSeries(pairs.get("service_name", ""), pairs.get("span_name", ""), times, row)
            for pairs, row in zip(map(dict, found.labels), values, strict=True)
            if np.isfinite(row).any()
        ]


def _filter(query: RedQuery) -> str:
    services = "|".join(_META.sub(r"\\\1", service) for service in query.services)
    kinds = "|".join(kind_text(kind) for kind in query.kinds)
    return f"service_name=~{json.dumps(services, ensure_ascii=False)}, span_kind=~{json.dumps(kinds)}"


def _group(query: RedQuery) -> str:
    return "service_name,span_name" if query.by_operation else "service_name"


def _window(query: RedQuery) -> str:
    return f"{query.window_nano // _NANO_PER_MS}ms"
