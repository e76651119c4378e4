"""The worker's own `/metrics`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

# From "at once" to "half an hour": a run that waits for the load to fall is long and healthy.
_RUN_BUCKETS = (1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800)
_ACT_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 20)  # around the aim of one second


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        PlatformCollector(registry=self.registry)
        ProcessCollector(registry=self.registry)
        self.runs = Counter("remediation_runs", "Runs that ended.", ["policy", "outcome"], registry=self.registry)
        self.actions = Counter(
            "remediation_actions", "Actions by what became of them.", ["action", "status"], registry=self.registry
        )
        self.refusals = Counter(
            "remediation_refusals", "Actions that a guard refused.", ["guard"], registry=self.registry
        )
        self.running = Gauge("remediation_running", "Runs at work in this process.", registry=self.registry)
        self.alerts = Counter(
            "remediation_webhook_alerts",
            "Alerts received, by what became of them.",
            ["result"],  # started, joined, duplicate, resolved, resolved_unknown, unmatched
            registry=self.registry,
        )
        self.run_seconds = Histogram(
            "remediation_run_duration_seconds",
            "From the alert's arrival to the end of its run.",
            ["outcome"],
            buckets=_RUN_BUCKETS,
            registry=self.registry,
        )
        self.act_seconds = Histogram(
            "remediation_time_to_act_seconds",
            "From the alert's arrival to the first change of the desired replicas.",
            buckets=_ACT_BUCKETS,
            registry=self.registry,
        )
        self.autoscaler_wanted = Gauge(
            "remediation_autoscaler_wanted_replicas",
            "Replicas that an autoscaler's utilisations ask for, before windows, steps and bounds.",
            ["service"],
            registry=self.registry,
        )
        self.autoscaler_floor = Gauge(
            "remediation_autoscaler_floor_replicas",
            "The minimum that an autoscaler keeps now, by its own, a schedule or a forecast.",
            ["service"],
            registry=self.registry,
        )
        self.forecast_load = Gauge(
            "remediation_forecast_load",
            "The load that the forecast has for now: expected, and high (its quantile).",
            ["service", "kind"],
            registry=self.registry,
        )
