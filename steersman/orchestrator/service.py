"""The values that the orchestrator plans with: what a service should be, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """What the services file says of one service."""

    name: str  # also its path at the gateway and its `job`
    command: tuple[str, ...]
    minimum: int
    maximum: int
    desired: int  # at the start of the stack
    public: bool  # whether customers reach it, at the entry point `web`
    env: Mapping[str, str] = field(default_factory=dict)
    version: str = ""  # at the start of the stack; empty: it has no versions of its own
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # each with its environment beside `env`
    zones: tuple[str, ...] = ()  # its replicas are spread over them

    def built(self, version: str, zone: str) -> ServiceSpec:
        """As a replica of that version in that zone is started."""
        env = {**self.env, **self.versions.get(version, {})}
        return replace(self, env=env, version=version, zones=(zone,) if zone else ())


class Phase(Enum):
    """Where an instance is in its life; `state` is the coarser word that the API shows."""

    STARTING = "starting"  # not yet answered its readiness probe
    READY = "ready"  # answered, and waits to be registered
    SERVING = "serving"  # registered with the gateway
    DRAINING = "draining"  # deregistered; the gateway may still hold requests for it
    DRAINED = "drained"  # nothing new can reach it
    STOPPING = "stopping"  # told to stop
    FAILED = "failed"  # died or never became ready; waits for its replacement

    @property
    def state(self) -> str:
        return _STATES[self]


_STATES = {
    Phase.STARTING: "starting",
    Phase.READY: "starting",
    Phase.SERVING: "ready",
    Phase.DRAINING: "draining",
    Phase.DRAINED: "draining",
    Phase.STOPPING: "draining",
    Phase.FAILED: "failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    number: int  # counts up within a service, never reused in the life of a stack
    service: str
    phase: Phase
    started_s: float  # the planner's clock
    version: str = ""
    zone: str = ""
    restarts: int = 0  # how many died before it in its place
    early_deaths: int = 0  # how many of those died early, in a row
    failed_probes: int = 0  # health probes failed in a row
    restart_requested: bool = False
    retry_at_s: float = 0.0  # FAILED only: when its replacement may start

    @property
    def id(self) -> str:
        return f"{self.service}-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    spec: ServiceSpec
    desired: int
    version: str = ""  # what is started from now on
    instances: tuple[Instance, ...] = ()  # oldest first
    next_number: int = 1

    @classmethod
    def fresh(cls, spec: ServiceSpec) -> Service:
        return cls(spec=spec, desired=spec.desired, version=spec.version)

    @property
    def serving(self) -> tuple[Instance, ...]:
        return tuple(instance for instance in self.instances if instance.phase is Phase.SERVING)

    @property
    def serving_by_zone(self) -> dict[str, int]:
        return {zone: sum(instance.zone == zone for instance in self.serving) for zone in self.spec.zones}

    def find(self, instance_id: str) -> Instance | None:
        return next((instance for instance in self.instances if instance.id == instance_id), None)
