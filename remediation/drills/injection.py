"""
What a drill may break, as YAML. One of these in each item of `inject`, beside `ttl` and `after`:

    load:    {journey, rate | service + times_capacity, alternate: {every, rate}}   arrivals of one journey a second
    fault:   {service, kind: latency|errors|slow_dependency|crash, …}               the shop's own faults
    kill:    {service | process}                                                    SIGKILL; others start it again
    freeze:  {service | process}                                                    SIGSTOP, until the end or the TTL
    block:   {service | process}                                                    it takes no new connection any more
    exhaust: {cpu: CORES} | {memory: true, service | process}                       the machine's, or one process's
    deploy:  {service, version}                                                     another version of the service
    flag:    {flag, value}                                                          a feature flag, SERVICE.NAME
    message: {subject, body, count}                                                 put on the bus (NATS), as it is
    alerts:  {service, alertname, count}                                            told to the worker, all at once

`service` names a service, of which the oldest ready replica is taken; `process` one that the supervisor keeps:
collector, worker, nats, … Only processes below the supervisor of a stack on this machine are touched. An injection with
`after` (names of expectations) waits for these; the others come first, together.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from remediation.drills.bounds import ServiceName
from remediation.drills.duration import Duration

MAX_ARRIVALS_PER_S = 500.0  # what Locust on one core of a laptop still sends as an open load
MAX_CORES = 64
MAX_ALERTS = 5000  # ten times what a fleet of that size would raise at once
MAX_MESSAGES = 1000  # a poisoned queue, not a flood: the bus keeps what nobody can handle
MAX_MESSAGE_BYTES = 64 * 1024  # a sixteenth of what nats-server takes by default

Name = Annotated[str, Field(min_length=1, max_length=80)]


INJECTION_KINDS = ("load", "fault", "kill", "freeze", "block", "exhaust", "deploy", "flag", "message", "alerts")


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Alternate(Model):
    """The load goes up and down: `every` so long it changes between its size and `rate`."""

    every: Annotated[Duration, Field(ge=1)]
    rate: Annotated[float, Field(ge=0, le=MAX_ARRIVALS_PER_S)]  # arrivals a second


class Load(Model):
    """Arrivals of one journey; a `browse` is one request to catalog."""

    journey: Literal["browse", "recommend", "cart", "buy"]
    service: ServiceName | None = None  # whose capacity `times_capacity` multiplies
    times_capacity: Annotated[float, Field(gt=0, le=20)] | None = None
    rate: Annotated[float, Field(ge=0, le=MAX_ARRIVALS_PER_S)] | None = None  # arrivals a second
    alternate: Alternate | None = None

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.times_capacity is None) == (self.rate is None):
            raise ValueError("give either times_capacity or rate")
        if (self.times_capacity is None) != (self.service is None):
            raise ValueError("service and times_capacity belong together")
        return self


class Fault(Model):
    service: ServiceName
    kind: Literal["latency", "errors", "slow_dependency", "crash"]
    latency_ms: Annotated[int, Field(gt=0, le=60_000)] | None = None
    error_ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    dependency: ServiceName | None = None

    @model_validator(mode="after")
    def _fields_of_the_kind(self) -> Self:
        needed = {
            "latency": {"latency_ms"},
            "errors": {"error_ratio"},
            "slow_dependency": {"latency_ms", "dependency"},
            "crash": set[str](),
        }[self.kind]
        given = {name for name in ("latency_ms", "error_ratio", "dependency") if getattr(self, name) is not None}
        if given != needed:
            raise ValueError(f"kind {self.kind} takes {sorted(needed) or 'no field'}, got {sorted(given) or 'none'}")
        return self


class Victim(Model):
    service: ServiceName | None = None
    process: ServiceName | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.service is None) == (self.process is None):
            raise ValueError("give either service (one of its replicas) or process")
        if self.process == "supervisor":
            raise ValueError("process supervisor: nobody would bring it back")
        return self

    @property
    def words(self) -> str:
        return f"a replica of {self.service}" if self.service else str(self.process)


class Exhaust(Model):
    cpu: Annotated[int, Field(ge=1, le=MAX_CORES)] | None = None  # processors of the machine, kept busy
    memory: Literal[True] | None = None  # of one process, which gets no more
    service: ServiceName | None = None
    process: ServiceName | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.cpu is None) == (self.memory is None):
            raise ValueError("give either cpu or memory")
        if (self.service or self.process) and self.cpu:
            raise ValueError("cpu is the machine's; service and process go with memory")
        if self.memory:
            Victim(service=self.service, process=self.process)
        return self


class Deploy(Model):
    service: ServiceName
    version: Annotated[str, Field(min_length=1, max_length=63)]


class Flag(Model):
    flag: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$", max_length=200)]
    value: StrictBool | str


class Message(Model):
    subject: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$", max_length=200)]
    body: Annotated[str, Field(max_length=MAX_MESSAGE_BYTES)]
    count: Annotated[int, Field(ge=1, le=MAX_MESSAGES)] = 1


class Alerts(Model):
    """Alerts that differ in one label, as of so many replicas; resolved at the end of the injection."""

    service: ServiceName
    alertname: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=100)]
    count: Annotated[int, Field(ge=1, le=MAX_ALERTS)]
    severity: Annotated[str, Field(max_length=100)] = "critical"  # as the rule has it, else nobody finds the rule
    team: Annotated[str, Field(max_length=100)] | None = None

    @property
    def labels(self) -> dict[str, str]:
        return {"severity": self.severity} | ({"team": self.team} if self.team else {})


class Injection(Model):
    load: Load | None = None
    fault: Fault | None = None
    kill: Victim | None = None
    freeze: Victim | None = None
    block: Victim | None = None
    exhaust: Exhaust | None = None
    deploy: Deploy | None = None
    flag: Flag | None = None
    message: Message | None = None
    alerts: Alerts | None = None
    ttl: Duration | None = None  # default: the drill's timeout and a margin
    after: Name | tuple[Name, ...] | None = None

    @property
    def after_events(self) -> tuple[str, ...]:
        return (self.after,) if isinstance(self.after, str) else self.after or ()

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in INJECTION_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(INJECTION_KINDS)}; got {', '.join(given) or 'none'}")
        if self.ttl is not None and given[0] in ("kill", "message"):
            raise ValueError(f"ttl does not go with {given[0]}, which is over at once")
        return self
