"""A storm of alerts, as Alertmanager would tell the worker of them: its webhook, version 4, a group at a time."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any

from remediation.drills.undo import Undo

GROUP = 50  # alerts in one notification
AT_ONCE = 4  # notifications under way at a time, as of so many Alertmanagers


def notifications(storm: Undo, status: str) -> Iterator[dict[str, Any]]:
    """`status` is firing or resolved; the alerts of both are the same ones."""
    for first in range(0, storm.count, GROUP):
        numbers = range(first, min(first + GROUP, storm.count))
        yield {
            "version": "4",
            "groupKey": f"drill:{storm.service}:{first}",
            "receiver": "drill",
            "status": status,
            "alerts": [_alert(storm, status, number) for number in numbers],
        }


def _alert(storm: Undo, status: str, number: int) -> dict[str, Any]:
    labels = {"alertname": storm.alertname, "service": storm.service, **storm.labels}
    labels |= {"drill": "storm", "number": str(number)}
    starts = dt.datetime.fromtimestamp(storm.starts_at_unix_ms / 1000, dt.UTC).isoformat()
    return {
        "status": status,
        "labels": labels,
        "annotations": {"summary": f"alert {number} of a drill"},
        "startsAt": starts,
        "endsAt": dt.datetime.now(dt.UTC).isoformat() if status == "resolved" else "0001-01-01T00:00:00Z",
        "fingerprint": hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16],
    }
