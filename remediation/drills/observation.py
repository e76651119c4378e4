"""What the edge saw of the stack in one poll. Values only; `None` means: could not be read this time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# States from which a remediation moves no further (docs/architecture.md, Worker).
FINAL_STATES = frozenset({"refused", "resolved", "escalated", "failed"})


@dataclass(frozen=True, slots=True)
class Alert:
    labels: Mapping[str, str]  # alertname among them
    state: str  # pending or firing
    value: float | None = None

    def matches(self, wanted: Mapping[str, str]) -> bool:
        return all(self.labels.get(name) == value for name, value in wanted.items())


@dataclass(frozen=True, slots=True)
class Action:
    action: str
    target: str
    before: str  # `from` and `to` of the record, as text: what they count depends on the action
    after: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Remediation:
    id: str
    service: str
    alertname: str
    state: str
    started_at_unix_ms: int
    actions: tuple[Action, ...] = ()
    evidence: tuple[str, ...] = ()  # one `name = value` each
    outcome: str = ""

    @property
    def open(self) -> bool:
        return self.state not in FINAL_STATES


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    desired: int
    ready: int
    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Observation:
    alerts: tuple[Alert, ...] | None = None
    remediations: tuple[Remediation, ...] | None = None
    services: Mapping[str, Service] | None = None
    pids: Mapping[str, int] | None = None  # of what the supervisor keeps, by name; replicas too
    # PromQL text → the values of the samples it gave; () for an empty result. A query that was not answered is absent.
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    # PromQL text → why it was refused for good, e.g. a syntax error.
    refused: Mapping[str, str] = field(default_factory=dict)
    # What could not be read, e.g. "Prometheus API http://127.0.0.1:9090: connection refused".
    troubles: tuple[str, ...] = ()
