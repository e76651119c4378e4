"""
The states of the alerts of one rule, as a machine without I/O or clock.

    (nothing) ──held──▶ pending ──held for `for`──▶ firing ──gone for `keep_firing_for`──▶ inactive ──15 min──▶ gone
    pending ──gone──▶ (nothing)        inactive ──held──▶ pending, as a new alert

Source: prometheus/rules/alerting.go, AlertingRule.Eval and Alert.needsSending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from collector.errors import LimitExceededError
from collector.model.alert import Alert
from collector.model.series import Labels

# How long a resolved alert is remembered and sent again (rules/alerting.go, resolvedRetention).
RESOLVED_RETENTION_MS = 15 * 60 * 1000
FOR_GRACE_PERIOD_MS = 10 * 60 * 1000  # Prometheus, --rules.alert.for-grace-period
VALID_FOR_RESENDS = 4  # lost evaluations or sends that an alert survives (rules/group.go, sendAlerts: 4 * delta)


class AlertState(Enum):
    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(slots=True)
class ActiveAlert:
    """One alert of a rule. All times are Unix milliseconds; None: has not happened."""

    labels: Labels
    annotations: Labels
    value: float
    active_at_ms: int  # since when the expression holds
    state: AlertState = AlertState.PENDING
    fired_at_ms: int | None = None
    resolved_at_ms: int | None = None
    keep_firing_since_ms: int | None = None
    last_sent_ms: int | None = None
    # Restored after a restart and not seen since: the last time it was known to be active.
    unseen_since_ms: int | None = None

    def needs_sending(self, now_ms: int, resend_delay_ms: int) -> bool:
        if self.state is AlertState.PENDING:
            return False
        if self.last_sent_ms is None:
            return True
        if self.resolved_at_ms is not None and self.resolved_at_ms > self.last_sent_ms:
            return True
        return self.last_sent_ms + resend_delay_ms <= now_ms

    def outgoing(self, valid_until_ms: int, generator_url: str) -> Alert:
        """What is told to the dispatcher. Only for an alert that has fired."""
        started = self.active_at_ms if self.fired_at_ms is None else self.fired_at_ms
        ends = valid_until_ms if self.resolved_at_ms is None else self.resolved_at_ms
        return Alert(self.labels, self.annotations, started, ends, generator_url)


@dataclass(frozen=True, slots=True)
class Held:
    """One element of an alerting expression's result, its templates expanded."""

    labels: Labels
    annotations: Labels
    value: float


