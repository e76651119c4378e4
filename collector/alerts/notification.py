"""
What is told to a receiver, and whether it must be told. Pure.

Source: alertmanager/notify/notify.go (DedupStage), notify/webhook/webhook.go, template/template.go (Data).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from collector.model.alert import GO_ZERO_TIME, Alert, rfc3339
from collector.model.series import Labels

WEBHOOK_VERSION = "4"
_REGEX_SIGNS = re.compile(r"[\\.+*?()|\[\]{}^$]")
JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What one receiver is told of one group at one time."""

    alerts: Sequence[Alert]  # at least one
    receiver: str
    group_labels: Labels
    group_key: str
    external_url: str
    now_ms: int

    def payload(self, max_alerts: int = 0) -> JsonObject:
        """As `webhook_payload`."""
        return webhook_payload(
            self.alerts,
            receiver=self.receiver,
            group_labels=self.group_labels,
            group_key=self.group_key,
            external_url=self.external_url,
            max_alerts=max_alerts,
            now_ms=self.now_ms,
        )


@dataclass(frozen=True, slots=True)
class Notified:
    """What a receiver was last told of a group: an entry of the notification log."""

    at_ms: int
    firing: Mapping[str, int]  # startsAt in Unix milliseconds, by fingerprint
    resolved: frozenset[str]  # fingerprints

    @classmethod
    def of(cls, alerts: Iterable[Alert], now_ms: int) -> Notified:
        firing: dict[str, int] = {}
        resolved = set()
        for alert in alerts:
            if alert.resolved_at(now_ms):
                resolved.add(alert.fingerprint)
            else:
                firing[alert.fingerprint] = alert.starts_at_ms
        return cls(now_ms, firing, frozenset(resolved))


def needs_notification(before: Notified | None, now: Notified, *, repeat_interval_ms: int, send_resolved: bool) -> bool:
    """
    Whether `now` says something that `before` did not, or it is time to repeat.

    Unlike Alertmanager, an alert that resolved and fired anew between two notifications counts as news, because the
    receiver's work hangs on the pair of fingerprint and startsAt.
    """
    if before is None:
        return bool(now.firing)
    if not now.firing.items() <= before.firing.items():
        return True
    if not now.firing:
        return bool(before.firing)
    if send_resolved and not now.resolved <= before.resolved:
        return True
    return now.at_ms - before.at_ms >= repeat_interval_ms


def webhook_payload(
    alerts: Sequence[Alert],
    *,
    receiver: str,
    group_labels: Labels,
    group_key: str,
    external_url: str,
    max_alerts: int,
    now_ms: int,
) -> JsonObject:
    """
    The body of a webhook notification, version 4.

    Args:
        alerts: At least one; in the body they come in Alertmanager's order, see `in_order`.
        max_alerts: More are cut off and counted in truncatedAlerts; 0: no limit.
    """
    ordered = in_order(alerts)
    kept = ordered[:max_alerts] if max_alerts else ordered
    return {
        "receiver": quote_meta(receiver),
        "status": _status(all(alert.resolved_at(now_ms) for alert in kept)),
        "alerts": [_alert(alert, now_ms) for alert in kept],
        "groupLabels": dict(group_labels),
        "commonLabels": common([alert.labels for alert in kept]),
        "commonAnnotations": common([alert.annotations for alert in kept]),
        "externalURL": external_url,
        "version": WEBHOOK_VERSION,
        "groupKey": group_key,
        "truncatedAlerts": len(ordered) - len(kept),
    }


def quote_meta(text: str) -> str:
    """Go's regexp.QuoteMeta, in which Alertmanager shows a receiver's name."""
    return _REGEX_SIGNS.sub(r"\\\g<0>", text)


def in_order(alerts: Sequence[Alert]) -> list[Alert]:
    """By job and instance (those without come last), by the number of labels, then by labels (LabelSet.Before)."""
    names = {tuple(name for name, _ in alert.labels) for alert in alerts}
    if len(names) == 1:  # as in any storm, where the comparison below would take a second
        return sorted(alerts, key=_simple_order)
    return sorted(alerts, key=cmp_to_key(_compared))


def _simple_order(alert: Alert) -> tuple[str, str, Labels]:
    """Among alerts that have the same label names."""
    pairs = dict(alert.labels)
    return pairs.get("job", ""), pairs.get("instance", ""), alert.labels


def _compared(first: Alert, second: Alert) -> int:
    ours, theirs = dict(first.labels), dict(second.labels)
    for name in ("job", "instance"):
        if ours.get(name) != theirs.get(name):
            key, other = ((name not in pairs, pairs.get(name, "")) for pairs in (ours, theirs))
            return -1 if key < other else 1
    if len(ours) != len(theirs):
        return -1 if len(ours) < len(theirs) else 1
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            key, other = ((name in pairs, pairs.get(name, "")) for pairs in (ours, theirs))
            return -1 if key < other else 1
    return 0


def _status(resolved: bool) -> str:
    return "resolved" if resolved else "firing"


def _alert(alert: Alert, now_ms: int) -> JsonObject:
    resolved = alert.resolved_at(now_ms)
    return {
        "status": _status(resolved),
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": rfc3339(alert.starts_at_ms),
        "endsAt": rfc3339(alert.ends_at_ms) if resolved else GO_ZERO_TIME,
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    }


def common(all_pairs: Sequence[Labels]) -> dict[str, str]:
    """What all have alike, by name; at least one must be given."""
    first, *others = [set(pairs) for pairs in all_pairs]
    return dict(sorted(first.intersection(*others)))
