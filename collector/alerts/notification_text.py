"""
The default texts of Alertmanager's notifications, for receivers that people read. Pure.

Source: alertmanager/template/default.tmpl (__subject, __text_alert_list), of which these are the words.
"""

from __future__ import annotations

from collections.abc import Sequence

from collector.alerts.notification import Notification, in_order
from collector.model.alert import Alert
from collector.model.series import Labels

MAX_BODY_CHARS = 16_000  # beyond, services cut or refuse; the subject still says how many alerts there are


def subject(notification: Notification) -> str:
    """`[FIRING:2] Slow cart (critical)`: status, the group's values, and those that all alerts share besides."""
    firing = [one for one in notification.alerts if not one.resolved_at(notification.now_ms)]
    status = f"FIRING:{len(firing)}" if firing else "RESOLVED"
    group = [value for _, value in _named_first(notification.group_labels)]
    names = {name for name, _ in notification.group_labels}
    first, *others = (set(one.labels) for one in notification.alerts)
    common = sorted(first.intersection(*others))
    rest = [value for name, value in _named_first(tuple(common)) if name not in names]
    title = f"[{status}] {' '.join(group)}"
    return f"{title} ({' '.join(rest)})" if rest else title.rstrip()


def body(notification: Notification) -> str:
    """Labels, annotations and source of each alert, the firing ones first."""
    now_ms = notification.now_ms
    ordered = in_order(notification.alerts)
    firing = [one for one in ordered if not one.resolved_at(now_ms)]
    resolved = [one for one in ordered if one.resolved_at(now_ms)]
    parts = [_listed(title, alerts) for title, alerts in (("Firing", firing), ("Resolved", resolved)) if alerts]
    text = "\n".join(parts)
    return text if len(text) <= MAX_BODY_CHARS else text[: MAX_BODY_CHARS - 2] + "\n…"


def _listed(title: str, alerts: Sequence[Alert]) -> str:
    return f"Alerts {title}:\n" + "".join(map(_alert, alerts))


def _alert(alert: Alert) -> str:
    labels = "".join(f" - {name} = {value}\n" for name, value in _named_first(alert.labels))
    annotations = "".join(f" - {name} = {value}\n" for name, value in sorted(alert.annotations))
    return f"Labels:\n{labels}Annotations:\n{annotations}Source: {alert.generator_url}\n"


def _named_first(labels: Labels) -> list[tuple[str, str]]:
    """Sorted, but alertname first (template.KV.SortedPairs)."""
    return sorted(labels, key=lambda pair: (pair[0] != "alertname", pair))
