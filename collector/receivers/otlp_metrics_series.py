"""What OTLP's repeated parts stand for: a resource's labels, a metric's name, a data point's series. All cached."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from collector.model.series import METRIC_NAME, Labels, labels_of
from collector.receivers.naming import MetricType, bound_text, label_pairs, metric_name

_IDENTITY = frozenset({"service.name", "service.namespace", "service.instance.id"})
TARGET_INFO = "target_info"


def attribute_text(value: Any) -> str:
    """An AnyValue as the text of a label (specification, "Attribute collections": non-strings as JSON)."""
    match value.WhichOneof("value"):
        case None:
            return ""
        case "string_value":
            return str(value.string_value)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case _:
            plain = _plain(value)
            return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return {item.key: _plain(item.value) for item in value.kvlist_value.values}
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "double_value":
            number = value.double_value
            if not math.isfinite(number):
                return "NaN" if math.isnan(number) else "+Inf" if number > 0 else "-Inf"
            return int(number) if number.is_integer() and abs(number) < 1e15 else number
        case None:
            return None
        case kind:
            return getattr(value, kind)


def attribute_pairs(attributes: Any) -> list[tuple[str, str]]:
    return [(item.key, attribute_text(item.value)) for item in attributes]


class PointSeries:
    """The series that one data point feeds, in the order of its values."""

    __slots__ = ("bounds", "labels", "totals")

    def __init__(self, labels: tuple[Labels, ...], bounds: tuple[float, ...] = ()) -> None:
        self.labels = labels
        self.bounds = bounds  # of a histogram's buckets, without +Inf
        self.totals: list[float] | None = None  # what deltas have added up to


class MetricSeries:
    """One metric of one resource."""

    __slots__ = ("_base", "help", "kind", "name", "points")

    def __init__(self, base: dict[str, str], name: str, unit: str, kind: MetricType) -> None:
        self._base = base
        self.name = metric_name(name, unit, kind)
        self.kind = kind
        self.help: str | None = None  # as last sent
        # Keyed by the point's serialised bytes without what changes from export to export, see otlp_metrics_decode.
        self.points: dict[bytes, PointSeries] = {}

    def number(self, attributes: Any) -> PointSeries:
        return PointSeries((self._labels(self.name, self._pairs(attributes)),))

    def histogram(self, attributes: Any, bounds: tuple[float, ...], *, has_sum: bool) -> PointSeries:
        """Buckets in the order of `bounds`, then +Inf, then count, then sum if there is one."""
        pairs = self._pairs(attributes)
        les = [*map(bound_text, bounds), "+Inf"]
        buckets = [self._labels(f"{self.name}_bucket", pairs | {"le": le}) for le in les]
        return PointSeries((*buckets, *self._totals(pairs)[: 1 + has_sum]), bounds)

    def summary(self, attributes: Any, quantiles: tuple[float, ...]) -> PointSeries:
        """Quantiles in their order, then count, then sum."""
        pairs = self._pairs(attributes)
        each = [self._labels(self.name, pairs | {"quantile": bound_text(quantile)}) for quantile in quantiles]
        return PointSeries((*each, *self._totals(pairs)))

    def _pairs(self, attributes: Any) -> dict[str, str]:
        # The resource wins over a point's own `job` or `instance`, as in Prometheus's OTLP endpoint.
        return label_pairs(attribute_pairs(attributes)) | self._base

    def _totals(self, pairs: dict[str, str]) -> tuple[Labels, Labels]:
        return self._labels(f"{self.name}_count", pairs), self._labels(f"{self.name}_sum", pairs)

    def _labels(self, name: str, pairs: dict[str, str]) -> Labels:
        return labels_of(pairs | {METRIC_NAME: name})


class ResourceSeries:
    """One instance of one service: where `job`, `instance` and `target_info` come from."""

    def __init__(self, attributes: Any) -> None:
        texts = dict(attribute_pairs(attributes))
        namespace, service = texts.get("service.namespace", ""), texts.get("service.name", "")
        job = f"{namespace}/{service}" if namespace and service else service
        instance = texts.get("service.instance.id", "")
        self.base = {name: value for name, value in (("job", job), ("instance", instance)) if value}
        self.target = f"otlp|{job}|{instance}"
        others = label_pairs([(name, value) for name, value in texts.items() if name not in _IDENTITY])
        self.info: Labels | None = None
        if self.base and others:  # the specification: none without an identity, and none that says nothing more
            self.info = labels_of(others | self.base | {METRIC_NAME: TARGET_INFO})
        self.metrics: dict[tuple[str, str, MetricType], MetricSeries] = {}
        self.last_labels: tuple[Labels, ...] = ()  # of the last batch, known to be distinct

    def metric(self, name: str, unit: str, kind: MetricType) -> MetricSeries:
        key = (name, unit, kind)
        metric = self.metrics.get(key)
        if metric is None:
            metric = self.metrics[key] = MetricSeries(self.base, name, unit, kind)
        return metric
