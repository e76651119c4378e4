"""
A small world for the guards: plans and actions are the workflow's own, on a real store; scaler, telemetry and clock are
these, and may fail. What really happened is written into `World.history`, which `guard_oracle` judges.

Every method of `World` without an underscore is a move. What makes no sense at the moment does nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime as dt
import functools
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import sqlalchemy as sa
from guard_oracle import (
    FREEZES_MS,
    HOUR_MS,
    MAXIMUM,
    SERVICES,
    Attempt,
    Began,
    Changed,
    Ended,
    Event,
    Overrun,
    Rules,
    TakenUp,
    Tried,
    Turned,
    overruns,
)

from remediation.annotations import Annotator
from remediation.errors import TemporaryScalerError, TemporaryTelemetryError
from remediation.metrics import Metrics
from remediation.policy.autoscaler import Autoscaler
from remediation.policy.duration import format_duration
from remediation.policy.limits import Limits
from remediation.policy.policy import Policy
from remediation.prometheus import AlertCondition, Sample
from remediation.scalers import change
from remediation.scalers.scaler import Replicas
from remediation.scaling import execution
from remediation.scaling.controller import ScalingDecision
from remediation.scaling.execution import Execution
from remediation.store.database import Database
from remediation.store.record import Firing, Intake, KillSwitch, NewRun, State
from remediation.store.scalings import Scalings
from remediation.store.store import Store
from remediation.workflow import gate, journal, planning, verification
from remediation.workflow.acting import Acting, Deed
from remediation.workflow.gate import Gate
from remediation.workflow.journal import Journal
from remediation.workflow.planning import Planning
from remediation.workflow.scale import Scaling
from remediation.workflow.verification import Verification

# Each step commits, and what is proved here is not that the disk keeps it.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
FIRST_REPLICAS = 2


class WorkerDiedError(BaseException):
    """Nothing that runs in the worker catches it."""


@dataclass
class Clock:
    """Stands for the module `time`."""

    now_ms: int = 10 * HOUR_MS

    def time(self) -> float:
        return self.now_ms / 1000

    def time_ns(self) -> int:
        return self.now_ms * 1_000_000

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now_ms += math.ceil(seconds * 1000)


@dataclass
class Replicated:
    """A scaler, and a worker that may die around its request."""

    clock: Clock
    history: list[Event]
    desired: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SERVICES, FIRST_REPLICAS))
    behind: dict[str, int] = field(default_factory=dict)  # service → the attempt that is carried out
    die: str = ""  # before, after
    mute: bool = False  # it does not tell which services there are

    def services(self) -> list[str]:
        if self.mute:
            raise TemporaryScalerError("it does not answer")
        return sorted(self.desired)

    def get(self, service: str) -> Replicas:
        desired = self.desired[service]
        return Replicas(service=service, desired=desired, ready=desired, minimum=1, maximum=MAXIMUM)

    def set_desired(self, service: str, desired: int) -> Replicas:
        die, self.die = self.die, ""
        if die == "before":
            raise WorkerDiedError
        self.history.append(Changed(self.behind[service], self.desired[service], desired, self.clock.now_ms))
        self.desired[service] = desired
        if die == "after":
            raise WorkerDiedError
        return self.get(service)


@dataclass(frozen=True)
class Telemetry:
    """Prometheus, as far as a case asks it. None: no sample."""

    fresh: float | None = 1.0  # the policy's `telemetry`
    wanted: float | None = 3.0
    away: bool = False
    rule: bool = True  # whether anybody could tell whether it helped

    def query(self, promql: str, at_s: float | None = None) -> list[Sample]:
        if self.away:
            raise TemporaryTelemetryError("it does not answer")
        name, _, service = promql.partition('{job="')
        value = {"telemetry": self.fresh, "wanted": self.wanted, "slow": 1.0}[name]
        labels = {"service": service.rstrip('"}')} if service else {}
        return [] if value is None else [Sample(labels, value)]

    def conditions(self, alertname: str) -> list[AlertCondition]:
        if self.away:
            raise TemporaryTelemetryError("it does not answer")
        return [AlertCondition("slow", {})] if self.rule else []

    @property
    def unknown_at_the_door(self) -> tuple[str, ...]:
        fresh = self.fresh is not None and not math.isnan(self.fresh)
        return () if fresh and not self.away else ("telemetry",)

    @property
    def unknown(self) -> tuple[str, ...]:
        number = self.wanted is not None and math.isfinite(self.wanted) and self.wanted >= 0
        missing = [name for name, there in (("rule", self.rule), ("number", number)) if not there]
        return (*self.unknown_at_the_door, *missing)


WELL = Telemetry()


def wants(replicas: float | None) -> Telemetry:
    return Telemetry(wanted=replicas)


class Planned(NamedTuple):
    plan: Mapping[str, Any]
    seen: Telemetry
    first: bool
    at_ms: int


@dataclass
class OwnRun:
    """An alert's run that is not over."""

    id: str
    policy: str
    labelled: bool
    plans: int = 0
    done: list[Attempt] = field(default_factory=list)  # what was let in, its undoing too
    undone: bool = False


