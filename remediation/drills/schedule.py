"""Which disturbances are due when: the first ones, those that wait for an event, loads that alternate."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from remediation.drills.disturbances import (
    Burn,
    Disturbance,
    Freeze,
    Kill,
    Send,
    SetFault,
    SetFlag,
    SetLoad,
    SetVersion,
    Storm,
    Tighten,
)
from remediation.drills.injection import Injection, Load, Victim


class Schedule:
    """
    Pure: times are seconds of the engine's clock, events and capacities come as arguments.

    Args:
        ttl_s: Of an injection that names none.
    """

    def __init__(self, injections: tuple[Injection, ...], ttl_s: float) -> None:
        self._injections = injections
        self._ttl_s = ttl_s
        self._waiting = [each for each in injections if each.after_events]
        self._capacity: Mapping[str, float] = {}
        self._began: dict[int, float] = {}  # by the place in `inject`, of loads that alternate
        self._turns: dict[int, int] = {}

    def start(self, capacity: Mapping[str, float]) -> list[Disturbance]:
        """What comes first. `capacity` in requests a second, by service, sizes all loads, those that wait too."""
        self._capacity = capacity
        return [self.disturbance(each, capacity) for each in self._injections if not each.after_events]

    def highest_rate(self) -> float:
        """Arrivals a second of the largest load, whenever it comes; 0 without one. After `start`."""
        return max((self._rate(each.load, self._capacity) for each in self._injections if each.load), default=0.0)

    def due(self, events: Container[str], now: float) -> list[Disturbance]:
        """Those whose events have all come, once; and the loads whose turn it is to change."""
        due = [each for each in self._waiting if all(event in events for event in each.after_events)]
        self._waiting = [each for each in self._waiting if each not in due]
        return [self.disturbance(each, self._capacity) for each in due] + list(self._turned(now))

    def _turned(self, now: float) -> Iterator[Disturbance]:
        for index, injection in enumerate(self._injections):
            load = injection.load
            if load is None or load.alternate is None or injection in self._waiting:
                continue
            began = self._began.setdefault(index, now)
            turns = int((now - began) / load.alternate.every)
            if turns != self._turns.setdefault(index, 0):
                self._turns[index] = turns
                rate = load.alternate.rate if turns % 2 else self._rate(load, self._capacity)
                yield SetLoad(load.journey, rate, injection.ttl or self._ttl_s)

    def disturbance(self, injection: Injection, capacity: Mapping[str, float]) -> Disturbance:
        """What one injection is at that capacity."""
        ttl_s = injection.ttl or self._ttl_s
        if injection.load:
            return SetLoad(injection.load.journey, self._rate(injection.load, capacity), ttl_s)
        if injection.fault:
            return SetFault(injection.fault, ttl_s)
        if injection.freeze:
            return Freeze(injection.freeze, ttl_s)
        if injection.kill:
            return Kill(injection.kill)
        if injection.block:
            return Tighten(injection.block, "connections", ttl_s)
        if injection.exhaust and injection.exhaust.cpu:
            return Burn(injection.exhaust.cpu, ttl_s)
        if injection.exhaust:
            victim = Victim(service=injection.exhaust.service, process=injection.exhaust.process)
            return Tighten(victim, "memory", ttl_s)
        if injection.deploy:
            return SetVersion(injection.deploy, ttl_s)
        if injection.flag:
            return SetFlag(injection.flag, ttl_s)
        if injection.alerts:
            return Storm(injection.alerts, ttl_s)
        assert injection.message is not None  # noqa: S101  (Injection._one_kind)
        return Send(injection.message)

    @staticmethod
    def _rate(load: Load, capacity: Mapping[str, float]) -> float:
        if load.rate is not None:
            return load.rate
        return round((load.times_capacity or 0) * capacity.get(load.service or "", 0.0), 3)
