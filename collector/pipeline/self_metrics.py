"""What the collector says of itself on /metrics. Names follow the OpenTelemetry Collector's own, where it has one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

_COMMIT_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_ITEMS = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}


class _Read(Collector):
    def __init__(self, name: str, help_: str, read: Callable[[], float]) -> None:
        self._name, self._help, self._read = name, help_, read

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._help, value=self._read())


class SelfMetrics:
    """
    One set of metrics in a registry of its own, so that tests can have several.

    What a process has once (CPU, memory) is in prometheus_client's REGISTRY.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("receiver", "transport")
        self._accepted = {
            signal: Counter(f"otelcol_receiver_accepted_{items}", f"{items} stored.", labels, registry=self.registry)
            for signal, items in _ITEMS.items()
        }
        self._refused = {
            signal: Counter(
                f"otelcol_receiver_refused_{items}",
                f"{items} refused out of a request that was otherwise accepted.",
                labels,
                registry=self.registry,
            )
            for signal, items in _ITEMS.items()
        }
        self._refused_spans = Counter(
            "steersman_collector_refused_spans",
            "Spans refused out of a request that was otherwise accepted, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self._requests = Counter(
            "steersman_collector_requests",
            "Export requests, by how they ended: ok, or the gRPC status.",
            ("signal", "transport", "outcome"),
            registry=self.registry,
        )
        self._commit_seconds = Histogram(
            "steersman_collector_commit_duration_seconds",
            "Time of one group commit of spans and logs.",
            buckets=_COMMIT_BUCKETS_S,
            registry=self.registry,
        )
        self._commit_rows = Counter(
            "steersman_collector_committed_rows", "Spans and log records committed.", registry=self.registry
        )
        self._removed = Counter(
            "steersman_collector_removed_rows", "Rows deleted by retention.", ("table",), registry=self.registry
        )

    def accepted(self, signal: str, transport: str, count: int) -> None:
        self._accepted[signal].labels("otlp", transport).inc(count)

    def refused(self, signal: str, transport: str, count: int) -> None:
        self._refused[signal].labels("otlp", transport).inc(count)

    def refused_spans(self, reasons: Mapping[str, int]) -> None:
        for reason, count in reasons.items():
            self._refused_spans.labels(reason).inc(count)

    def request(self, signal: str, transport: str, outcome: str) -> None:
        self._requests.labels(signal, transport, outcome).inc()

    def counter(self, name: str, help_: str, read: Callable[[], float]) -> None:
        """A counter that another part keeps, read when it is asked for; `_total` is added to its name."""
        self.registry.register(_Read(name, help_, read))

    def gauge(self, name: str, help_: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(name, help_, registry=self.registry).set_function(read)

    def committed(self, seconds: float, rows: int) -> None:
        self._commit_seconds.observe(seconds)
        self._commit_rows.inc(rows)

    def removed(self, table: str, rows: int) -> None:
        self._removed.labels(table).inc(rows)
