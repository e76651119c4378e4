"""A dry run: what a drill would inject, what it expects, and which of its conditions hold now. Nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass

from remediation.drills import capacity
from remediation.drills.definition import Definition
from remediation.drills.endpoints import Endpoints
from remediation.drills.engine import Engine
from remediation.drills.injection import Injection
from remediation.drills.lock import LOCK_FILE, holder
from remediation.drills.observation import Observation
from remediation.drills.reach import require_reach
from remediation.drills.stack import Stack
from remediation.drills.tracker import event_words


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    wanted: str
    got: str
    holds: bool | None  # None: could not be read


@dataclass(frozen=True, slots=True)
class Plan:
    definition: Definition
    steady: tuple[Line, ...]
    stops: tuple[Line, ...]
    injections: tuple[str, ...]
    expectations: tuple[Line, ...]  # `got` and `holds` as they are now, before anything is injected
    obstacles: tuple[str, ...]  # why it would not run now

    @property
    def would_run(self) -> bool:
        return not self.obstacles


async def make_plan(definition: Definition, endpoints: Endpoints) -> Plan:
    """
    Raises:
        DrillError: the stack does not answer, or has no way for it.
    """
    require_reach(definition, endpoints)
    running = holder(endpoints.data_dir.drills / LOCK_FILE)
    async with Stack(endpoints) as stack:
        await stack.check()
        engine = Engine(definition)
        seen = await stack.observe(engine.queries())
    return plan_of(engine, seen, running)


def plan_of(engine: Engine, seen: Observation, running: str | None = None) -> Plan:
    """`running` says which drill holds the lock."""
    definition = engine.definition
    facts = engine.facts(seen)
    steady = tuple(
        _line(each.name, each.check.wanted, each.check.judge(facts)) for each in definition.steady_state.conditions
    )
    stops = tuple(_line(each.name, each.check.wanted, each.check.judge(facts)) for each in definition.stop_conditions)
    obstacles = [f"another drill runs: {running}"] if running else []
    obstacles += list(seen.troubles) + [f"{query}: {why}" for query, why in seen.refused.items()]
    obstacles += [
        f'steady state: "{line.name}": wanted {line.wanted}, got {line.got}' for line in steady if not line.holds
    ]
    obstacles += [f'stop condition: "{line.name}" holds already: {line.got}' for line in stops if line.holds]
    return Plan(
        definition,
        steady,
        stops,
        tuple(_injection(each, engine, seen) for each in definition.inject),
        tuple(Line(t.name, t.wanted, f"after {event_words(t.after)}", None) for t in engine.trackers),
        tuple(obstacles),
    )


def _line(name: str, wanted: str, judgement: tuple[bool | None, str, float | None]) -> Line:
    return Line(name, wanted, judgement[1], judgement[0])


def _injection(injection: Injection, engine: Engine, seen: Observation) -> str:
    load = injection.load
    if load and load.service and not capacity.of(load.service, seen):
        words = f"load: {load.journey} at {load.times_capacity:g} times the capacity of {load.service}, unknown now"
    else:
        words = engine.disturbance(injection, seen).words
    if load and load.alternate:
        words += f", every {load.alternate.every:g}s in turn with {load.alternate.rate:g}/s"
    return words + (f"; after {event_words(injection.after_events)}" if injection.after_events else "")
