"""
Whether what really happened overran a limit. It reads the history that a world of the test has kept, and the numbers of
the policy; nothing of the guards, nothing of the store.

What is judged are effects, changes that reached the scaler; each counts from when it was intended, by the clock on the
wall. Windows begin after their first moment and end with their last.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, TypeAlias

SECOND_MS, MINUTE_MS, HOUR_MS = 1000, 60_000, 3_600_000
SERVICES = ("cart", "catalog", "checkout", "inventory", "payment", "recommendation")
MAXIMUM = 6  # of the scaler, for each service
FREEZES_MS = [(at_ms, at_ms + HOUR_MS // 2) for at_ms in range(11 * HOUR_MS, 60 * HOUR_MS, 2 * HOUR_MS)]
STALE_MS = MINUTE_MS  # what autoscaling has decided is not done later than so


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of a policy file. As they stand here they bind nobody, save the scaler's maximum."""

    cooldown_ms: int = 0
    target_rate: int = 1000
    policy_rate: int = 1000
    rate: int = 1000
    concurrent: int = 1000
    radius: float = 1.0  # share of the services
    radius_ms: int = 10 * MINUTE_MS
    repairs: int = 1000
    repairs_ms: int = 2 * HOUR_MS
    hold_off_ms: int = 0  # after an escalation
    undo_ms: int = 0
    maximum: int = MAXIMUM
    step: int = 10
    scaling_rate: int = 1000
    scaling_hold_off_ms: int = 0
    freezes: bool = False

    @classmethod
    def tight(cls, *names: str) -> Self:
        """So near that a few actions reach them."""
        return replace(cls(), **{name: TIGHT[name] for name in names})

    @property
    def allowed_services(self) -> int:
        return max(1, math.floor(len(SERVICES) * self.radius))


