"""One service behind one scaler, as the contract suite of scalers asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from remediation.scalers.scaler import Scaler

WITHIN_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    scaler: Scaler
    kind: str  # as REMEDIATION_SCALER has it
    name: str  # of the service: 2 of 1..6 replicas, which are ready
    unknown: str  # a name that the scaler could know and does not
    running: Callable[[], Mapping[str, str]]  # each replica as telemetry calls it, and what tells it from a later one
    absent: Callable[[], Scaler]  # one of the kind whose system does not answer
    deployed: Callable[[], str] | None = None  # which deployment is in force, where restarting is to deploy again
    knows_ages: bool = True  # a group of instances does not tell how old they are
    refills: bool = True  # what was stopped is followed by another; moto starts no tasks for a service

    @property
    def marks(self) -> set[str]:
        """None of them is left once everything has been restarted."""
        return {self.deployed()} if self.deployed else set(self.running().values())

    def settled(self, desired: int) -> bool:
        return self.scaler.get(self.name).ready == desired and (not self.refills or len(self.running()) == desired)

    def wait_settled(self, desired: int) -> None:
        self.wait(lambda: self.settled(desired), f"{self.name} has {desired} replicas")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < end_s, f"not within {WITHIN_S:g} s: {what}; {self.running()}"
            time.sleep(0.02)
