"""
However alerts, times, outages and crashes fall, no limit is overrun, and what is not known widens nothing.

Plans and actions are the workflow's own, on a real store; the scaler, telemetry and the clock are the test's, and the
clock may be set back. What really happened is kept beside the store. An action counts from when it was intended.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediation.annotations import Annotator
from remediation.errors import TemporaryScalerError, TemporaryTelemetryError
from remediation.metrics import Metrics
from remediation.policy.autoscaler import Autoscaler
from remediation.policy.limits import Limits
from remediation.policy.policy import Policy
from remediation.prometheus import AlertCondition, Sample
from remediation.scalers import change
from remediation.scalers.scaler import Replicas
from remediation.scaling import execution
from remediation.scaling.controller import ScalingDecision
from remediation.scaling.execution import Execution
from remediation.store.record import Firing, KillSwitch, NewRun, State
from remediation.store.scalings import Scalings
from remediation.store.store import Store
from remediation.workflow import gate, journal, planning
from remediation.workflow.acting import Acting, Deed
from remediation.workflow.gate import Gate
from remediation.workflow.journal import Journal
from remediation.workflow.planning import Planning
from remediation.workflow.scale import Scaling

SERVICES = ("cart", "catalog", "checkout", "inventory", "payment", "recommendation")
HOUR_MS = 3_600_000
# Each step commits, and what is proved here is not that the disk keeps it.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
FREEZE_MS = (11 * HOUR_MS, 11 * HOUR_MS + HOUR_MS // 2)
LIMITS = Limits(
    max_actions_per_hour=6,
    max_concurrent=2,
    blast_radius={"services": 0.5, "within": "10m"},
    freezes=[{"name": "launch", "start": "1970-01-01T11:00:00Z", "end": "1970-01-01T11:30:00Z"}],
)
AUTOSCALER = Autoscaler.model_validate(
    {
        "name": "shop",
        "services": SERVICES,
        "tracking": [{"utilisation": "x", "target": 0.5}],
        "guards": {"max_actions_per_hour": 4, "escalation_hold_off": "10m"},
    }
)
POLICY = Policy.model_validate(
    {
        "name": "scale-out",
        "match": ['alertname="Slow"'],
        "steps": [
            {
                "name": "more",
                "scale": {"replicas": 'wanted{job="{{ target }}"}', "maximum_step": 2},
                "verify": {"within": "30s"},
            }
        ],
        "guards": {
            "cooldown": "30s",
            "max_actions_per_hour": 3,
            "policy_max_actions_per_hour": 5,
            "escalation_hold_off": "10m",
            "breaker": {"repairs": 2, "within": "2h"},
            "undo_hold_off": "5m",
            "maximum_replicas": 5,
            "patience": "1s",
            "telemetry": 'telemetry{job="{{ target }}"}',
        },
    }
)
GUARDS = POLICY.guards


class WorkerDiedError(BaseException):
    """Nothing that runs in the worker catches it."""


@dataclass
class Clock:
    """Stands for the module `time`."""

    now_s: float = 10 * 3600.0

    def time(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return round(self.now_s * 1000) * 1_000_000

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class Replicated:
    """A scaler, and a worker that may die around its request."""

    desired: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SERVICES, 2))
    changed: list[tuple[str, int, int]] = field(default_factory=list)  # service, from, to
    die: str = ""  # before, after
    away: bool = False

    def services(self) -> list[str]:
        if self.away:
            raise TemporaryScalerError("it does not answer")
        return sorted(self.desired)

    def get(self, service: str) -> Replicas:
        if self.away:
            raise TemporaryScalerError("it does not answer")
        desired = self.desired[service]
        return Replicas(service=service, desired=desired, ready=desired, minimum=1, maximum=6)

    def set_desired(self, service: str, desired: int) -> Replicas:
        die, self.die = self.die, ""
        if die == "before":
            raise WorkerDiedError
        self.changed.append((service, self.desired[service], desired))
        self.desired[service] = desired
        if die == "after":
            raise WorkerDiedError
        return self.get(service)


@dataclass
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
    def blind(self) -> bool:
        return self.away or not self.rule or self.fresh is None or math.isnan(self.fresh)

    @property
    def says_how_many(self) -> bool:
        return self.wanted is not None and math.isfinite(self.wanted) and self.wanted >= 0


@dataclass
class Interrupted:
    """What a worker that has died was about to do; the next one does it again."""

    run_id: str
    arguments: tuple[str, str, int, int, str]
    intended_ms: float


@dataclass
class World:
    """What really happened, kept beside the store."""

    store: Store
    clock: Clock = field(default_factory=Clock)
    scaler: Replicated = field(default_factory=Replicated)
    telemetry: Telemetry = field(default_factory=Telemetry)
    scaled: list[tuple[float, str, str]] = field(default_factory=list)  # when, service, out or in
    escalated: dict[str, float] = field(default_factory=dict)  # service → when a run that had acted was escalated
    repaired: list[tuple[float, str]] = field(default_factory=list)  # when a run that had acted ended resolved
    runs: dict[str, str] = field(default_factory=dict)  # service → its unfinished run
    acted: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # unfinished run → from and to
    done: list[tuple[float, str, str]] = field(default_factory=list)  # when intended, service, run
    undone: list[tuple[float, str, str]] = field(default_factory=list)  # the same, of what was put back
    interrupted: dict[str, Interrupted] = field(default_factory=dict)  # by service
    stopped: bool = False
    count: int = 0

    @property
    def now_ms(self) -> float:
        return round(self.clock.now_s * 1000)

    def alert(self, service: str) -> None:
        if service in self.runs:
            return
        self.count += 1
        new = NewRun(
            id=f"run-{self.count}",
            service=service,
            alertname="Slow",
            fingerprint=f"f{self.count}",
            starts_at_unix_ms=int(self.now_ms),
            policy=POLICY.name,
            policy_json=POLICY.model_dump_json(),
            alert_json=f'{{"labels": {{"alertname": "Slow", "service": "{service}"}}, "annotations": {{}}}}',
            at_unix_ms=int(self.now_ms),
        )
        self.store.take([Firing(new)])
        self.runs[service] = new.id

    def act(self, service: str, die: str, seen: Telemetry, away: bool) -> None:
        """Plan and act as the workflow does; the worker may die around the request. Begins the run if there is none."""
        self.alert(service)
        if service in self.interrupted:
            return
        self.telemetry, self.scaler.away = seen, away
        try:
            self._act(service, self.runs[service], die)
        finally:
            self.telemetry, self.scaler.away = Telemetry(), False

    def repair(self, service: str, die: str, seen: Telemetry, undone: bool, state: State, wait_ms: int) -> None:
        """A whole run, and some time after it."""
        self.act(service, die, seen, False)
        self.resume(service)
        if undone:
            self.undo(service, "")
        self.end(service, state)
        self.clock.now_s += wait_ms / 1000

    def _act(self, service: str, run_id: str, die: str) -> None:
        steps = self._steps()
        again = bool(self.acted.get(run_id))
        plan = steps[0].plan(run_id, f"plan:{len(self.acted.get(run_id, []))}", 0, again=again)
        if plan["verdict"] != "act":
            return
        assert not self.telemetry.blind, "nobody acts blind"
        assert self.telemetry.says_how_many, "no number is no basis"
        assert plan["to"] <= min(plan["before"] + 2, 5), "the step and the maximum bound it"
        if not again:
            self._assert_no_guard_speaks_against(service, run_id)
        undone = [each for each in self.undone if each[1] == service and self.now_ms - each[0] < 300_000]
        assert not undone or plan["to"] <= math.ceil(self.telemetry.wanted or 0), "only the load may ask for more"
        key = f"0.{len(self.acted.get(run_id, []))}"
        self._carry_out(service, Interrupted(run_id, (key, "scale_out", plan["before"], plan["to"], ""), 0), die)

    def undo(self, service: str, die: str) -> None:
        run_id = self.runs.get(service, "")
        if not self.acted.get(run_id) or service in self.interrupted:
            return
        before, to = self.acted[run_id][-1]
        key = f"0.undo.{len(self.acted[run_id])}"
        self._carry_out(service, Interrupted(run_id, (key, "undo", to, before, ""), 0), die)

    def resume(self, service: str) -> None:
        """The next worker does again what the last one died in."""
        if service in self.interrupted:
            self._carry_out(service, self.interrupted.pop(service), "")

    def _carry_out(self, service: str, one: Interrupted, die: str) -> None:
        resumed, (_, kind, before, to, _) = bool(one.intended_ms), one.arguments
        changes, self.scaler.die = len(self.scaler.changed), die
        blind, away = self.telemetry.away or self.telemetry.fresh is None, self.scaler.away
        try:
            done: Deed | None = self._steps()[1].act(one.run_id, *one.arguments)
        except WorkerDiedError:
            done = None
            self.interrupted[service] = one
        self.scaler.die = ""
        made = self.scaler.changed[changes:]
        assert made in ([], [(service, before, to)]), "once at most"
        if made:
            assert not self.stopped, "the kill switch is on"
            assert kind == "undo" or not self._frozen(), "during a freeze"
            assert kind == "undo" or resumed or not (blind or away), "nobody acts blind"
        let_in = done is None or done["status"] not in ("refused", "unknown")
        one.intended_ms = one.intended_ms or self.now_ms
        if let_in and not resumed:
            if kind == "undo":
                self.undone.append((one.intended_ms, service, one.run_id))
                self.acted[one.run_id].append((to, to))
            else:
                self.done.append((one.intended_ms, service, one.run_id))
                self.acted.setdefault(one.run_id, []).append((before, to))
                self._assert_nothing_is_overrun()

    def _assert_no_guard_speaks_against(self, service: str, run_id: str) -> None:
        others = [each for each in (*self.done, *self.undone) if each[1] == service and each[2] != run_id]
        assert all(self.now_ms - each[0] >= GUARDS.cooldown * 1000 for each in others), "undoing counts too"
        assert self.now_ms - self.escalated.get(service, -HOUR_MS) >= 600_000, "people have it"
        repairs = sum(at > self.now_ms - 2 * HOUR_MS for at, name in self.repaired if name == service)
        assert repairs < GUARDS.breaker.repairs, "it hides a fault"

    def _steps(self) -> tuple[Planning, Scaling]:
        metrics, annotator = Metrics(), Annotator("", "")
        told = Journal(self.store, self.telemetry)
        door = Gate(self.store, self.scaler, LIMITS, metrics)
        acting = Acting(self.store, metrics, journal=told, gate=door, annotator=annotator)
        plan = Planning(self.store, self.scaler, metrics, journal=told, gate=door)
        return plan, Scaling(self.scaler, metrics, journal=told, acting=acting)

    def scale(self, service: str, kind: str, die: str) -> None:
        """An autoscaler decides, and the worker may die around the request that follows."""
        blind = die == "before" and self.count % 3 == 0
        before = self.scaler.desired[service]
        to = before + (1 if kind == "out" else -1)
        if not 1 <= to <= 6:
            return
        changes, self.scaler.die = len(self.scaler.changed), die
        missing = "telemetry is missing" if blind else None
        decision = ScalingDecision(kind, before, to, "load")
        try:
            self._execution().act(AUTOSCALER, service, decision, findings=(), missing=missing, now_s=self.now_ms / 1000)
        except WorkerDiedError:
            assert self._execution().settle()
        self.scaler.die = ""
        made = self.scaler.changed[changes:]
        assert made in ([], [(service, before, to)]), "once at most"
        if made:
            assert not self.stopped, "the kill switch is on"
            assert missing is None, "nobody acts blind"
            assert service not in self.runs, "an alert's run is at work"
            assert not self._frozen(), "during a freeze"
            if kind == "in":
                assert self.now_ms - self.escalated.get(service, -HOUR_MS) >= 600_000, "people have it"
                touched = {each[1] for each in self.scaled if each[2] == "in" and each[0] > self.now_ms - 600_000}
                touched |= {each[1] for each in self.done if each[0] > self.now_ms - 600_000} | {service}
                assert len(touched) <= len(SERVICES) * LIMITS.blast_radius.services
            self.scaled.append((self.now_ms, service, kind))
            self._assert_nothing_is_overrun()

    def _execution(self) -> Execution:
        scalings = Scalings(self.store.database, "worker-1")
        return Execution(LIMITS, scalings=scalings, scaler=self.scaler, metrics=Metrics(), annotator=Annotator("", ""))

    def _frozen(self) -> bool:
        return FREEZE_MS[0] <= self.now_ms < FREEZE_MS[1]

    def end(self, service: str, state: State) -> None:
        if service in self.interrupted:
            return
        run_id = self.runs.pop(service, None)
        self.scaler.desired[service] = 2  # the load has fallen
        if run_id is not None:
            self.store.finish(run_id, state, "", int(self.now_ms))
            if self.acted.pop(run_id, None):
                if state is State.ESCALATED:
                    self.escalated[service] = max(self.now_ms, self.escalated.get(service, 0))
                if state is State.RESOLVED:
                    self.repaired.append((self.now_ms, service))

    def turn(self, on: bool) -> None:
        self.stopped = on
        if on:
            self.store.stop_all(KillSwitch(reason="r", by="b", at_unix_ms=int(self.now_ms)))
        else:
            self.store.allow_all(by="b", reason="r", at_unix_ms=int(self.now_ms))

    def _assert_nothing_is_overrun(self) -> None:
        """Right after something was let in."""
        lately = [each for each in self.done if each[0] > self.now_ms - HOUR_MS]
        scaled = [each for each in self.scaled if each[0] > self.now_ms - HOUR_MS]
        assert len(lately) + len(scaled) <= LIMITS.max_actions_per_hour
        assert len(lately) <= GUARDS.policy_max_actions_per_hour
        for service in SERVICES:
            assert sum(each[1] == service for each in lately) <= GUARDS.max_actions_per_hour
            assert sum(each[1] == service for each in scaled) <= AUTOSCALER.guards.max_actions_per_hour
        assert len(self.acted) <= LIMITS.max_concurrent
        if self.done and self.done[-1][0] >= self.now_ms:
            recent = {each[1] for each in self.done if each[0] > self.now_ms - 600_000}
            assert len(recent) <= len(SERVICES) * LIMITS.blast_radius.services


service = st.sampled_from(SERVICES[:5])
die = st.sampled_from(["", "", "", "before", "after"])
end = st.sampled_from([State.RESOLVED, State.RESOLVED, State.ESCALATED, State.REFUSED])
# Mostly all is well: where nothing can be done anyway, no limit is tried. Each fault by itself must stop it.
WELL = [Telemetry(wanted=1.0), Telemetry(wanted=3.0)]
FAULTS = [
    Telemetry(fresh=None),
    Telemetry(fresh=math.nan),
    Telemetry(away=True),
    Telemetry(rule=False),
    *(Telemetry(wanted=wanted) for wanted in (None, math.nan, math.inf, -1.0)),
]
seen = st.sampled_from([*WELL * 8, *FAULTS])
away = st.sampled_from([False] * 9 + [True])
act = st.tuples(st.just("act"), service, die, seen, away)
repair = st.tuples(st.just("repair"), service, die, seen, st.booleans(), end, st.integers(1, 90_000))
step = st.one_of(
    act,
    act,
    repair,
    repair,
    repair,
    st.tuples(st.just("undo"), service, die),
    st.tuples(st.just("resume"), service),
    st.tuples(st.just("scale"), service, st.sampled_from(["out", "in"]), die),
    st.tuples(st.just("end"), service, end),
    st.tuples(st.just("end"), service, end),
    st.tuples(st.just("wait"), st.integers(1, 60_000)),
    st.tuples(st.just("wait"), st.sampled_from([5 * 60_000, 15 * 60_000, 45 * 60_000])),
    st.tuples(st.just("wait"), st.integers(-20 * 60_000, 0)),  # the clock is set back
    st.tuples(st.just("turn"), st.sampled_from([True, False, False])),
    st.tuples(st.just("crash")),
)


@contextlib.contextmanager
def world_in(folder: str) -> Iterator[World]:
    world = World(Store.in_file(Path(folder) / "store.sqlite"))
    with contextlib.ExitStack() as stack:
        for module in (journal, planning, gate, change, execution):
            stack.enter_context(mock.patch.object(module, "time", world.clock))
        try:
            yield world
        finally:
            world.store.close()


@settings(
    max_examples=int(os.environ.get("STEERSMAN_GUARD_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(step, min_size=10, max_size=70))
def test_no_limit_is_ever_overrun(steps):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, world_in(folder) as world:
        for name, *arguments in steps:
            match name:
                case "wait":
                    world.clock.now_s += arguments[0] / 1000
                case "crash":
                    world.store.close()
                    world.store = Store.in_file(Path(folder) / "store.sqlite")
                case _:
                    getattr(world, name)(*arguments)


def test_action_that_a_freeze_has_overtaken_while_no_worker_ran_is_not_done_and_nobody_claims_to_know():
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, world_in(folder) as world:
        world.clock.now_s = FREEZE_MS[0] / 1000 - 60
        world.alert("cart")
        world.act("cart", "before", Telemetry(), False)
        world.clock.now_s += 120
        world.resume("cart")
        assert world.scaler.changed == []
        (action,) = world.store.record("run-1")["actions"]
        assert action["status"] == "unknown"
        told = world.store.record("run-1")["timeline"][-1]["detail"]
        assert "freeze: nothing is changed during 'launch'; whether it was done" in told


def test_plan_that_was_made_before_telemetry_was_lost_is_not_carried_out():
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, world_in(folder) as world:
        world.alert("cart")
        plan, scaling = world._steps()
        made = plan.plan("run-1", "plan:0", 0, again=False)
        assert (made["verdict"], made["before"], made["to"]) == ("act", 2, 3)
        world.telemetry.fresh = None
        done = scaling.act("run-1", "0.0", "scale_out", 2, 3, made["reason"])
        assert (done["status"], done["detail"]) == ("refused", "telemetry: telemetry of cart is missing or stale")
        assert world.scaler.changed == []


def test_what_was_concluded_is_neither_asked_about_nor_done_again():
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, world_in(folder) as world:
        world.alert("cart")
        world.act("cart", "", Telemetry(), False)
        world.turn(True)
        done = world._steps()[1].act("run-1", "0.0", "scale_out", 2, 3, "again")
        assert done["status"] == "done"
        assert world.scaler.changed == [("cart", 2, 3)]
        assert [one["status"] for one in world.store.record("run-1")["actions"]] == ["done"]
