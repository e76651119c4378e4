"""
Calls and durations by service, operation, kind and status, as the OpenTelemetry Collector's spanmetrics connector
counts them (connector/spanmetricsconnector/connector.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.model.labels import Labels, labels_of
from collector.model.series import MetricMetadata
from collector.model.telemetry import SpanKind, StatusCode
from collector.pipeline.connectors.columns import SpanColumns
from collector.pipeline.connectors.dimensions import Dimension, Readings, Resources
from collector.pipeline.connectors.exemplars import Exemplars
from collector.pipeline.connectors.histograms import Cells
from collector.pipeline.connectors.samples import Counters, Durations, Family
from collector.pipeline.connectors.series import Level, SeriesSet
from collector.pipeline.connectors.texts import Places, combined

SERVICE, NAME, KIND, STATUS = "service.name", "span.name", "span.kind", "status.code"
NAMESPACE, INSTANCE = "service.namespace", "service.instance.id"
OVERFLOW = ("otel_metric_overflow", "true")  # OpenTelemetry, metrics SDK, "Overflow attribute"
DEFAULT_BUCKETS_NANO = tuple(  # spanmetricsconnector, defaultHistogramBucketsMs
    ms * 1_000_000 for ms in (2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10_000, 15_000)
)
_ODD = 99  # kinds and statuses that are none: one number, or a sender could make series of all numbers


class Unit(NamedTuple):
    suffix: str  # of the metric's name, as the OpenTelemetry specification has units for Prometheus
    nano: int


UNITS = {"ms": Unit("milliseconds", 1_000_000), "s": Unit("seconds", 1_000_000_000)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanMetricsOptions:
    namespace: str = "traces_span_metrics"  # of the metrics' names, as Prometheus has it
    unit: str = "ms"
    buckets_nano: tuple[int, ...] = DEFAULT_BUCKETS_NANO
    dimensions: tuple[Dimension, ...] = ()
    excluded: frozenset[str] = frozenset()
    resource_keys: tuple[str, ...] = (SERVICE,)  # what tells targets apart, of SERVICE, NAMESPACE and INSTANCE
    limit: int = 2_000  # series of calls; each has as many more as there are buckets, and two
    exemplars: bool = True
    max_exemplars: int = 5  # of one series of calls at one flush


class SpanMetrics:
    def __init__(self, options: SpanMetricsOptions, resources: Resources) -> None:
        self.options = options
        self.series = SeriesSet(options.buckets_nano, limit=options.limit)
        self._resources = resources
        self._exemplars = Exemplars(len(options.buckets_nano) + 1)
        unit = UNITS[options.unit]
        calls = MetricMetadata(f"{options.namespace}_calls_total", "counter", "Spans, by what they were of.", "")
        duration = MetricMetadata(
            f"{options.namespace}_duration_{unit.suffix}", "histogram", "How long spans took.", unit.suffix
        )
        self._calls = Counters(calls)
        self._durations = Durations(duration, options.buckets_nano, unit.nano)

    @property
    def layout(self) -> str:
        """What must not change while counts go on."""
        options = self.options
        return repr((options.buckets_nano, options.dimensions, sorted(options.excluded), options.resource_keys))

    def measure(self, spans: SpanColumns) -> Cells:
        """What the spans add. Series are made; nothing is counted yet."""
        of = self._resources.numbers(spans)
        series = self.series.numbers(len(spans), self._levels(spans, of))
        return self.series.histograms[0].cells(series, spans.duration_nano)

    def exemplify(self, spans: SpanColumns, cells: Cells) -> None:
        """Remember a span of each cell until the next flush, if no newer one comes."""
        if self.options.exemplars:
            self._exemplars.put(spans, cells, len(self.series.labels))

    def families(self) -> list[Family]:
        """What is written to the metric store: calls, then durations."""
        histograms = self.series.histograms[0]
        taken = self._exemplars.take(self.options.max_exemplars, UNITS[self.options.unit].nano)
        return [
            self._calls.family(self.series.labels, histograms.counts.sum(axis=1, dtype=np.float64)),
            self._durations.family(self.series.labels, histograms, taken),
        ]

    def keep(self, series: Places) -> None:
        """Forget all other series; the first of `series` is number 0 from now on."""
        self._exemplars.keep(series)
        self.series.keep(series)

    def _levels(self, spans: SpanColumns, of: Places) -> list[Level]:
        excluded = self.options.excluded
        names = np.zeros(len(spans), np.uint64) if NAME in excluded else spans.names.hashes()
        kinds = np.zeros(len(spans), np.int64) if KIND in excluded else known(spans.kind, max(SpanKind))
        states = np.zeros(len(spans), np.int64) if STATUS in excluded else known(spans.status, max(StatusCode))
        facts = (kinds * 128 + states).astype(np.uint64)
        readings = self._readings(spans, of, self.options.dimensions)
        services = self._readings(spans, of, ())

        def labels(row: int, read: Readings, *, overflow: bool) -> Labels:
            values = read.labels(row)
            pairs = _identity(values)
            if SERVICE not in excluded:
                pairs["service_name"] = values[SERVICE]
            if NAME not in excluded and not overflow:
                pairs["span_name"] = spans.names[row]
            if KIND not in excluded:
                pairs["span_kind"] = kind_text(int(spans.kind[row]))
            if STATUS not in excluded:
                pairs["status_code"] = status_text(int(spans.status[row]))
            if not overflow:
                pairs |= {each.label: values[each.name] for each in self.options.dimensions if each.name in values}
            return labels_of(pairs | dict([OVERFLOW])) if overflow else labels_of(pairs)

        return [
            Level(
                lambda rows: combined(readings.hashes[rows], names[rows], facts[rows]),
                lambda row: labels(row, readings, overflow=False),
            ),
            Level(
                lambda rows: combined(services.hashes[rows], facts[rows] + np.uint64(1 << 32)),
                lambda row: labels(row, services, overflow=True),
            ),
            Level(lambda rows: np.zeros(len(rows), np.uint64), lambda _: (OVERFLOW,)),
        ]

    def _readings(self, spans: SpanColumns, of: Places, dimensions: tuple[Dimension, ...]) -> Readings:
        keys = self.options.resource_keys
        return Readings(spans, self._resources, of, resource_keys=keys, dimensions=dimensions)


def known(codes: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Those that OTLP does not have as one number."""
    return np.where((codes >= 0) & (codes <= most), codes, _ODD)


def kind_text(kind: int) -> str:
    """As the Collector writes it (traceutil.SpanKindStr); empty for a kind that OTLP does not have."""
    return f"SPAN_KIND_{SpanKind(kind).name}" if kind in set(SpanKind) else ""


def status_text(code: int) -> str:
    return f"STATUS_CODE_{StatusCode(code).name}" if code in set(StatusCode) else ""


def _identity(values: dict[str, str]) -> dict[str, str]:
    """`job` and `instance` as the OpenTelemetry specification makes them of a resource."""
    namespace, service = values.get(NAMESPACE, ""), values.get(SERVICE, "")
    job = f"{namespace}/{service}" if namespace else service
    return {"job": job, "instance": values.get(INSTANCE, "")}
