"""
An OTLP metrics export as sample batches. No I/O: bytes and the time in, batches out.

A point's series are found by its serialised bytes with everything cleared that changes from export to export: upb
writes those in a fraction of the time that reading the attributes one by one takes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from collector.errors import BadRequestError
from collector.model.histogram import STALE_HISTOGRAM, NativeHistogram, validate
from collector.model.series import ABSENT, ABSENT_BITS, STALE, Exemplar, Labels, MetricMetadata, SampleBatch
from collector.pipeline.redaction import Redactor
from collector.receivers.naming import MetricType, unit_word
from collector.receivers.otlp_metrics_config import OtlpConfig
from collector.receivers.otlp_metrics_delta import Addition, DeltaStreams
from collector.receivers.otlp_metrics_native import native_histogram
from collector.receivers.otlp_metrics_series import (
    MetricSeries,
    PointSeries,
    ResourceSeries,
    Translation,
)

RESOURCE_LIMIT = 1000  # cached; a stack has tens of instances, and one that is gone is the first to leave
POINT_LIMIT = 200_000  # cached over all resources, as many as the store has series
AHEAD_MS = 600_000  # Prometheus refuses what is more than ten minutes ahead (scrape.go, maxAheadTime)
# Points of one export that lie closer than this share a timestamp: an SDK reads its instruments one after another,
# some milliseconds apart, and series that share timestamps are stored and evaluated together. Below the shortest
# export interval, so that two exports in one request stay two.
SAME_EXPORT_MS = 500
EXEMPLAR_RUNES = 128  # OpenMetrics: a longer label set is invalid
_NO_RECORDED_VALUE = 1  # DataPointFlags
_DELTA, _CUMULATIVE = 1, 2  # AggregationTemporality


class _Row(NamedTuple):
    timestamp_ms: int
    labels: tuple[Labels, ...]
    values: tuple[float, ...]
    exemplars: list[tuple[int, Exemplar]]
    histogram: NativeHistogram | None = None  # the one series' sample in place of values[0]


@dataclass(slots=True)
class DecodedMetrics:
    batches: list[SampleBatch] = field(default_factory=list)
    metadata: list[MetricMetadata] = field(default_factory=list)
    points: int = 0  # in the request
    rejected: Counter[str] = field(default_factory=Counter)  # reason to points
    additions: list[Addition] = field(default_factory=list)  # deltas, to be taken back on failure


class MetricsDecoder:
    def __init__(self, config: OtlpConfig | None = None, redactor: Redactor | None = None) -> None:
        self._redactor = redactor
        self._translation = Translation(config or OtlpConfig(), redactor)
        self._resources: OrderedDict[bytes, ResourceSeries] = OrderedDict()
        self._cached_points = 0
        self._deltas = DeltaStreams()

    def configure(self, config: OtlpConfig) -> None:
        """Names from now on; a stream of deltas whose series changes its name starts anew."""
        if config != self._translation.config:
            self._translation = Translation(config, self._redactor)
            self._resources.clear()
            self._cached_points = 0

    def take_back(self, decoded: DecodedMetrics) -> None:
        """The batches were not stored: forget the deltas, as the sender will send them again."""
        for addition in reversed(decoded.additions):
            self._deltas.take_back(addition)
        decoded.additions.clear()

    def decode(self, request: bytes, *, now_ms: int) -> DecodedMetrics:
        """
        Args:
            request: A serialised ExportMetricsServiceRequest.
            now_ms: For points without a time, and to refuse points far ahead of it.

        Raises:
            BadRequestError: the bytes are not such a request. Single points that cannot be stored are counted instead.
        """
        try:
            message = ExportMetricsServiceRequest.FromString(request)
        except DecodeError as error:
            raise BadRequestError(f"not an ExportMetricsServiceRequest ({len(request)} bytes): {error}") from error
        if self._cached_points > POINT_LIMIT:
            self._resources.clear()
            self._cached_points = 0
        decoded = DecodedMetrics()
        for resource_metrics in message.resource_metrics:
            resource = self._resource(resource_metrics.resource)
            rows: list[_Row] = []
            for scope in resource_metrics.scope_metrics:
                for metric in scope.metrics:
                    self._metric(resource, scope, metric, now_ms, rows, decoded)
            if rows:
                decoded.batches.extend(_batches(resource, rows, decoded.rejected))
        return decoded

    def _resource(self, resource: Any) -> ResourceSeries:
        key = resource.SerializeToString()
        series = self._resources.get(key)
        if series is None:
            series = self._resources[key] = ResourceSeries(resource.attributes, self._translation)
            if len(self._resources) > RESOURCE_LIMIT:
                gone = self._resources.popitem(last=False)[1]
                self._cached_points -= sum(len(metric.points) for metric in gone.metrics.values())
        self._resources.move_to_end(key)
        return series

    def _metric(
        self, resource: ResourceSeries, scope: Any, metric: Any, now_ms: int, rows: list[_Row], decoded: DecodedMetrics
    ) -> None:
        data_kind = metric.WhichOneof("data")
        if data_kind is None:
            return
        data = getattr(metric, data_kind)
        points = data.data_points
        decoded.points += len(points)
        kind, reason = _kind(data_kind, data)
        if kind is None:
            decoded.rejected[reason] += len(points)
            return
        series = resource.metric(scope.scope, scope.schema_url, metric.name, metric.unit, kind)
        if not series.name:
            decoded.rejected[f"metric name {metric.name!r} has no character that a Prometheus name may have"] += len(
                points
            )
            return
        if series.help != metric.description:
            series.help = metric.description
            entry = MetricMetadata(series.name, kind.prometheus, metric.description, unit_word(metric.unit))
            decoded.metadata.append(entry)
        delta = data_kind in _WITH_TEMPORALITY and data.aggregation_temporality == _DELTA
        read = _READERS[kind]
        for point in points:
            row = self._row(series, point, read, delta, now_ms, decoded)
            if row is not None:
                rows.append(row)

    def _row(
        self, metric: MetricSeries, point: Any, read: _Reader, delta: bool, now_ms: int, decoded: DecodedMetrics
    ) -> _Row | None:
        timestamp_ms = point.time_unix_nano // 1_000_000 or now_ms
        if timestamp_ms > now_ms + AHEAD_MS:
            decoded.rejected[f"{metric.name}: more than {AHEAD_MS // 1000} s ahead of the collector's clock"] += 1
            return None
        start_nano, at_nano, stale = point.start_time_unix_nano, point.time_unix_nano, point.flags & _NO_RECORDED_VALUE
        try:
            series, values, exemplars = read(self, metric, point)
            if stale:
                return _stale_row(timestamp_ms, series, values)
            if delta:
                at_nano = at_nano or now_ms * 1_000_000
                values, addition = self._deltas.add(series.labels[0], values, start_nano=start_nano, at_nano=at_nano)
                decoded.additions.append(addition)
        except ValueError as error:
            decoded.rejected[f"{metric.name}: {error}"] += 1
            return None
        if isinstance(values, NativeHistogram):
            return _Row(timestamp_ms, series.labels, (float(ABSENT),), exemplars, values)
        return _Row(timestamp_ms, series.labels, values, exemplars)

    def _series(
        self, metric: MetricSeries, point: Any, make: Callable[[], PointSeries], mark: bytes = b""
    ) -> PointSeries:
        """`point` holds by now only what its series depend on; `mark` is what else they depend on."""
        key = mark + point.SerializeToString()
        series = metric.points.get(key)
        if series is None:
            series = metric.points[key] = make()
            self._cached_points += 1
        return series

    # Each reader takes the values out first, then clears the point down to what its series depend on.

    def number(self, metric: MetricSeries, point: Any) -> _Reading:
        kind = point.WhichOneof("value")
        value = 0.0 if kind is None else float(getattr(point, kind))
        counter = metric.kind is MetricType.COUNTER  # Prometheus has exemplars on counters and buckets only
        exemplars = [(0, self._exemplar(each)) for each in point.exemplars] if counter else []
        if kind is not None:
            point.ClearField(kind)
        _clear(point, _NUMBER_CHANGES)
        return self._series(metric, point, lambda: metric.number(point.attributes)), (value,), exemplars

    def histogram(self, metric: MetricSeries, point: Any) -> _Reading:
        counts = list(point.bucket_counts)
        count, total = float(point.count), float(point.sum)
        has_sum = point.HasField("sum")  # left out where values may be negative
        found = [self._exemplar(each) for each in point.exemplars]
        _clear(point, _HISTOGRAM_CHANGES)
        bounds = point.explicit_bounds
        if len(counts) != len(bounds) + 1 and (counts or len(bounds)):
            raise ValueError(f"{len(counts)} bucket counts for {len(bounds)} bounds")
        if any(not low < high for low, high in pairwise(bounds)):
            raise ValueError("bounds do not increase")
        series = self._series(
            metric,
            point,
            lambda: metric.histogram(point.attributes, tuple(bounds), has_sum=has_sum),
            b"+" if has_sum else b"-",
        )
        # +Inf and the count must agree, whatever was sent.
        values = (*map(float, accumulate(counts[:-1])), count, count, *((total,) if has_sum else ()))
        return series, values, [(bisect_left(series.bounds, each.value), each) for each in found]

    def summary(self, metric: MetricSeries, point: Any) -> _Reading:
        quantiles = tuple(each.quantile for each in point.quantile_values)
        values = (*(each.value for each in point.quantile_values), float(point.count), point.sum)
        for each in point.quantile_values:
            each.ClearField("value")
        _clear(point, _SUMMARY_CHANGES)
        return self._series(metric, point, lambda: metric.summary(point.attributes, quantiles)), values, []

    def native(self, metric: MetricSeries, point: Any) -> _Reading:
        histogram = STALE_HISTOGRAM if point.flags & _NO_RECORDED_VALUE else native_histogram(point)
        try:
            validate(histogram)
        except BadRequestError as error:
            raise ValueError(str(error)) from None
        exemplars = [(0, self._exemplar(each)) for each in point.exemplars]
        _clear(point, _NATIVE_CHANGES)
        return self._series(metric, point, lambda: metric.number(point.attributes)), histogram, exemplars

    def _exemplar(self, sent: Any) -> Exemplar:
        return _exemplar(sent, self._translation)


_Reading = tuple[PointSeries, tuple[float, ...] | NativeHistogram, list[tuple[int, Exemplar]]]
_Reader = Callable[[MetricsDecoder, MetricSeries, Any], _Reading]
_TIMES = ("start_time_unix_nano", "time_unix_nano", "flags")
_NUMBER_CHANGES = (*_TIMES, "exemplars")
_HISTOGRAM_CHANGES = (*_TIMES, "count", "sum", "bucket_counts", "exemplars", "min", "max")
_SUMMARY_CHANGES = (*_TIMES, "count", "sum")
_NATIVE_CHANGES = (
    *_TIMES, "count", "sum", "scale", "zero_count", "zero_threshold", "positive", "negative", "exemplars", "min", "max"
)  # fmt: skip
_WITH_TEMPORALITY = ("sum", "histogram", "exponential_histogram")
_READERS: dict[MetricType, _Reader] = {
    MetricType.COUNTER: MetricsDecoder.number,
    MetricType.GAUGE: MetricsDecoder.number,
    MetricType.NON_MONOTONIC: MetricsDecoder.number,
    MetricType.HISTOGRAM: MetricsDecoder.histogram,
    MetricType.NATIVE_HISTOGRAM: MetricsDecoder.native,
    MetricType.SUMMARY: MetricsDecoder.summary,
}


def _clear(point: Any, fields: tuple[str, ...]) -> None:
    for name in fields:
        point.ClearField(name)


def _kind(data_kind: str, data: Any) -> tuple[MetricType | None, str]:
    match data_kind:
        case "gauge":
            return MetricType.GAUGE, ""
        case "summary":
            return MetricType.SUMMARY, ""
        case _ if data_kind in _WITH_TEMPORALITY and data.aggregation_temporality not in (_DELTA, _CUMULATIVE):
            return None, f"{data_kind.replace('_', ' ')} without an aggregation temporality"
        case "sum":
            return MetricType.COUNTER if data.is_monotonic else MetricType.NON_MONOTONIC, ""
        case "histogram":
            return MetricType.HISTOGRAM, ""
        case "exponential_histogram":
            return MetricType.NATIVE_HISTOGRAM, ""
        case _:
            return None, f"{data_kind.replace('_', ' ')}s are not supported"


def _stale_row(timestamp_ms: int, series: PointSeries, values: tuple[float, ...] | NativeHistogram) -> _Row:
    if isinstance(values, NativeHistogram):
        return _Row(timestamp_ms, series.labels, (float(ABSENT),), [], STALE_HISTOGRAM)
    return _Row(timestamp_ms, series.labels, (float(STALE),) * len(series.labels), [])


def _exemplar(sent: Any, translation: Translation) -> Exemplar:
    labels = {}
    if sent.trace_id:
        labels["trace_id"] = sent.trace_id.hex()
    if sent.span_id:
        labels["span_id"] = sent.span_id.hex()
    more = translation.labels.pairs(translation.pairs(sent.filtered_attributes)) | labels
    if sum(len(name) + len(value) for name, value in more.items()) <= EXEMPLAR_RUNES:
        labels = more
    kind = sent.WhichOneof("value")
    value = float(getattr(sent, kind)) if kind else 0.0
    pairs = tuple(sorted((name, text) for name, text in labels.items() if text))
    return Exemplar(pairs, value, sent.time_unix_nano // 1_000_000)


def _batches(resource: ResourceSeries, rows: list[_Row], rejected: Counter[str]) -> Iterator[SampleBatch]:
    """One batch for the points of one export; exports that waited and came together stay apart."""
    latest_ms = max(row.timestamp_ms for row in rows)
    by_time: dict[int, list[_Row]] = {}
    for row in rows:
        together = row.timestamp_ms > latest_ms - SAME_EXPORT_MS
        by_time.setdefault(latest_ms if together else row.timestamp_ms, []).append(row)
    for timestamp_ms in sorted(by_time):
        yield _batch(resource, timestamp_ms, by_time[timestamp_ms], rejected)


def _batch(resource: ResourceSeries, timestamp_ms: int, rows: list[_Row], rejected: Counter[str]) -> SampleBatch:
    labels = _flat_labels(resource, rows)
    if labels != resource.last_labels:
        if len(set(labels)) != len(labels):
            rows = _distinct(resource, rows, rejected)
            labels = _flat_labels(resource, rows)
        resource.last_labels = labels
    flat: list[float] = []
    exemplars: list[tuple[int, Exemplar]] = []
    histograms: list[tuple[int, NativeHistogram]] = []
    for row in rows:
        if row.histogram is not None:
            histograms.append((len(flat), row.histogram))
        if row.exemplars:
            exemplars.extend((len(flat) + place, exemplar) for place, exemplar in row.exemplars)
        flat += row.values
    if resource.info is not None:
        flat.append(1.0)
    values = np.array(flat)
    values[values.view(np.uint64) == ABSENT_BITS] = np.nan  # our own mark means nothing from outside
    values[[place for place, _ in histograms]] = ABSENT
    return SampleBatch(resource.target, timestamp_ms, resource.last_labels, values, tuple(exemplars), tuple(histograms))


def _flat_labels(resource: ResourceSeries, rows: list[_Row]) -> tuple[Labels, ...]:
    labels: list[Labels] = []
    for row in rows:
        labels += row.labels
    if resource.info is not None:
        labels.append(resource.info)
    return tuple(labels)


def _distinct(resource: ResourceSeries, rows: list[_Row], rejected: Counter[str]) -> list[_Row]:
    seen: set[Labels] = set() if resource.info is None else {resource.info}
    kept = []
    for row in rows:
        if seen.isdisjoint(row.labels):
            seen.update(row.labels)
            kept.append(row)
        else:
            rejected[f"duplicate of another point in the export: {dict(row.labels[0]).get('__name__')}"] += 1
    return kept