class AlertTable:
    """
    The alerts of one rule, by labels.

    Args:
        doubt_until_ms: Until then a restored alert that the expression does not yield stays as it is, because after a
            restart the windows of the expressions are not filled yet.
    """

    def __init__(self, *, for_ms: int, keep_firing_for_ms: int = 0, limit: int = 0) -> None:
        self.for_ms = for_ms
        self.keep_firing_for_ms = keep_firing_for_ms
        self.limit = limit
        self.alerts: dict[Labels, ActiveAlert] = {}
        self.doubt_until_ms = 0

    def restore(self, alerts: Iterable[ActiveAlert], *, doubt_until_ms: int) -> None:
        """Take over what was known before a restart."""
        self.alerts = {alert.labels: alert for alert in alerts}
        self.doubt_until_ms = doubt_until_ms

    def evaluate(self, held: Mapping[Labels, Held], now_ms: int) -> list[ActiveAlert]:
        """
        Move every alert on to `now_ms`, given what the expression yields then.

        Returns:
            The alerts that are pending or firing afterwards, whose series are to be written. An alert that was restored
            as pending and is still in doubt is not among them.

        Raises:
            LimitExceededError: more alerts are active than the group's limit; all are forgotten, as in Prometheus.
        """
        for labels, element in held.items():
            self._see(labels, element, now_ms)
        active = [alert for labels, alert in list(self.alerts.items()) if self._step(alert, now_ms, labels in held)]
        if self.limit and len(active) > self.limit:
            self.alerts = {}
            raise LimitExceededError(f"exceeded limit of {self.limit} with {len(active)} alerts")
        return active

    def _see(self, labels: Labels, element: Held, now_ms: int) -> None:
        alert = self.alerts.get(labels)
        if alert is None or alert.state is AlertState.INACTIVE:
            self.alerts[labels] = ActiveAlert(labels, element.annotations, element.value, now_ms)
            return
        alert.value = element.value
        alert.annotations = element.annotations
        if alert.unseen_since_ms is not None:
            if alert.state is AlertState.PENDING:
                alert.active_at_ms = self._resumed(alert.active_at_ms, alert.unseen_since_ms, now_ms)
            alert.unseen_since_ms = None

    def _resumed(self, active_at_ms: int, unseen_since_ms: int, now_ms: int) -> int:
        """
        Since when an alert counts as active that was pending before a restart.

        The time that nobody watched does not count towards `for`; and a long `for` is not over within the grace period,
        which leaves a cause that went with the restart the time to show. Source: rules/group.go, RestoreForState.
        """
        left_ms = self.for_ms - (unseen_since_ms - active_at_ms)
        if left_ms <= 0:
            return active_at_ms
        if self.for_ms >= FOR_GRACE_PERIOD_MS and left_ms < FOR_GRACE_PERIOD_MS:
            return now_ms + FOR_GRACE_PERIOD_MS - self.for_ms
        return active_at_ms + now_ms - unseen_since_ms

    def _step(self, alert: ActiveAlert, now_ms: int, held: bool) -> bool:
        """Move one alert on; whether it is active afterwards."""
        if held:
            alert.keep_firing_since_ms = None
        elif alert.unseen_since_ms is not None and now_ms < self.doubt_until_ms:
            return alert.state is AlertState.FIRING
        elif not self._keeps_firing(alert, now_ms):
            self._end(alert, now_ms)
            return False
        if alert.state is AlertState.PENDING and now_ms - alert.active_at_ms >= self.for_ms:
            alert.state = AlertState.FIRING
            alert.fired_at_ms = now_ms
        return True

    def _keeps_firing(self, alert: ActiveAlert, now_ms: int) -> bool:
        if alert.state is not AlertState.FIRING or not self.keep_firing_for_ms:
            return False
        if alert.keep_firing_since_ms is None:
            alert.keep_firing_since_ms = now_ms
        return now_ms - alert.keep_firing_since_ms < self.keep_firing_for_ms

    def _end(self, alert: ActiveAlert, now_ms: int) -> None:
        alert.unseen_since_ms = None
        retained = alert.resolved_at_ms is None or now_ms - alert.resolved_at_ms <= RESOLVED_RETENTION_MS
        if alert.state is AlertState.PENDING or not retained:
            del self.alerts[alert.labels]
        elif alert.state is AlertState.FIRING:
            alert.state = AlertState.INACTIVE
            alert.resolved_at_ms = now_ms

    @property
    def state(self) -> AlertState:
        """The highest state of any alert."""
        states = {alert.state for alert in self.alerts.values()}
        return next(
            (state for state in (AlertState.FIRING, AlertState.PENDING) if state in states), AlertState.INACTIVE
        )

    def active(self) -> list[ActiveAlert]:
        return [alert for alert in self.alerts.values() if alert.state is not AlertState.INACTIVE]

    def due(self, now_ms: int, *, resend_delay_ms: int, interval_ms: int, generator_url: str) -> list[Alert]:
        """The alerts to tell the dispatcher of now; they count as told."""
        outgoing = []
        for alert in self.alerts.values():
            if alert.needs_sending(now_ms, resend_delay_ms):
                alert.last_sent_ms = now_ms
                valid_until_ms = now_ms + VALID_FOR_RESENDS * max(resend_delay_ms, interval_ms)
                outgoing.append(alert.outgoing(valid_until_ms, generator_url))
        return outgoing
