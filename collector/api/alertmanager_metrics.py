"""What the dispatcher tells of itself, under Alertmanager's names."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collector.alerts.dispatcher import Dispatcher
from collector.alerts.muting import AlertStatus
from collector.alerts.silence import SilenceState


class AlertmanagerMetrics(Collector):
    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.registry = CollectorRegistry()
        self.received = Counter(
            "alertmanager_alerts_received",
            "The total number of received alerts.",
            ["status", "version"],
            registry=self.registry,
        )
        self.invalid = Counter(
            "alertmanager_alerts_invalid",
            "The total number of received alerts that were invalid.",
            ["version"],
            registry=self.registry,
        )
        self.reload_succeeded = True
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        now_ms = self._dispatcher.now_ms()
        alerts = GaugeMetricFamily("alertmanager_alerts", "How many alerts by state.", labels=["state"])
        counts = dict.fromkeys(AlertStatus, 0)
        for alert in self._dispatcher.alerts:
            if not alert.resolved_at(now_ms):
                nodes = self._dispatcher.tree.match(alert.labels)
                counts[self._dispatcher.muting.of(alert.labels, nodes, now_ms).status] += 1
        for status, count in counts.items():
            alerts.add_metric([status.value], count)
        yield alerts
        silences = GaugeMetricFamily("alertmanager_silences", "How many silences by state.", labels=["state"])
        states = [silence.state(now_ms) for silence in self._dispatcher.silences.all()]
        for state in SilenceState:
            silences.add_metric([state.value], states.count(state))
        yield silences
        groups = "alertmanager_dispatcher_aggregation_groups"
        yield GaugeMetricFamily(groups, "Number of active aggregation groups.", len(self._dispatcher.groups))
        limit = "alertmanager_dispatcher_aggregation_group_limit_alerts"
        yield GaugeMetricFamily(limit, "How many alerts may be known at one time.", self._dispatcher.max_alerts)
        reloaded = "alertmanager_config_last_reload_successful"
        yield GaugeMetricFamily(reloaded, "Whether the last reload went well.", float(self.reload_succeeded))
