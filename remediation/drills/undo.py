"""What ends an injection, as a value that outlives the process: a drill that was killed is undone by the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """One of: rates to set again, a fault to end, a process to let go on or give back to, a version or flag to set."""

    rates: Mapping[str, float] = field(default_factory=dict)
    service: str = ""
    fault_kind: str = ""
    pid: int = 0
    create_time: float = 0.0  # with the pid, names the process for good
    name: str = ""  # of the process, or the flag
    resource: str = ""  # that a process was left no more of
    limit: int = 0  # of it, before
    version: str = ""  # that was in force
    value: Any = None  # of the flag, before; None: it was not set
    alertname: str = ""  # of what the worker was told
    count: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    starts_at_unix_ms: int = 0

    @classmethod
    def load(cls, rates: Mapping[str, float]) -> Undo:
        return cls(rates=dict(rates))

    @classmethod
    def fault(cls, service: str, kind: str) -> Undo:
        return cls(service=service, fault_kind=kind)

    @classmethod
    def frozen(cls, name: str, pid: int, create_time: float) -> Undo:
        return cls(name=name, pid=pid, create_time=create_time)

    @property
    def words(self) -> str:
        if self.alertname:
            return f"alerts: {self.count} of {self.alertname} for {self.service}"
        if self.resource:
            return f"exhausted: {self.resource} of {self.name}"
        if self.version:
            return f"deployed: another version of {self.service} than {self.version}"
        return str(self.rates or self.fault_kind or (f"frozen: {self.name}" if self.pid else f"flag: {self.name}"))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Undo:
        """
        Raises:
            KeyError, TypeError, ValueError, AttributeError: not one.
        """
        return cls(
            rates={str(journey): float(rate) for journey, rate in value["rates"].items()},
            service=str(value["service"]),
            fault_kind=str(value["fault_kind"]),
            pid=int(value.get("pid", 0)),
            create_time=float(value.get("create_time", 0.0)),
            name=str(value.get("name", "")),
            resource=str(value.get("resource", "")),
            limit=int(value.get("limit", 0)),
            version=str(value.get("version", "")),
            value=value.get("value"),
            alertname=str(value.get("alertname", "")),
            count=int(value.get("count", 0)),
            labels={str(name): str(label) for name, label in value.get("labels", {}).items()},
            starts_at_unix_ms=int(value.get("starts_at_unix_ms", 0)),
        )
