"""What OTLP's repeated parts stand for: a resource's labels, a metric's name, a data point's series. All cached."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from collector.model.series import METRIC_NAME, Labels, labels_of
from collector.model.text import bound_text
from collector.pipeline.redaction import Redactor
from collector.receivers.naming import LabelNaming, MetricType, metric_name
from collector.receivers.otlp_metrics_config import IDENTITY, OtlpConfig

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


class Translation:
    """The `otlp` section, ready to name things, and what takes secrets out of what they are named by."""

    def __init__(self, config: OtlpConfig, redactor: Redactor | None = None) -> None:
        self.config = config
        self._redactor = redactor
        self.strategy = config.translation_strategy
        self.labels = LabelNaming(
            self.strategy.escapes,
            config.label_name_underscore_sanitization,
            config.label_name_preserve_multiple_underscores,
        )

    def pairs(self, attributes: Any) -> list[tuple[str, str]]:
        """Attributes as they may be stored, by their own names."""
        if self._redactor is not None and attributes:
            attributes = self._redactor.key_values(attributes)
        return [(item.key, attribute_text(item.value)) for item in attributes]


class PointSeries:
    """The series that one data point feeds, in the order of its values."""

    __slots__ = ("bounds", "labels")

    def __init__(self, labels: tuple[Labels, ...], bounds: tuple[float, ...] = ()) -> None:
        self.labels = labels
        self.bounds = bounds  # of a histogram's buckets, without +Inf


class MetricSeries:
    """One metric of one scope of one resource."""

    __slots__ = ("_strong", "_translation", "_weak", "help", "kind", "name", "points")

    def __init__(
        self, name: str, kind: MetricType, translation: Translation, *, weak: dict[str, str], strong: dict[str, str]
    ) -> None:
        self.name = name
        self.kind = kind
        self._translation = translation
        self._weak = weak  # labels that a point's own win over: promoted attributes
        self._strong = strong  # labels that win over a point's own: job, instance, the scope's
        self.help: str | None = None  # as last sent
        # Keyed by the point's serialised bytes without what changes from export to export, see otlp_metrics_decode.
        self.points: dict[bytes, PointSeries] = {}

    def number(self, attributes: Any) -> PointSeries:
        """Of a number, or of a native histogram."""
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
        return self._weak | self._translation.labels.pairs(self._translation.pairs(attributes)) | self._strong

    def _totals(self, pairs: dict[str, str]) -> tuple[Labels, Labels]:
        return self._labels(f"{self.name}_count", pairs), self._labels(f"{self.name}_sum", pairs)

    def _labels(self, name: str, pairs: dict[str, str]) -> Labels:
        return labels_of(pairs | {METRIC_NAME: name})


class ResourceSeries:
    """One instance of one service: where `job`, `instance`, promoted labels and `target_info` come from."""

    def __init__(self, attributes: Any, translation: Translation) -> None:
        self._translation = translation
        texts = dict(translation.pairs(attributes))
        namespace, service = texts.get("service.namespace", ""), texts.get("service.name", "")
        job = f"{namespace}/{service}" if namespace and service else service
        instance = texts.get("service.instance.id", "")
        self._identity = {name: value for name, value in (("job", job), ("instance", instance)) if value}
        self.target = f"otlp|{job}|{instance}"
        config, labels = translation.config, translation.labels
        self._promoted = labels.pairs((name, value) for name, value in texts.items() if config.promoted(name))
        self.info = self._info(texts)
        self.metrics: dict[tuple[bytes, str, str, MetricType], MetricSeries] = {}
        self.last_labels: tuple[Labels, ...] = ()  # of the last batch, known to be distinct

    def _info(self, texts: dict[str, str]) -> Labels | None:
        """The specification: none without an identity, and none that says nothing more."""
        others = {name: value for name, value in texts.items() if name not in IDENTITY}
        kept = texts if self._translation.config.keep_identifying_resource_attributes else others
        if not self._identity or not kept:
            return None
        labels = self._translation.labels.pairs(kept.items())
        return labels_of(labels | self._identity | {METRIC_NAME: TARGET_INFO})

    def metric(self, scope: Any, schema_url: str, name: str, unit: str, kind: MetricType) -> MetricSeries:
        """The metric of this name in the instrumentation scope, a message that may be empty."""
        promote = self._translation.config.promote_scope_metadata and bool(scope.name)
        mark = scope.SerializeToString() + schema_url.encode() if promote else b""
        key = (mark, name, unit, kind)
        metric = self.metrics.get(key)
        if metric is None:
            strong = (self._scope_labels(scope, schema_url) if promote else {}) | self._identity
            translated = metric_name(name, unit, kind, self._translation.strategy)
            metric = self.metrics[key] = MetricSeries(
                translated, kind, self._translation, weak=self._promoted, strong=strong
            )
        return metric

    def _scope_labels(self, scope: Any, schema_url: str) -> dict[str, str]:
        labels = {
            self._translation.labels.name(f"otel_scope_{name}"): text
            for name, text in self._translation.pairs(scope.attributes)
        }
        return labels | {
            "otel_scope_name": scope.name,
            "otel_scope_version": scope.version,
            "otel_scope_schema_url": schema_url,
        }
