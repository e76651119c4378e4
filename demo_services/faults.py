"""
Faults that are set on purpose, for a time: the values and which of them are in force. No I/O; see fault_feed.py.

Moments are Unix milliseconds of the wall clock, since replicas and restarts must agree on when a fault ends.
"""

from __future__ import annotations

import enum
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field, model_validator

LONGEST_TTL_S = 3600  # a forgotten fault is gone within the hour
LONGEST_LATENCY_MS = 60_000.0


class FaultKind(enum.StrEnum):
    LATENCY = "latency"  # each request holds its worker for latency_ms longer
    ERRORS = "errors"  # error_ratio of the requests end with 500
    SLOW_DEPENDENCY = "slow_dependency"  # latency_ms before each call of `dependency`
    CRASH = "crash"  # the process exits, and so do those that take its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    kind: FaultKind
    expires_at_unix_ms: int  # exclusive
    latency_ms: float = 0.0
    error_ratio: float = 0.0  # 0..1
    dependency: str = ""  # a service's name, or "database"

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Fault:
        """
        Raises:
            ValueError: not a fault as `to_json` writes it.
        """
        try:
            fields = json.loads(text)
            return cls(**(fields | {"kind": FaultKind(fields["kind"])}))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a fault: {text[:200]!r}") from error


class FaultRequest(BaseModel):
    """The body of `PUT /admin/faults`: the fields that the kind needs, and a time to live."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    ttl_s: float = Field(ge=1, le=LONGEST_TTL_S, allow_inf_nan=False)
    latency_ms: float | None = Field(None, gt=0, le=LONGEST_LATENCY_MS, allow_inf_nan=False)
    error_ratio: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    dependency: str | None = Field(None, pattern=r"^[a-z][a-z0-9-]{0,62}$")

    @model_validator(mode="after")
    def has_what_its_kind_needs(self) -> FaultRequest:
        needed = {
            FaultKind.LATENCY: ("latency_ms",),
            FaultKind.ERRORS: ("error_ratio",),
            FaultKind.SLOW_DEPENDENCY: ("latency_ms", "dependency"),
            FaultKind.CRASH: (),
        }[self.kind]
        for name in ("latency_ms", "error_ratio", "dependency"):
            given = getattr(self, name) is not None
            if given != (name in needed):
                raise ValueError(f"a fault of kind {self.kind} {'takes no' if given else 'needs'} {name}")
        return self

    def to_fault(self, now_unix_ms: int) -> Fault:
        return Fault(
            kind=self.kind,
            expires_at_unix_ms=now_unix_ms + round(self.ttl_s * 1000),
            latency_ms=self.latency_ms or 0.0,
            error_ratio=self.error_ratio or 0.0,
            dependency=self.dependency or "",
        )


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class FaultBoard(Collector):
    """What this replica knows of its service's faults: at most one of each kind, the newest."""

    def __init__(
        self, *, registry: CollectorRegistry | None = None, clock_ms: Callable[[], int] = wall_clock_ms
    ) -> None:
        self._faults: dict[FaultKind, Fault] = {}
        self._clock_ms = clock_ms
        if registry is not None:
            registry.register(self)

    def put(self, fault: Fault) -> None:
        self._faults[fault.kind] = fault

    def remove(self, kind: FaultKind) -> None:
        self._faults.pop(kind, None)

    def replace(self, faults: list[Fault]) -> None:
        self._faults = {fault.kind: fault for fault in faults}

    def active(self) -> list[Fault]:
        """The faults in force now, by kind."""
        return [fault for kind in FaultKind if (fault := self.in_force(kind))]

    def in_force(self, kind: FaultKind) -> Fault | None:
        fault = self._faults.get(kind)
        if fault is None:
            return None
        if fault.expires_at_unix_ms <= self._clock_ms():
            del self._faults[kind]
            return None
        return fault

    def added_latency_s(self) -> float:
        fault = self.in_force(FaultKind.LATENCY)
        return fault.latency_ms / 1000 if fault else 0.0

    def error_ratio(self) -> float:
        fault = self.in_force(FaultKind.ERRORS)
        return fault.error_ratio if fault else 0.0

    def delay_before_s(self, dependency: str) -> float:
        """Seconds to wait before a call of `dependency`."""
        fault = self.in_force(FaultKind.SLOW_DEPENDENCY)
        return fault.latency_ms / 1000 if fault and fault.dependency == dependency else 0.0

    def collect(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily("fault_active", "1 while a fault of this kind is in force", labels=["kind"])
        for kind in FaultKind:
            gauge.add_metric([kind.value], 1.0 if self.in_force(kind) else 0.0)
        yield gauge