TIGHT = {
    "cooldown_ms": 30 * SECOND_MS,
    "target_rate": 2,
    "policy_rate": 3,
    "rate": 4,
    "concurrent": 2,
    "radius": 0.34,
    "repairs": 2,
    "hold_off_ms": 10 * MINUTE_MS,
    "undo_ms": 5 * MINUTE_MS,
    "maximum": 4,
    "step": 1,
    "scaling_rate": 2,
    "scaling_hold_off_ms": 10 * MINUTE_MS,
    "freezes": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """To change a service's replicas. A worker that dies in it is followed by one that takes the same attempt up."""

    number: int
    service: str
    kind: str  # out, undo, autoscale_out, autoscale_in
    before: int
    to: int
    intended_ms: int
    run: str = ""  # empty for autoscaling
    policy: str = ""
    first: bool = False  # of its run
    planned_ms: int = 0
    wanted: float | None = None  # replicas that the load wanted when it was planned
    unknown: tuple[str, ...] = ()  # what nobody could know when it was planned or let in

    @property
    def repairs(self) -> bool:
        return self.kind == "out"

    @property
    def autoscales(self) -> bool:
        return self.kind.startswith("autoscale")


class Tried(NamedTuple):
    attempt: Attempt


class TakenUp(NamedTuple):
    """By the worker after the one that died in it."""

    number: int
    unknown: tuple[str, ...]


class Changed(NamedTuple):
    """An effect: somebody made this of the service's replicas, on behalf of an attempt."""

    number: int
    was: int
    to: int
    at_ms: int


class Began(NamedTuple):
    run: str
    service: str


class Ended(NamedTuple):
    run: str
    service: str
    state: str
    at_ms: int


class Turned(NamedTuple):
    """The kill switch."""

    on: bool


Event: TypeAlias = "Tried | TakenUp | Changed | Began | Ended | Turned"


class Overrun(NamedTuple):
    guard: str
    told: str


def overruns(history: Sequence[Event], rules: Rules) -> list[Overrun]:
    """Everything that must not have happened; nothing, if the guards have held."""
    attempts = {event.attempt.number: event.attempt for event in history if isinstance(event, Tried)}
    made = {event.number for event in history if isinstance(event, Changed)}
    effects = [attempt for number, attempt in attempts.items() if number in made]
    ended = [event for event in history if isinstance(event, Ended)]
    found = [
        *_of_each_change(history, attempts, rules),
        *_of_runs(history, made, rules),
        *_rates(effects, rules),
        *_radius(effects, rules),
    ]
    for effect in effects:
        found += _unknown(effect)
        if effect.repairs:
            found += _bounds(effect, effects, rules)
        if effect.first or effect.kind == "autoscale_in":
            found += _former_runs(effect, effects, ended, rules)
    return found


def _of_each_change(history: Sequence[Event], attempts: dict[int, Attempt], rules: Rules) -> Iterator[Overrun]:
    """What must hold at the moment at which the scaler is told."""
    stopped, active = False, dict[str, str]()
    times, blind = Counter[int](), dict[int, tuple[str, ...]]()
    for event in history:
        match event:
            case Turned(on):
                stopped = on
            case Began(run, service):
                if service in active:
                    yield Overrun("one_run", f"{run} and {active[service]} are at work on {service}")
                active[service] = run
            case Ended(_, service, _, _):
                active.pop(service, None)
            case TakenUp(number, unknown):
                blind[number] = unknown
            case Changed(number, was, to, at_ms):
                attempt, times[number] = attempts[number], times[number] + 1
                if stopped:
                    yield Overrun("kill_switch", f"{attempt} while it is on")
                frozen = rules.freezes and any(start <= at_ms < end for start, end in FREEZES_MS)
                if frozen and attempt.kind != "undo":
                    yield Overrun("freeze", f"{attempt} in it")
                if (was, to) != (attempt.before, attempt.to):
                    yield Overrun("conflict", f"{attempt} made {to} of {was}")
                if times[number] > 1:
                    yield Overrun("once", f"{attempt} came {times[number]} times")
                if attempt.run != active.get(attempt.service, ""):
                    yield Overrun("one_run", f"{attempt} while {active.get(attempt.service)} is at work")
                if attempt.autoscales and at_ms - attempt.intended_ms > STALE_MS:
                    yield Overrun("stale", f"{attempt} was done {at_ms - attempt.intended_ms} ms later")
                if attempt.repairs and blind.get(number):
                    yield Overrun("unknown", f"{attempt} taken up without {blind[number]}")


def _of_runs(history: Sequence[Event], made: set[int], rules: Rules) -> Iterator[Overrun]:
    acting = set[str]()
    for event in history:
        match event:
            case Tried(attempt) if attempt.repairs and attempt.number in made:
                acting.add(attempt.run)
                if len(acting) > rules.concurrent:
                    yield Overrun("concurrency", f"{attempt}: {sorted(acting)} have acted and are not over")
            case Ended(run, _, _, _):
                acting.discard(run)


def _rates(effects: Sequence[Attempt], rules: Rules) -> Iterator[Overrun]:
    counted: list[tuple[str, int, Callable[[Attempt, Attempt], bool]]] = [
        ("rate", rules.rate, lambda one, this: one.kind != "undo"),
        ("policy_rate", rules.policy_rate, lambda one, this: one.repairs and one.policy == this.policy),
        ("target_rate", rules.target_rate, lambda one, this: one.repairs and one.service == this.service),
        ("scaling_rate", rules.scaling_rate, lambda one, this: one.autoscales and one.service == this.service),
    ]
    for name, limit, counts in counted:
        for this in effects:
            if counts(this, this):
                count = sum(counts(one, this) for one in _before(effects, this.intended_ms, HOUR_MS))
                if count > limit:
                    yield Overrun(name, f"{this} is number {count} in an hour, limit {limit}")


def _before(effects: Sequence[Attempt], end_ms: int, window_ms: int) -> Iterator[Attempt]:
    return (one for one in effects if end_ms - window_ms < one.intended_ms <= end_ms)


def _radius(effects: Sequence[Attempt], rules: Rules) -> Iterator[Overrun]:
    for place, this in enumerate(effects):
        if this.repairs:
            touched = {one.service for one in _before(effects, this.intended_ms, rules.radius_ms) if one.repairs}
        elif this.kind == "autoscale_in":
            former = [one for one in effects[: place + 1] if one.intended_ms > this.intended_ms - rules.radius_ms]
            touched = {one.service for one in former if one.repairs or one.kind == "autoscale_in"}
        else:
            continue
        if len(touched) > rules.allowed_services:
            yield Overrun("blast_radius", f"{this}: {sorted(touched)} within {rules.radius_ms} ms")


def _unknown(effect: Attempt) -> Iterator[Overrun]:
    if effect.unknown and effect.kind != "undo":
        yield Overrun("unknown", f"{effect} without {effect.unknown}")


def _bounds(effect: Attempt, effects: Sequence[Attempt], rules: Rules) -> Iterator[Overrun]:
    if effect.to > min(rules.maximum, MAXIMUM):
        yield Overrun("maximum", f"{effect}, maximum {rules.maximum}")
    if effect.to - effect.before > rules.step:
        yield Overrun("step", f"{effect}, step {rules.step}")
    undone = [one for one in effects if one.kind == "undo" and one.service == effect.service]
    undone = [one for one in undone if one.number < effect.number and one.to < one.before]
    lately = any(effect.planned_ms - one.intended_ms < rules.undo_ms for one in undone)
    if lately and effect.to > math.ceil(effect.wanted or 0):
        yield Overrun("undone", f"{effect}: more than the load asks for, and that has just not helped")


def _former_runs(
    effect: Attempt, effects: Sequence[Attempt], ended: Sequence[Ended], rules: Rules
) -> Iterator[Overrun]:
    others = [one for one in effects if one.service == effect.service and one.run not in ("", effect.run)]
    others = [one for one in others if one.number < effect.number]
    acted = {one.run for one in others}
    hold_off_ms, at_ms = rules.hold_off_ms, effect.planned_ms
    if effect.autoscales:
        hold_off_ms, at_ms = rules.scaling_hold_off_ms, effect.intended_ms
    for one in ended:
        if one.run in acted and one.state == "escalated" and at_ms - one.at_ms < hold_off_ms:
            yield Overrun("escalation", f"{effect}: people have {one.service} since {at_ms - one.at_ms} ms")
    if effect.autoscales:
        return
    repairs = [one for one in ended if one.run in acted and one.state == "resolved"]
    if sum(one.at_ms > at_ms - rules.repairs_ms for one in repairs) >= rules.repairs:
        yield Overrun("breaker", f"{effect}: it hides a fault")
    for one in others:
        if at_ms - one.intended_ms < rules.cooldown_ms:
            yield Overrun("cooldown", f"{effect}: {at_ms - one.intended_ms} ms after {one}")
