"""What changed between two observations, for the timeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from remediation.drills.bounds import number
from remediation.drills.observation import Alert, Observation, Remediation, Service


class Change(NamedTuple):
    kind: str
    event: str
    detail: str = ""
    raised: str = ""  # the service whose desired replicas were raised


class Changes:
    """
    From one observation to the next, and how often replicas were added.

    Args:
        watched: As of `changes`.
    """

    def __init__(self, watched: frozenset[str]) -> None:
        self._watched = watched
        self._previous: Observation | None = None
        self.scale_outs: dict[str, int] = {}  # by service, of the observations that counted

    def note(self, seen: Observation, *, counting: bool) -> list[Change]:
        """What has changed since the last observation; none at the first."""
        found = [] if self._previous is None else list(changes(self._previous, seen, self._watched))
        for change in found:
            if change.raised and counting:
                self.scale_outs[change.raised] = self.scale_outs.get(change.raised, 0) + 1
        self._previous = _last_known(self._previous, seen)
        return found


def _last_known(previous: Observation | None, seen: Observation) -> Observation:
    """What to compare the next observation with: what was not read now is still as it was."""
    if previous is None:
        return seen
    return Observation(
        alerts=previous.alerts if seen.alerts is None else seen.alerts,
        remediations=previous.remediations if seen.remediations is None else seen.remediations,
        services=previous.services if seen.services is None else seen.services,
        pids=previous.pids if seen.pids is None else seen.pids,
    )


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
            told = [_about(alert), "" if alert.value is None else f"value {number(alert.value)}"]
            yield Change("alert", f"{_name(alert)} {alert.state}", ", ".join(filter(None, told))), alert
    for identity, alert in old.items():
        if identity not in new:
            ended = "resolved" if alert.state == "firing" else "no longer pending"
            yield Change("alert", f"{_name(alert)} {ended}", _about(alert)), alert


def _by_identity(alerts: tuple[Alert, ...]) -> dict[frozenset[tuple[str, str]], Alert]:
    return {frozenset(alert.labels.items()): alert for alert in alerts}


def _name(alert: Alert) -> str:
    return alert.labels.get("alertname", "an alert without a name")


def _about(alert: Alert) -> str:
    """What it is about; an alert that is for no service's policy to answer may carry only the job."""
    of = alert.labels.get("service") or alert.labels.get("job")
    return ", ".join(part for part in (of, alert.labels.get("instance"), alert.labels.get("slo")) if part)


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
