"""
What templates of notifications see: `.Status`, `.Alerts.Firing`, `.CommonLabels.SortedPairs` and so on. Pure.

Source: alertmanager/template/template.go (Data, Alert, KV, Pairs).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

from collector.alerts.notification import Notification, common, in_order, quote_meta
from collector.gotemplate.goformat import type_name
from collector.gotemplate.gotime import GoDuration, GoTime
from collector.gotemplate.values import Method, Struct
from collector.model.alert import ALERT_NAME, Alert

_MS = 1_000_000  # nanoseconds


class Pairs(list[Struct]):
    """Names and values, in order."""

    __slots__ = ()

    GO_METHODS: ClassVar[Mapping[str, Method]] = {
        "Names": lambda pairs: [pair["Name"] for pair in pairs],
        "Values": lambda pairs: [pair["Value"] for pair in pairs],
        "String": lambda pairs: str(pairs),
    }

    def __str__(self) -> str:
        return ", ".join(f"{pair['Name']}={pair['Value']}" for pair in self)


class KV(dict[str, str]):
    """Labels or annotations (KV)."""

    __slots__ = ()

    GO_METHODS: ClassVar[Mapping[str, Method]] = {
        "SortedPairs": lambda pool: pool.sorted_pairs(),
        "Remove": lambda pool, names: KV((name, value) for name, value in pool.items() if name not in names),
        "Names": lambda pool: [pair["Name"] for pair in pool.sorted_pairs()],
        "Values": lambda pool: [pair["Value"] for pair in pool.sorted_pairs()],
        "String": lambda pool: str(pool),
    }

    def sorted_pairs(self) -> Pairs:
        """By name, but alertname first."""
        ordered = sorted(self.items(), key=lambda pair: (pair[0] != ALERT_NAME, pair))
        return Pairs(Struct("template.Pair", {"Name": name, "Value": value}) for name, value in ordered)

    def __str__(self) -> str:
        return str(self.sorted_pairs())


class Alerts(list[Struct]):
    __slots__ = ()

    GO_METHODS: ClassVar[Mapping[str, Method]] = {
        "Firing": lambda alerts: [one for one in alerts if one["Status"] == "firing"],
        "Resolved": lambda alerts: [one for one in alerts if one["Status"] == "resolved"],
    }


def template_data(notification: Notification, *, max_alerts: int = 0) -> Struct:
    """
    Args:
        max_alerts: More are left out, as of a webhook; 0: all.
    """
    alerts = in_order(notification.alerts)[: max_alerts or None]
    now_ms = notification.now_ms
    return Struct(
        "*template.Data",
        {
            "Receiver": quote_meta(notification.receiver),
            "Status": "resolved" if all(one.resolved_at(now_ms) for one in alerts) else "firing",
            "Alerts": Alerts(_alert(one, now_ms) for one in alerts),
            "GroupLabels": KV(notification.group_labels),
            "CommonLabels": KV(common([one.labels for one in alerts])),
            "CommonAnnotations": KV(common([one.annotations for one in alerts])),
            "ExternalURL": notification.external_url,
        },
    )


def _alert(alert: Alert, now_ms: int) -> Struct:
    resolved = alert.resolved_at(now_ms)
    return Struct(
        "template.Alert",
        {
            "Status": "resolved" if resolved else "firing",
            "Labels": KV(alert.labels),
            "Annotations": KV(alert.annotations),
            "StartsAt": GoTime(alert.starts_at_ms * _MS),
            "EndsAt": GoTime(alert.ends_at_ms * _MS if resolved else GoTime.ZERO_NANO),
            "GeneratorURL": alert.generator_url,
            "Fingerprint": alert.fingerprint,
        },
    )


def to_json(value: object) -> str:
    """
    As Go's encoding/json writes it: fields of structs in their order, keys of maps sorted, HTML's signs escaped.

    Raises:
        ValueError: there is no such thing in JSON.
    """
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub(r"[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _plain(value: object) -> object:
    match value:
        case Struct():
            return {_json_name(value.go_type, name): _plain(item) for name, item in value.items()}
        case Mapping():
            return {name: _plain(value[name]) for name in sorted(value)}
        case GoTime():
            return value.format("2006-01-02T15:04:05.999999999Z07:00")
        case GoDuration():
            return value.nanoseconds
        case str() | int() | float() | None:
            return value
        case Iterable():
            return [_plain(item) for item in value]
    raise ValueError(f"json: unsupported type: {type_name(value)}")


def _json_name(go_type: str, field: str) -> str:
    """Alertmanager's structs have names for JSON, except for the pair."""
    return field if go_type == "template.Pair" else field[0].lower() + field[1:]
