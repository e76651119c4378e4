"""What happened, and when, counted from the injection."""

from __future__ import annotations

from typing import NamedTuple

# A drill of an hour with an event a second fits; beyond that something flaps, and the first entries tell it.
MAX_ENTRIES = 4000


class Entry(NamedTuple):
    at: float  # seconds of the engine's clock
    kind: str  # drill, inject, alert, replicas, remediation, action, met, failed, trouble, verdict
    event: str
    detail: str


class Timeline:
    def __init__(self) -> None:
        self.zero: float | None = None  # the injection
        self.entries: list[Entry] = []

    def add(self, at: float, kind: str, event: str, detail: str = "") -> None:
        if len(self.entries) < MAX_ENTRIES:
            self.entries.append(Entry(at, kind, event, detail))
