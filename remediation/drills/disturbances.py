"""What the edge is to carry out for an injection: values, sized and with a time to live."""

from __future__ import annotations

from dataclasses import dataclass

from remediation.drills.exhaustion import Resource
from remediation.drills.injection import Alerts, Deploy, Fault, Flag, Message, Victim


@dataclass(frozen=True, slots=True)
class SetLoad:
    journey: str
    rate: float  # arrivals a second
    ttl_s: float

    @property
    def words(self) -> str:
        return f"load: {self.journey} at {self.rate:g}/s, for {self.ttl_s:g}s at most"


@dataclass(frozen=True, slots=True)
class SetFault:
    fault: Fault
    ttl_s: float

    @property
    def words(self) -> str:
        fields = self.fault.model_dump(exclude_none=True, exclude={"service", "kind"})
        facts = ", ".join(f"{name} {value}" for name, value in fields.items()) or "as it is"
        return f"fault: {self.fault.kind} on {self.fault.service} ({facts}), for {self.ttl_s:g}s at most"


@dataclass(frozen=True, slots=True)
class Kill:
    victim: Victim
    ttl_s: float = 0.0  # over at once

    @property
    def words(self) -> str:
        return f"kill: {self.victim.words}"


@dataclass(frozen=True, slots=True)
class Freeze:
    victim: Victim
    ttl_s: float

    @property
    def words(self) -> str:
        return f"freeze: {self.victim.words}, for {self.ttl_s:g}s at most"


@dataclass(frozen=True, slots=True)
class Tighten:
    """Leave a process no more of a resource than it uses."""

    victim: Victim
    what: Resource
    ttl_s: float

    @property
    def words(self) -> str:
        told = {"memory": "no more memory for", "connections": "no new connections to"}[self.what]
        return f"exhaust: {told} {self.victim.words}, for {self.ttl_s:g}s at most"


@dataclass(frozen=True, slots=True)
class Burn:
    cores: int
    ttl_s: float

    @property
    def words(self) -> str:
        return f"exhaust: {self.cores} processors of this machine are kept busy, for {self.ttl_s:g}s at most"


@dataclass(frozen=True, slots=True)
class SetVersion:
    deploy: Deploy
    ttl_s: float

    @property
    def words(self) -> str:
        return f"deploy: {self.deploy.version} of {self.deploy.service}, for {self.ttl_s:g}s at most"


@dataclass(frozen=True, slots=True)
class SetFlag:
    flag: Flag
    ttl_s: float

    @property
    def words(self) -> str:
        return f"flag: {self.flag.flag} is set to {self.flag.value}, for {self.ttl_s:g}s at most"


@dataclass(frozen=True, slots=True)
class Send:
    message: Message
    ttl_s: float = 0.0  # what was sent stays sent

    @property
    def words(self) -> str:
        times = f", {self.message.count} times" if self.message.count > 1 else ""
        return f"message: {len(self.message.body)} characters to {self.message.subject}{times}"


@dataclass(frozen=True, slots=True)
class Storm:
    alerts: Alerts
    ttl_s: float  # the worker takes an alert whose expression is quiet for over, by itself

    @property
    def words(self) -> str:
        return f"alerts: {self.alerts.count} of {self.alerts.alertname} for {self.alerts.service}"


Disturbance = SetLoad | SetFault | Kill | Freeze | Tighten | Burn | SetVersion | SetFlag | Send | Storm
