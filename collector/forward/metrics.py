"""
What an agent says of its queues on /metrics, under the OpenTelemetry Collector's names where it has one
(exporter/exporterhelper/metadata.yaml). Sizes are bytes, as there with `sizer: bytes`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collector.forward.ingest import ForwardIngest
from collector.forward.refused import RefusedRequests
from collector.forward.sender import Sender
from collector.receivers.otlp_ingest import Signal

_ITEMS: Mapping[Signal, str] = {
    Signal.TRACES: "spans",
    Signal.LOGS: "log_records",
    Signal.METRICS: "metric_points",
}


class ForwardMetrics(Collector):
    def __init__(self, ingest: ForwardIngest, refused: RefusedRequests, *, exporter: str) -> None:
        """
        Args:
            exporter: As the Collector names it: `otlp` (gRPC) or `otlphttp`.
        """
        self._ingest = ingest
        self._refused = refused
        self._exporter = exporter

    def collect(self) -> Iterable[Metric]:
        senders = [(signal, lane.sender) for signal, lane in self._ingest.lanes.items()]
        yield from self._gauges(senders)
        for signal, sender in senders:
            yield from self._counters(signal, sender)
        retries = CounterMetricFamily(
            "steersman_forward_failed_tries",
            "Tries to send a request that are followed by another, by what the destination said.",
            labels=("exporter", "data_type", "code"),
        )
        for signal, sender in senders:
            for code, count in sender.stats.retries.items():
                retries.add_metric((self._exporter, signal.value, code), count)
        yield retries
        yield CounterMetricFamily(
            "steersman_forward_refused_requests_removed",
            "Refused requests that made room for newer ones.",
            value=self._refused.removed,
        )

    def _gauges(self, senders: list[tuple[Signal, Sender]]) -> Iterable[Metric]:
        now_ms = time.time_ns() // 1_000_000
        reads: list[tuple[str, str, Callable[[Sender], float]]] = [
            ("otelcol_exporter_queue_size", "Bytes that wait.", lambda one: one.queue.size),
            ("otelcol_exporter_queue_capacity", "Bytes that may wait.", lambda one: one.queue.max_bytes),
            ("steersman_forward_queue_requests", "Requests that wait.", lambda one: one.queue.requests),
            ("steersman_forward_queue_items", "Spans, log records or points that wait.", lambda one: one.queue.items),
            (
                "steersman_forward_oldest_seconds",
                "How long the oldest request has waited.",
                lambda one: max(0.0, (now_ms - (one.queue.oldest_ms or now_ms)) / 1000),
            ),
            (
                "steersman_forward_up",
                "0 while the destination does not take what is sent.",
                lambda one: not one.failing,
            ),
        ]
        for name, text, read in reads:
            family = GaugeMetricFamily(name, text, labels=("exporter", "data_type"))
            for signal, sender in senders:
                family.add_metric((self._exporter, signal.value), float(read(sender)))
            yield family

    def _counters(self, signal: Signal, sender: Sender) -> Iterable[Metric]:
        items, stats = _ITEMS[signal], sender.stats
        for name, text, value in (
            (f"otelcol_exporter_sent_{items}", "Taken by the destination.", stats.sent),
            (f"otelcol_exporter_send_failed_{items}", "Refused by the destination for good.", stats.refused),
            (
                f"otelcol_exporter_enqueue_failed_{items}",
                "Told to come again, as the queue could not take them.",
                self._ingest.enqueue_failed[signal],
            ),
            (
                f"steersman_forward_rejected_{items}",
                "Left out by the destination of what it took otherwise.",
                stats.rejected,
            ),
            (
                f"steersman_forward_repeated_{signal.value}_requests",
                "Sent again by their senders, and queued once.",
                sender.queue.repeated,
            ),
        ):
            family = CounterMetricFamily(name, text, labels=("exporter",))
            family.add_metric((self._exporter,), value)
            yield family
