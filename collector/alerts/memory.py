"""What the dispatcher must not forget: the alerts it took, and what each receiver was told. Kept in one JSON file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collector.alerts.notification import Notified
from collector.model.alert import Alert
from collector.model.series import Labels, labels_of

logger = logging.getLogger(__name__)

FILE_VERSION = 1
LogKey = tuple[str, str]  # group key, integration (receiver/webhook/0)


@dataclass(slots=True)
class DispatcherMemory:
    alerts: dict[Labels, Alert] = field(default_factory=dict)
    notified: dict[LogKey, Notified] = field(default_factory=dict)
    saved_at_ms: int = 0  # when it was last written: an alert that had not ended then was firing

    def encode(self, now_ms: int) -> bytes:
        return json.dumps(
            {
                "version": FILE_VERSION,
                "saved_at_ms": now_ms,
                "alerts": [
                    {
                        "labels": dict(alert.labels),
                        "annotations": dict(alert.annotations),
                        "starts_at_ms": alert.starts_at_ms,
                        "ends_at_ms": alert.ends_at_ms,
                        "generator_url": alert.generator_url,
                    }
                    for alert in self.alerts.values()
                ],
                "notified": [
                    {
                        "group_key": group_key,
                        "integration": integration,
                        "at_ms": entry.at_ms,
                        "firing": dict(entry.firing),
                        "resolved": sorted(entry.resolved),
                    }
                    for (group_key, integration), entry in self.notified.items()
                ],
            }
        ).encode()

    @classmethod
    def decode(cls, content: bytes) -> DispatcherMemory:
        """
        Raises:
            ValueError, KeyError, TypeError, AttributeError: not what `encode` writes.
        """
        document = json.loads(content)
        if document["version"] != FILE_VERSION:
            raise ValueError(f"version {document['version']} is not {FILE_VERSION}")
        memory = cls(saved_at_ms=int(document["saved_at_ms"]))
        for item in document["alerts"]:
            alert = _alert(item)
            memory.alerts[alert.labels] = alert
        for item in document["notified"]:
            memory.notified[str(item["group_key"]), str(item["integration"])] = _notified(item)
        return memory


def _pairs(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not a mapping")
    return {str(name): str(text) for name, text in value.items()}


def _alert(item: Mapping[str, object]) -> Alert:
    return Alert(
        labels_of(_pairs(item["labels"])),
        tuple(_pairs(item["annotations"]).items()),
        int(str(item["starts_at_ms"])),
        int(str(item["ends_at_ms"])),
        str(item["generator_url"]),
    )


def _notified(item: Mapping[str, object]) -> Notified:
    resolved = item["resolved"]
    if not isinstance(resolved, list):
        raise TypeError(f"{resolved!r} is not a list")
    firing = {name: int(at_ms) for name, at_ms in _pairs(item["firing"]).items()}
    return Notified(int(str(item["at_ms"])), firing, frozenset(map(str, resolved)))


def read_memory(path: Path) -> DispatcherMemory:
    """What the file holds; an unreadable one is logged, set aside as `NAME.bad` and counts as empty."""
    try:
        return DispatcherMemory.decode(path.read_bytes())
    except FileNotFoundError:
        return DispatcherMemory()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.error("the dispatcher's state file %s is left aside: %r", path, error)
        if path.is_file():
            path.replace(path.with_name(path.name + ".bad"))
        return DispatcherMemory()