class World:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.history: list[Event] = []
        self.refusals: list[str] = []  # why something was not done, "guard: reason"
        self.clock = Clock()
        self.scaler = Replicated(self.clock, self.history)
        self._telemetry = WELL
        self._store = _empty_store()
        self._limits, self._policies, self._autoscaler = _policy_file(rules)
        self._runs: dict[str, OwnRun] = {}  # by service
        self._plans: dict[str, Planned] = {}
        self._interrupted: dict[str, Attempt] = {}
        self._pending: dict[str, Attempt] = {}  # by service, of autoscaling
        self._count = 0

    def close(self) -> None:
        self._store.close()

    @property
    def store(self) -> Store:
        return self._store

    @property
    def overruns(self) -> list[Overrun]:
        return overruns(self.history, self.rules)

    def go(self, moves: Sequence[Sequence[Any]]) -> None:
        """Args: moves: Each the name of a method and its arguments."""
        for name, *arguments in moves:
            getattr(self, name)(*arguments)

    # Alerts, and what their runs do

    def alert(self, service: str, labelled: bool = True) -> None:
        """One fires, and begins a run unless one is at work."""
        policy = self._policies[SERVICES.index(service) // 3]
        number, labels = self._number(), {"alertname": "Slow"} | ({"service": service} if labelled else {})
        new = NewRun(
            id=f"run-{number}",
            service=service,
            alertname="Slow",
            fingerprint=f"f{number}",
            starts_at_unix_ms=self.clock.now_ms,
            policy=policy.name,
            policy_json=policy.model_dump_json(),
            alert_json=json.dumps({"labels": labels, "annotations": {}}),
            at_unix_ms=self.clock.now_ms,
        )
        (outcome,) = self._store.take([Firing(new)])
        if outcome.what is Intake.STARTED:
            self.history.append(Began(new.id, service))
            self._runs[service] = OwnRun(new.id, policy.name, labelled)

    def plan(self, service: str, seen: Telemetry = WELL, mute: bool = False) -> None:
        """Decide, with what telemetry says now; what is refused at first ends the run."""
        if service not in self._runs:
            self.alert(service)
        run = self._runs[service]
        if service in self._interrupted:
            return
        run.plans += 1
        with self._seeing(seen, mute=mute):
            plan = self._planning().plan(run.id, f"plan:{run.plans}", 0, again=bool(run.done))
        if plan["verdict"] == "act":
            self._plans[service] = Planned(plan, seen, not run.done, self.clock.now_ms)
        else:
            self.refusals.append(plan["reason"])
            self._plans.pop(service, None)
            if not run.done:
                self.end(service, State(plan["verdict"]))

    def carry_out(self, service: str, seen: Telemetry = WELL, mute: bool = False, die: str = "") -> None:
        """Do what was planned, though telemetry or the scaler may be away by now; the worker may die around it."""
        if service not in self._plans:
            return
        planned = self._plans.pop(service)
        unknown = planned.seen.unknown + seen.unknown_at_the_door + (("services",) if mute else ())
        if not self._runs[service].labelled:
            unknown += ("label",)
        attempt = self._attempt(service, "out", planned.plan["before"], planned.plan["to"], unknown)
        attempt = replace(attempt, planned_ms=planned.at_ms, first=planned.first, wanted=planned.seen.wanted)
        self._try(attempt, seen, mute, die)

    def act(self, service: str, seen: Telemetry = WELL, die: str = "") -> None:
        self.plan(service, seen)
        self.carry_out(service, seen, False, die)

    def further(self, service: str, seen: Telemetry = WELL, die: str = "") -> None:
        """It is verified, and may find that the load wants more."""
        run = self._runs.get(service)
        if run is None or not run.done or run.undone or service in self._interrupted:
            return
        self._plans.pop(service, None)
        run.plans += 1
        current = run.done[-1].to
        with self._seeing(seen):
            verdict = self._verification().verify(run.id, f"verify:{run.plans}", 0, self.clock.now_ms, current, 1)
        if verdict["verdict"] != "more":
            self.refusals.append(f"further: {verdict['reason']}")
            return
        attempt = self._attempt(service, "out", current, verdict["to"], seen.unknown)
        self._try(replace(attempt, planned_ms=self.clock.now_ms, wanted=seen.wanted), seen, False, die)

    def undo(self, service: str, die: str = "") -> None:
        run = self._runs.get(service)
        if run is None or not run.done or run.undone or service in self._interrupted:
            return
        self._plans.pop(service, None)
        before, to = run.done[-1].to, run.done[0].before
        if to < before:
            self._try(self._attempt(service, "undo", before, to), WELL, False, die)

    def resume(self, service: str, seen: Telemetry = WELL, mute: bool = False) -> None:
        """The next worker does again what the last one died in."""
        if service in self._interrupted:
            attempt = self._interrupted.pop(service)
            self.history.append(TakenUp(attempt.number, seen.unknown_at_the_door))
            self._carry_out(attempt, seen, mute, "")

    def end(self, service: str, state: State) -> None:
        """A run is over; the load has fallen, and its replicas have been taken away again."""
        if service not in self._runs or service in self._interrupted:
            return
        self._plans.pop(service, None)
        run = self._runs.pop(service)
        self._store.finish(run.id, state, "", self.clock.now_ms)
        self.history.append(Ended(run.id, service, state.value, self.clock.now_ms))
        if service not in self._pending:
            self.scaler.desired[service] = FIRST_REPLICAS

    def repair(self, service: str, state: State = State.RESOLVED, seen: Telemetry = WELL, undone: bool = False) -> None:
        """A whole run."""
        self.act(service, seen)
        if undone:
            self.undo(service)
        self.end(service, state)

    def _try(self, attempt: Attempt, seen: Telemetry, mute: bool, die: str) -> None:
        self.history.append(Tried(attempt))
        self._carry_out(attempt, seen, mute, die)

    def _carry_out(self, attempt: Attempt, seen: Telemetry, mute: bool, die: str) -> None:
        service, run = attempt.service, self._runs[attempt.service]
        self.scaler.behind[service], self.scaler.die = attempt.number, die
        kind, key = {"out": "scale_out"}.get(attempt.kind, attempt.kind), f"0.{attempt.number}"
        done: Deed | None = None
        with self._seeing(seen, mute=mute):
            try:
                done = self._scaling().act(run.id, key, kind, attempt.before, attempt.to, "")
            except WorkerDiedError:
                self._interrupted[service] = attempt
        self.scaler.die = ""
        if done is not None and done["status"] not in ("done", "conflict"):
            self.refusals.append(done["detail"])
        if (done is None or done["status"] == "done") and attempt not in run.done:
            run.done.append(attempt)
            run.undone = attempt.kind == "undo"

    # Autoscaling

    def scale(self, service: str, kind: str, missing: bool = False, mute: bool = False, die: str = "") -> None:
        """An autoscaler decides, and the worker may die around the request that follows."""
        before = self.scaler.desired[service]
        to = before + (1 if kind == "out" else -1)
        if not 1 <= to <= MAXIMUM or service in self._pending:
            return
        unknown = ("telemetry",) * missing + ("services",) * (mute and kind == "in")
        attempt = self._attempt(service, f"autoscale_{kind}", before, to, unknown)
        self.history.append(Tried(attempt))
        self.scaler.behind[service], self.scaler.die = attempt.number, die
        decision, why = ScalingDecision(kind, before, to, "load"), "telemetry is missing" if missing else None
        with self._seeing(WELL, mute=mute):
            try:
                told = self._execution().act(
                    self._autoscaler, service, decision, findings=(), missing=why, now_s=self.clock.time()
                )
                self.refusals += [told["held"]] if "held" in told else []
            except WorkerDiedError:
                self._pending[service] = attempt
        self.scaler.die = ""

    def settle(self) -> None:
        """The next worker finishes what the last one's autoscaling died in."""
        self.scaler.behind |= {service: attempt.number for service, attempt in self._pending.items()}
        changes = len(self.history)
        if self._execution().settle():
            if self._pending and len(self.history) == changes:
                self.refusals.append("settle: nothing was changed")
            self._pending.clear()
        else:
            self.refusals.append("kill_switch: it waits")

    # Everything else

    def turn(self, on: bool) -> None:
        self.history.append(Turned(on))
        if on:
            self._store.stop_all(KillSwitch(reason="r", by="b", at_unix_ms=self.clock.now_ms))
        else:
            self._store.allow_all(by="b", reason="r", at_unix_ms=self.clock.now_ms)

    def crash(self) -> None:
        """Whatever the worker keeps in memory is gone."""
        self._store.close()
        self._store = Store(Database(_engine()))
        self._plans.clear()

    def wait(self, milliseconds: int) -> None:
        """Below nothing: the clock is set back, which no plan outlives, as it is carried out at once."""
        self.clock.now_ms += milliseconds
        if milliseconds < 0:
            self._plans.clear()

    def until(self, window: str, offset_ms: int = 0) -> None:
        """To the moment at which a window ends, if that is to come."""
        self.clock.now_ms = max(self.clock.now_ms, self._end_of(window) + offset_ms)

    def meddle(self, service: str, desired: int) -> None:
        """Somebody else sets it. What somebody set back just so, nobody can tell from what was never done."""
        under_way = [each[service] for each in (self._interrupted, self._pending) if service in each]
        if all(desired != attempt.before for attempt in under_way):
            self.scaler.desired[service] = desired

    def _end_of(self, window: str) -> int:
        rules = self.rules
        tried = [event.attempt.intended_ms for event in self.history if isinstance(event, Tried)]
        ended = [event for event in self.history if isinstance(event, Ended)]
        undone = [e.attempt.intended_ms for e in self.history if isinstance(e, Tried) and e.attempt.kind == "undo"]
        freezes = FREEZES_MS if rules.freezes else []
        lengths = {
            "cooldown": (tried[-1:], rules.cooldown_ms),
            "hour": ([at for at in tried if at > self.clock.now_ms - HOUR_MS][:1], HOUR_MS),
            "radius": ([at for at in tried if at > self.clock.now_ms - rules.radius_ms][:1], rules.radius_ms),
            "undone": (undone[-1:], rules.undo_ms),
            "escalation": ([event.at_ms for event in ended if event.state == "escalated"][-1:], rules.hold_off_ms),
            "breaker": ([event.at_ms for event in ended if event.state == "resolved"][:1], rules.repairs_ms),
            "freeze": ([start for start, _ in freezes if start > self.clock.now_ms][:1], 0),
            "thaw": ([end for _, end in freezes if end > self.clock.now_ms][:1], 0),
        }
        begins, length = lengths[window]
        return begins[0] + length if begins else 0

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _attempt(self, service: str, kind: str, before: int, to: int, unknown: tuple[str, ...] = ()) -> Attempt:
        run = None if kind.startswith("autoscale") else self._runs[service]
        return Attempt(
            number=self._number(),
            service=service,
            kind=kind,
            before=before,
            to=to,
            intended_ms=self.clock.now_ms,
            run=run.id if run else "",
            policy=run.policy if run else "",
            unknown=unknown,
        )

    @contextlib.contextmanager
    def _seeing(self, telemetry: Telemetry, *, mute: bool = False) -> Iterator[None]:
        self._telemetry, self.scaler.mute = telemetry, mute
        try:
            yield
        finally:
            self._telemetry, self.scaler.mute = WELL, False

    # The worker's own parts, new for each move: nothing is kept in memory

    def _journal(self) -> Journal:
        return Journal(self._store, self._telemetry)

    def _gate(self) -> Gate:
        return Gate(self._store, self.scaler, self._limits, Metrics())

    def _planning(self) -> Planning:
        return Planning(self._store, self.scaler, Metrics(), journal=self._journal(), gate=self._gate())

    def _scaling(self) -> Scaling:
        told, metrics = self._journal(), Metrics()
        acting = Acting(self._store, metrics, journal=told, gate=self._gate(), annotator=Annotator("", ""))
        return Scaling(self.scaler, metrics, journal=told, acting=acting)

    def _verification(self) -> Verification:
        return Verification(self._store, self.scaler, journal=self._journal())

    def _execution(self) -> Execution:
        scalings = Scalings(self._store.database, "worker-1")
        annotator = Annotator("", "")
        return Execution(self._limits, scalings=scalings, scaler=self.scaler, metrics=Metrics(), annotator=annotator)


@functools.cache
def _engine() -> sa.Engine:
    """One for every world of this process: it keeps the statements, which take most of the time to spell."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Database.in_file(folder / "store.sqlite").engine


def _empty_store() -> Store:
    engine = _engine()
    engine.dispose()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{engine.url.database}{suffix}").unlink(missing_ok=True)
    return Store(Database(engine))


def _policy_file(rules: Rules) -> tuple[Limits, list[Policy], Autoscaler]:
    def lasting(milliseconds: int) -> str:
        return format_duration(milliseconds / 1000)

    def moment(at_ms: int) -> str:
        return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).isoformat()

    freezes = [{"name": "launch", "start": moment(start), "end": moment(end)} for start, end in FREEZES_MS]
    limits = Limits(
        max_actions_per_hour=rules.rate,
        max_concurrent=rules.concurrent,
        blast_radius={"services": rules.radius, "within": lasting(rules.radius_ms)},
        freezes=freezes if rules.freezes else [],
    )
    guards = {
        "cooldown": lasting(rules.cooldown_ms),
        "max_actions_per_hour": rules.target_rate,
        "policy_max_actions_per_hour": rules.policy_rate,
        "escalation_hold_off": lasting(rules.hold_off_ms),
        "breaker": {"repairs": rules.repairs, "within": lasting(rules.repairs_ms)},
        "undo_hold_off": lasting(rules.undo_ms),
        "maximum_replicas": rules.maximum,
        "patience": "300ms",
        "telemetry": 'telemetry{job="{{ labels.service }}"}',
    }
    scale = {"replicas": 'wanted{job="{{ target }}"}', "maximum_step": rules.step, "warm_up": "0s"}
    step = {"name": "more", "scale": scale, "verify": {"within": "2s", "hold": "1s", "every": "1s"}}
    policies = [
        Policy.model_validate({"name": name, "match": ['alertname="Slow"'], "steps": [step], "guards": guards})
        for name in ("scale-out", "scale-others")
    ]
    scaling = {
        "max_actions_per_hour": rules.scaling_rate,
        "escalation_hold_off": lasting(rules.scaling_hold_off_ms),
    }
    autoscaler = {
        "name": "shop",
        "services": SERVICES,
        "tracking": [{"utilisation": "x", "target": 0.5}],
        "guards": scaling,
    }
    return limits, policies, Autoscaler.model_validate(autoscaler)


@contextlib.contextmanager
def world_of(rules: Rules) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        world = World(rules)
        stack.callback(world.close)
        for module in (journal, planning, gate, change, execution, verification):
            stack.enter_context(mock.patch.object(module, "time", world.clock))
        yield world
