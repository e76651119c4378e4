"""Why an alert is not told: silences, inhibitions and time intervals, asked together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from collector.alerts.config import AlertmanagerConfig
from collector.alerts.inhibition import Inhibitor
from collector.alerts.routing import RouteNode
from collector.alerts.silences import Silences
from collector.alerts.time_interval import TimeInterval
from collector.model.alert import Alert
from collector.model.series import Labels


class AlertStatus(Enum):
    """As Alertmanager's API names them. An alert here is never `unprocessed`: it is judged when it is asked for."""

    ACTIVE = "active"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True, slots=True)
class Mutes:
    """Of one alert; each empty where nothing of the kind mutes it."""

    silenced_by: list[str]  # ids
    inhibited_by: list[str]  # fingerprints
    muted_by: list[str]  # names of time intervals

    @property
    def status(self) -> AlertStatus:
        muted = self.silenced_by or self.inhibited_by or self.muted_by
        return AlertStatus.SUPPRESSED if muted else AlertStatus.ACTIVE


class Muting:
    def __init__(self, config: AlertmanagerConfig, silences: Silences, alerts: Iterable[Alert]) -> None:
        self._silences = silences
        self._inhibitor = Inhibitor(config.inhibit_rules)
        self._intervals: Mapping[str, tuple[TimeInterval, ...]] = config.intervals
        for alert in alerts:
            self.observe(alert)

    def observe(self, alert: Alert) -> None:
        """Every alert that is taken, firing or resolved."""
        self._inhibitor.observe(alert)

    def forget(self, labels: Labels) -> None:
        self._inhibitor.forget(labels)
        self._silences.forget(labels)

    def is_muted(self, labels: Labels, node: RouteNode, now_ms: int) -> bool:
        """Whether alerts of these labels are not told by this route now."""
        return bool(
            self.by_time(node, now_ms)
            or self._silences.silenced_by(labels, now_ms)
            or self._inhibitor.inhibited_by(labels, now_ms)
        )

    def by_time(self, node: RouteNode, now_ms: int) -> list[str]:
        """
        Names of the time intervals that mute a route now.

        Outside of all its active intervals these are the ones that mute it (notify/notify.go, TimeActiveStage).
        """
        if node.active_intervals and not any(self._holds(name, now_ms) for name in node.active_intervals):
            return list(node.active_intervals)
        return [name for name in node.mute_intervals if self._holds(name, now_ms)]

    def of(self, labels: Labels, nodes: Iterable[RouteNode], now_ms: int) -> Mutes:
        """What to show of an alert: time intervals count where they mute every route that takes it."""
        by_time = [self.by_time(node, now_ms) for node in nodes]
        names = list(dict.fromkeys(name for names in by_time for name in names)) if all(by_time) else []
        return Mutes(self._silences.silenced_by(labels, now_ms), self._inhibitor.inhibited_by(labels, now_ms), names)

    def _holds(self, name: str, now_ms: int) -> bool:
        return any(interval.contains(now_ms) for interval in self._intervals[name])
