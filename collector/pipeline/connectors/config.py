"""
The section `connectors` of the configuration file, with the keys of the OpenTelemetry Collector's own connectors. A
connector that is not named is off.

    connectors:
      spanmetrics:                 # {} for the defaults
        namespace: traces.span.metrics
        histogram: {unit: ms, explicit: {buckets: [2ms, 10ms, 1s]}}
        dimensions: [{name: http.route, default: ""}]
        exclude_dimensions: [status.code]
        exemplars: {enabled: true, max_per_data_point: 5}
        metrics_flush_interval: 60s
        metrics_expiration: 24h
        resource_metrics_key_attributes: [service.name]
        aggregation_cardinality_limit: 2000
      servicegraph:
        latency_histogram_buckets: [2ms, 10ms, 1s]
        dimensions: [deployment.environment.name]
        store: {ttl: 10s, max_items: 100000}
        virtual_node_peer_attributes: [peer.service, db.name, db.system.name]
        virtual_node_extra_label: false
        database_name_attributes: [db.name]
        metrics_flush_interval: 60s
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from collector.model.go_duration import parse_go_duration_nano
from collector.pipeline.connectors.dimensions import Dimension, label_name
from collector.pipeline.connectors.service_graph import ServiceGraphOptions
from collector.pipeline.connectors.span_metrics import (
    INSTANCE,
    KIND,
    NAME,
    NAMESPACE,
    SERVICE,
    STATUS,
    SpanMetricsOptions,
)

_NANO_PER_MS = 1_000_000
_SPANS, _GRAPH = SpanMetricsOptions(), ServiceGraphOptions()  # with their defaults
MAX_BUCKETS = 100  # each is a series for each series of calls
MAX_DIMENSIONS = 20
_GRAPH_LABELS = frozenset({"client", "server", "connection_type", "failed", "virtual_node"})
_SPAN_LABELS = frozenset({"job", "instance", "le", *(label_name(each) for each in (SERVICE, NAME, KIND, STATUS))})


def _nano(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # the Collector reads a bare number as nanoseconds
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a duration such as 1.2s, 100ms or 500us")
    return parse_go_duration_nano(value)


Nano = Annotated[int, BeforeValidator(_nano), Field(ge=0)]
Buckets = Annotated[tuple[Nano, ...], Field(min_length=1, max_length=MAX_BUCKETS)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _increasing(buckets: Sequence[int] | None) -> None:
    if buckets and any(low >= high for low, high in pairwise(buckets)):
        raise ValueError("buckets do not increase")


class DimensionConfig(_Section):
    name: str = Field(min_length=1)
    default: str | None = None


class ExplicitConfig(_Section):
    buckets: Buckets | None = None

    @field_validator("buckets")
    @classmethod
    def _ordered(cls, buckets: tuple[int, ...] | None) -> tuple[int, ...] | None:
        _increasing(buckets)
        return buckets


class HistogramConfig(_Section):
    unit: Literal["ms", "s"] = "ms"
    explicit: ExplicitConfig = ExplicitConfig()


class ExemplarsConfig(_Section):
    enabled: bool = True  # unlike there, where one has to ask for them
    max_per_data_point: int = Field(default=5, gt=0)  # as there


class _Flushed(_Section):
    metrics_flush_interval: Nano = 60_000_000_000  # as there
    # Unlike there, where it is never: here counts live on over a restart, and the limit of series must not fill up.
    metrics_expiration: Nano = 24 * 3600 * 1_000_000_000
    aggregation_cardinality_limit: int = Field(default=_SPANS.limit, gt=0)  # there without a limit

    @field_validator("metrics_flush_interval")
    @classmethod
    def _not_always(cls, value: int) -> int:
        if value < 100 * _NANO_PER_MS:
            raise ValueError("less than 100ms; all series are written each time")
        return value

    @property
    def flush_s(self) -> float:
        return self.metrics_flush_interval / 1e9

    @property
    def expiration_ms(self) -> int:
        """0: never."""
        return self.metrics_expiration // _NANO_PER_MS


class SpanMetricsConfig(_Flushed):
    namespace: str = Field(default="traces.span.metrics", max_length=200)
    histogram: HistogramConfig = HistogramConfig()
    dimensions: tuple[DimensionConfig, ...] = Field(default=(), max_length=MAX_DIMENSIONS)
    exclude_dimensions: tuple[Literal["service.name", "span.name", "span.kind", "status.code"], ...] = ()
    exemplars: ExemplarsConfig = ExemplarsConfig()
    # Each tells targets apart, as `job` and `instance` do. There it is all attributes of a resource, so that each
    # replica has series of its own; here it is the service, and who wants replicas adds service.instance.id.
    resource_metrics_key_attributes: tuple[Literal["service.name", "service.namespace", "service.instance.id"], ...] = (
        "service.name",
    )
    aggregation_temporality: Literal["AGGREGATION_TEMPORALITY_CUMULATIVE"] = "AGGREGATION_TEMPORALITY_CUMULATIVE"

    @field_validator("dimensions")
    @classmethod
    def _distinct(cls, dimensions: tuple[DimensionConfig, ...]) -> tuple[DimensionConfig, ...]:
        _check_labels([each.name for each in dimensions], _SPAN_LABELS)
        return dimensions

    def options(self) -> SpanMetricsOptions:
        keys = {SERVICE, *self.resource_metrics_key_attributes}
        return SpanMetricsOptions(
            namespace="_".join(part for part in label_name(self.namespace).split("_") if part),
            unit=self.histogram.unit,
            buckets_nano=self.histogram.explicit.buckets or _SPANS.buckets_nano,
            dimensions=tuple(Dimension(each.name, each.default) for each in self.dimensions),
            excluded=frozenset(self.exclude_dimensions),
            resource_keys=tuple(each for each in (SERVICE, NAMESPACE, INSTANCE) if each in keys),
            limit=self.aggregation_cardinality_limit,
            exemplars=self.exemplars.enabled,
            max_exemplars=self.exemplars.max_per_data_point,
        )


class StoreConfig(_Section):
    # There 2s and 1000: SDKs send what they have gathered for 5 s, so the ends of a request may come that far apart.
    ttl: Nano = _GRAPH.ttl_ms * _NANO_PER_MS
    max_items: int = Field(default=_GRAPH.max_items, gt=0, le=1_000_000)


class ServiceGraphConfig(_Flushed):
    latency_histogram_buckets: Buckets | None = None
    dimensions: tuple[str, ...] = Field(default=(), max_length=MAX_DIMENSIONS)
    store: StoreConfig = StoreConfig()
    virtual_node_peer_attributes: tuple[str, ...] = _GRAPH.peer_attributes
    virtual_node_extra_label: bool = False
    database_name_attributes: tuple[str, ...] = _GRAPH.database_attributes

    @field_validator("latency_histogram_buckets")
    @classmethod
    def _ordered(cls, buckets: tuple[int, ...] | None) -> tuple[int, ...] | None:
        _increasing(buckets)
        return buckets

    @field_validator("dimensions")
    @classmethod
    def _distinct(cls, dimensions: tuple[str, ...]) -> tuple[str, ...]:
        _check_labels(dimensions, _GRAPH_LABELS)
        return dimensions

    def options(self) -> ServiceGraphOptions:
        return ServiceGraphOptions(
            buckets_nano=self.latency_histogram_buckets or _GRAPH.buckets_nano,
            dimensions=tuple(Dimension(name) for name in self.dimensions),
            ttl_ms=self.store.ttl // _NANO_PER_MS,
            max_items=self.store.max_items,
            peer_attributes=self.virtual_node_peer_attributes,
            database_attributes=self.database_name_attributes,
            virtual_node_label=self.virtual_node_extra_label,
            limit=self.aggregation_cardinality_limit,
        )


class ConnectorsConfig(_Section):
    spanmetrics: SpanMetricsConfig | None = None
    servicegraph: ServiceGraphConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, raw: Any) -> Any:
        """`spanmetrics:` with nothing after it is one with the defaults, as in the Collector."""
        if not isinstance(raw, dict):
            return raw
        return {key: {} if value is None else value for key, value in raw.items()}


def _check_labels(names: Sequence[str], reserved: frozenset[str]) -> None:
    seen = set(reserved)
    for name in names:
        if label_name(name) in seen:
            raise ValueError(f"dimension {name} would be a second label {label_name(name)}")
        seen.add(label_name(name))
