"""What changed between two observations, for the timeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from remediation.drills.checks import number
from remediation.drills.observation import Alert, Observation, Remediation, Service


class Change(NamedTuple):
    kind: str
    event: str
    detail: str = ""
    raised: str = ""  # the service whose desired replicas were raised


def changes(before: Observation, now: Observation, watched: frozenset[str]) -> Iterator[Change]:
    """
    In the order in which they cause one another. A part that either side could not read yields nothing.

    Args:
        watched: The alertnames of which a pending alert is told too; of others only firing and resolved, since
            anything may be pending for a moment.
    """
    if before.alerts is not None and now.alerts is not None:
        for change, alert in _alerts(before.alerts, now.alerts):
            if alert.labels.get("alertname") in watched or not change.event.endswith("pending"):
                yield change
    if before.remediations is not None and now.remediations is not None:
        yield from _remediations(before.remediations, now.remediations)
    if before.services is not None and now.services is not None:
        for name, service in now.services.items():
            if name in before.services:
                yield from _replicas(before.services[name], service)


def _alerts(before: tuple[Alert, ...], now: tuple[Alert, ...]) -> Iterator[tuple[Change, Alert]]:
    old, new = _by_identity(before), _by_identity(now)
    for identity, alert in new.items():
        if identity not in old or old[identity].state != alert.state:
            value = "" if alert.value is None else f", value {number(alert.value)}"
            yield Change("alert", f"{_name(alert)} {alert.state}", _about(alert) + value), alert
    for identity, alert in old.items():
        if identity not in new:
            ended = "resolved" if alert.state == "firing" else "no longer pending"
            yield Change("alert", f"{_name(alert)} {ended}", _about(alert)), alert


def _by_identity(alerts: tuple[Alert, ...]) -> dict[frozenset[tuple[str, str]], Alert]:
    return {frozenset(alert.labels.items()): alert for alert in alerts}


def _name(alert: Alert) -> str:
    return alert.labels.get("alertname", "an alert without a name")


def _about(alert: Alert) -> str:
    return ", ".join(alert.labels[name] for name in ("service", "instance") if name in alert.labels)


def _remediations(before: tuple[Remediation, ...], now: tuple[Remediation, ...]) -> Iterator[Change]:
    old = {each.id: each for each in before}
    for each in reversed(now):  # they come newest first
        known = old.get(each.id)
        for action in each.actions[len(known.actions) if known else 0 :]:
            sizes = f"{action.before} → {action.after}" if action.after else ""
            detail = ": ".join(part for part in (sizes, action.reason) if part)
            yield Change("action", f"{action.action} {action.target}", detail)
        if known is None or known.state != each.state:
            yield Change("remediation", f"{each.service} {each.state.replace('_', ' ')}", _told(each))


def _told(each: Remediation) -> str:
    if each.open:
        return f"for {each.alertname}"
    return "; ".join(part for part in (each.outcome, ", ".join(each.evidence[-3:])) if part)


def _replicas(before: Service, now: Service) -> Iterator[Change]:
    if now.desired != before.desired:
        raised = now.name if now.desired > before.desired else ""
        yield Change("replicas", f"{now.name} desired", f"{before.desired} → {now.desired}", raised)
    if now.ready != before.ready:
        yield Change("replicas", f"{now.name} ready", f"{before.ready} → {now.ready}")
