"""
No drill is a formality: on what a good system shows it passes, and with one capability taken away it fails, by name.

Each script below is the course of a system in the drill's own words: the value behind each of its conditions, the
alerts, replicas and remediations over time. Times are seconds since the injection, or `E(n)`: since its end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pytest

from remediation.drills.capacity import replica_capacity_query
from remediation.drills.command import EndTheInjection, Inject
from remediation.drills.definition import Definition, find
from remediation.drills.engine import Engine
from remediation.drills.observation import Action, Alert, Observation, Remediation, Service
from steersman.runtime.paths import shipped

SERVICES = ("catalog", "cart", "checkout", "payment", "inventory", "recommendation")


class E(NamedTuple):
    """So long after the end of the injection."""

    after_s: float


NEVER = E(math.inf)
Time = float | E
Course = Any  # a value that never changes, or [(Time, value)…]; the first holds before the injection too


class Firing(NamedTuple):
    alertname: str
    service: str
    since: Time
    until: Time = NEVER


class Run(NamedTuple):
    """A remediation, from its first state on."""

    alertname: str
    states: Course
    actions: Course = 1
    service: str = ""  # the drill's, if not given
    kind: str = "scale_out"  # of the actions


@dataclass(frozen=True)
class Script:
    values: Mapping[str, Course]  # by a condition's name
    alerts: tuple[Firing, ...] = ()
    desired: Course = 1  # of the drill's service
    ready: Course | None = None  # as desired, if not given
    runs: tuple[Run, ...] = ()

    def but(self, values: Mapping[str, Course] | None = None, **parts: Any) -> Script:
        return replace(self, values={**self.values, **(values or {})}, **parts)


@dataclass
class World:
    drill: Definition
    script: Script
    engine: Engine = field(init=False)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.engine = Engine(self.drill)

    def _come(self, time: Time) -> bool:
        if isinstance(time, E):
            ended = self.engine.ended_at
            return ended is not None and self.now >= ended + time.after_s
        return self.engine.injected_at is not None and self.now >= self.engine.injected_at + time

    def _value(self, course: Course) -> Any:
        if not isinstance(course, list):
            return course
        come = [value for time, value in course if self._come(time)]
        return come[-1] if come else course[0][1]

    def see(self) -> Observation:
        steady, stops = self.drill.steady_state.conditions, self.drill.stop_conditions
        samples = {replica_capacity_query(name): (20.0,) for name in SERVICES}
        for each in (*steady, *stops, *self.drill.confirm, *self.drill.expect, *self.drill.then):
            query = each.promql or (each.change_of.promql if each.change_of else None)
            if query is not None and each.name in self.script.values:
                value = self._value(self.script.values[each.name])
                samples[self.engine.put_variables(query)] = () if value is None else (float(value),)
        desired = self._value(self.script.desired)
        ready = desired if self.script.ready is None else self._value(self.script.ready)
        services = {name: Service(name, 1, 1, 1, 6) for name in SERVICES}
        services[self.drill.service] = Service(self.drill.service, desired, ready, 1, 6)
        firing = [each for each in self.script.alerts if self._come(each.since) and not self._come(each.until)]
        return Observation(
            alerts=tuple(Alert({"alertname": a.alertname, "service": a.service}, "firing", 1.0) for a in firing),
            remediations=tuple(run for number, r in enumerate(self.script.runs) if (run := self._run(number, r))),
            services=services,
            samples=samples,
        )

    def _run(self, number: int, run: Run) -> Remediation | None:
        if not self._come(run.states[0][0]):
            return None
        service = run.service or self.drill.service
        action = Action(run.kind, service, "1", "2")
        return Remediation(
            id=f"r{number}",
            service=service,
            alertname=run.alertname,
            state=self._value(run.states),
            started_at_unix_ms=1,
            actions=(action,) * self._value(run.actions),
            evidence=("p99 = 1.8",),
        )

    def play(self) -> list[str]:
        """The reasons why it failed; none if it passed."""
        self.engine.begin(self.now)
        while not self.engine.done:
            command = self.engine.observe(self.see(), self.now)
            if isinstance(command, Inject):
                self.engine.injected(self.now, [each.words for each in command.disturbances])
            elif isinstance(command, EndTheInjection):
                self.engine.ended(self.now, [])
            self.now += 0.5
        return self.engine.reasons


LATENCY, ERRORS = "HighRequestLatency", "HighErrorRatio"
P99 = [(0, 0.1), (3, 2.0), (24, 0.2)]
LATENCY_RUN = Run(LATENCY, [(4, "verifying"), (26, "resolved_pending"), (E(25), "resolved")])
SURGE = Script(
    values={
        "customers browse": 8,
        "catalog is fast": P99,
        "p99 is back under the threshold": P99,
        "the surge arrives at catalog": [(0, 0.4), (2.5, 2.5)],
        "customers can no longer buy": 0,
    },
    alerts=(Firing(LATENCY, "catalog", 4, 26),),
    desired=[(0, 1), (4.5, 5), (E(20), 1)],
    runs=(LATENCY_RUN,),
)
SLOW = [(0, 0.1), (3, 2.0)]
UNANSWERED = {"catalog is fast": SLOW, "p99 is back under the threshold": SLOW}
NO_POLICY = {"desired": 1, "runs": (), "alerts": (Firing(LATENCY, "catalog", 4),)}
SLOW_P99 = [(0, 0.2), (3, 1.8), (E(8), 0.2)]
FLAPS = [(0, 0.4), *((3 + 16 * n + half, value) for n in range(12) for half, value in ((0, 2.0), (8, 0.5)))]

ROLLED_BACK = Run(ERRORS, [(16, "verifying"), (38, "resolved")], kind="rollback")

GOOD = {
    "latency-surge": SURGE,
    "flash-crowd": SURGE.but(
        {"the crowd arrives at catalog": [(0, 0.4), (2.5, 3.5)]}, desired=[(0, 1), (4.5, 5), (13, 6), (E(20), 1)]
    ),
    "slow-dependency": Script(
        values={
            "customers buy": 1,
            "checkout is fast": SLOW_P99,
            "checkout is slow": SLOW_P99,
            "the fault is in force": [(0, 0), (1, 1)],
        },
        alerts=(Firing(LATENCY, "checkout", 5, E(15)),),
        desired=[(0, 1), (6, 2), (50, 1)],
        runs=(Run(LATENCY, [(5, "verifying"), (50, "escalated")], [(5, 1), (50, 2)]),),
    ),
    "replica-crash": Script(
        values={
            "customers browse": 8,
            "nothing fails": 0,
            "no replica answers": [(0, 1), (1, 0), (3, 1)],
            "catalog's replica is not a new one": 300,
            "another replica serves": [(0, 300), (3, 2)],
            "no request fails any more": [(0, 0), (1, 2), (6, 0)],
            "every order is handled by all who should hear of it": -40,  # as counted before, by replicas that have gone
        },
        ready=[(0, 1), (0.2, 0), (2.5, 1)],
    ),
    "replica-freeze": Script(
        values={
            "customers browse": 8,
            "its scrapes fail": [(0, 1), (2, 0), (10, 1)],
            "another replica serves": [(0, None), (11, 1)],
            "requests are answered as before": [(0, 8), (2, 0), (12, 8)],
            "customers can no longer buy": 0,
        },
        alerts=(Firing("TargetDown", "catalog", 7, 10),),
        ready=[(0, 1), (9, 0), (11, 1)],
    ),
    "error-burst": Script(
        values={
            "customers ask for recommendations": 1,
            "nothing fails": 0,
            "the good version has served for a while": 60,
            "the bad version serves": [(0, None), (7, 1)],
            "requests fail": [(0, 0), (9, 2)],
            "the good version serves alone": [(0, 1), (7, None), (24, 1)],
            "nothing fails any more": [(0, 0), (9, 2), (29, 0)],
            "catalog does not notice": 0,
        },
        alerts=(Firing(ERRORS, "recommendation", 15, 35),),
        runs=(ROLLED_BACK,),
    ),
    "poisoned-message": Script(
        values={
            "orders are handled": 1,
            "inventory puts it aside": [(0, 0), (2, 1)],
            "recommendation puts it aside": [(0, 0), (2, 1)],
            "the orders behind it are handled": [(0, 500), (3, 501), (5, 503)],
            "it does not come again": [(0, 0), (2, 2)],
            "no order is lost": 0,
        },
    ),
    "collector-outage": Script(
        values={
            "telemetry of all services flows": 6,
            "it is another collector": [(0, 100), (5, 400)],
            "what it had accepted is still there": 1,
            "telemetry of all services flows again": [(0, None), (6, 6)],
            "customers were served all along": 8,
        },
    ),
    "worker-killed": SURGE.but(
        {
            "the worker is seen": 1,
            "the load arrives at catalog": [(0, 0.4), (2.5, 1.8)],
            "the worker was started again": [(0, 100), (12, 400)],
        }
    ),
    "flapping-load": Script(
        values={
            "customers browse": 8,
            "the load rises": FLAPS,
            "the load falls": FLAPS,
            "the load rises again": FLAPS,
        },
        alerts=(Firing(LATENCY, "catalog", 5, E(5)),),
        desired=[(0, 1), (5.5, 4), (E(30), 1)],
        runs=(Run(LATENCY, [(5, "verifying"), (E(35), "resolved")]),),
    ),
}

CATALOG_RUN = Run(LATENCY, [(1, "verifying"), (6, "resolved_pending"), (E(14), "resolved")])
CHECKOUT_RUN = CATALOG_RUN._replace(service="checkout")
GOOD["alert-storm"] = Script(
    values={
        "customers browse": 8,
        "the worker is seen": 1,
        "a thousand alerts have arrived": [(0, 20), (4, 1020)],
        "the worker does not grow": [(0, 150e6), (4, 158e6)],
        "it is the same worker": 1000,
        "customers notice nothing": 0,
    },
    desired=[(0, 1), (1.5, 2), (E(12), 1)],
    runs=(CATALOG_RUN, CHECKOUT_RUN),
)
STORM = GOOD["alert-storm"]
WAITING = [(0, 0), (2, 1950), (8, 1800), (45, 5)]
GOOD["queue-backlog"] = Script(
    values={
        "orders are handled": 1,
        "nothing waits": WAITING,
        "they wait": WAITING,
        "the queue is worked off": WAITING,
        "nothing is dead-lettered": 3,
    },
    alerts=(Firing("QueueBacklog", "recommendation", 4, 46),),
    desired=[(0, 1), (4.5, 4), (E(25), 1)],
    runs=(Run("QueueBacklog", [(4, "verifying"), (50, "resolved_pending"), (E(30), "resolved")]),),
)
BACKLOG = GOOD["queue-backlog"]
ALONE = [(0, 0), (2, 1950), (8, 1800), (82, 5)]
CROWD, SLOW_PAYMENT, CRASH = GOOD["flash-crowd"], GOOD["slow-dependency"], GOOD["replica-crash"]
FREEZE, BURST, POISON = GOOD["replica-freeze"], GOOD["error-burst"], GOOD["poisoned-message"]
OUTAGE, KILLED, FLAPPING = GOOD["collector-outage"], GOOD["worker-killed"], GOOD["flapping-load"]
NOT_ROLLED_BACK = {
    "the good version serves alone": [(0, 1), (7, None)],
    "nothing fails any more": [(0, 0), (9, 2)],
}
EACH_SWING = [(0, 1), *((5.5 + 8 * n, 4 if n % 2 == 0 else 1) for n in range(14))]
# drill, what is taken away, what the system then shows, what the drill says
BROKEN = [
    ("latency-surge", "the policy", SURGE.but(UNANSWERED, **NO_POLICY), '"catalog is scaled out" failed'),
    (
        "latency-surge",
        "the rule",
        SURGE.but(UNANSWERED, alerts=(), desired=1, runs=()),
        '"the latency alert fires" failed',
    ),
    ("latency-surge", "scale-in", SURGE.but(desired=[(0, 1), (4.5, 5)]), '"the replicas return" failed'),
    (
        "latency-surge",
        "the load",
        SURGE.but({"the surge arrives at catalog": 0.4}),
        '"the surge arrives at catalog" failed',
    ),
    (
        "latency-surge",
        "deduplication",
        SURGE.but(runs=(LATENCY_RUN, LATENCY_RUN)),
        '"one remediation was enough" failed',
    ),
    ("flash-crowd", "the policy", CROWD.but(UNANSWERED, **NO_POLICY), '"catalog is scaled out" failed'),
    ("flash-crowd", "the bounds", CROWD.but(desired=[(0, 1), (4.5, 8)]), '"its bounds hold" failed'),
    (
        "slow-dependency",
        "verification",
        SLOW_PAYMENT.but(desired=[(0, 1), (6, 2), (20, 3), (34, 4)], runs=()),
        "the worker scales without end",
    ),
    (
        "slow-dependency",
        "the undoing",
        SLOW_PAYMENT.but(desired=[(0, 1), (6, 2)]),
        '"the replicas are restored" failed',
    ),
    (
        "slow-dependency",
        "the hold-off",
        SLOW_PAYMENT.but(runs=(*SLOW_PAYMENT.runs, Run(LATENCY, [(55, "acting")]))),
        "failed",
    ),
    ("replica-crash", "the replacement", CRASH.but({"another replica serves": 300}), '"another replica serves" failed'),
    (
        "replica-crash",
        "the outbox",
        CRASH.but({"every order is handled by all who should hear of it": [(0, -40), (2, -45)]}),
        '"every order is handled by all',
    ),
    (
        "replica-crash",
        "the worker's restraint",
        CRASH.but(runs=(Run(LATENCY, [(9, "acting")]),)),
        '"the worker leaves it alone" failed',
    ),
    (
        "replica-freeze",
        "the health probes",
        FREEZE.but({"another replica serves": None}),
        '"another replica serves" failed',
    ),
    ("replica-freeze", "the freeze", FREEZE.but({"its scrapes fail": 1}), '"its scrapes fail" failed'),
    ("error-burst", "the rule", BURST.but(alerts=(), runs=()), '"the error alert fires" failed'),
    (
        "error-burst",
        "the policy",
        BURST.but(NOT_ROLLED_BACK, runs=(), alerts=(Firing(ERRORS, "recommendation", 15),)),
        '"the worker rolls it back" failed',
    ),
    (
        "error-burst",
        "the history of versions",
        BURST.but(NOT_ROLLED_BACK, runs=(Run(ERRORS, [(16, "escalated")], 0),)),
        "the worker has given up",
    ),
    (
        "error-burst",
        "the rollout of the version gone back to",
        BURST.but(NOT_ROLLED_BACK, runs=(ROLLED_BACK._replace(states=[(16, "verifying")]),)),
        '"the good version serves alone" failed',
    ),
    (
        "error-burst",
        "verification",
        BURST.but(runs=(ROLLED_BACK._replace(states=[(16, "acting")]),)),
        '"the remediation is closed, with evidence" failed',
    ),
    (
        "error-burst",
        "the worker's restraint",
        BURST.but(desired=[(0, 1), (17, 2)]),
        '"it is not scaled" failed',
    ),
    (
        "error-burst",
        "the right repair",
        BURST.but(runs=(ROLLED_BACK._replace(kind="scale_out"),)),
        '"the worker rolls it back" failed',
    ),
    (
        "poisoned-message",
        "dead letters",
        POISON.but({"inventory puts it aside": 0}),
        '"inventory puts it aside" failed',
    ),
    (
        "poisoned-message",
        "the end of redelivery",
        POISON.but({"it does not come again": [(0, 0), (2, 2), (8, 3)]}),
        '"it does not come again" failed',
    ),
    (
        "poisoned-message",
        "the queue's flow",
        POISON.but({"the orders behind it are handled": 500}),
        '"the orders behind it are handled" failed',
    ),
    (
        "collector-outage",
        "the supervisor",
        OUTAGE.but({"it is another collector": 100}),
        '"it is another collector" failed',
    ),
    (
        "collector-outage",
        "durability",
        OUTAGE.but({"what it had accepted is still there": None}),
        '"what it had accepted is still there" failed',
    ),
    (
        "collector-outage",
        "the guard on telemetry",
        OUTAGE.but(desired=[(0, 1), (8, 2)]),
        "the worker acts blindly",
    ),
    (
        "worker-killed",
        "the supervisor",
        KILLED.but({"the worker was started again": 100}),
        '"the worker was started again" failed',
    ),
    ("worker-killed", "durable runs", KILLED.but(desired=[(0, 1), (4.5, 5)]), '"the replicas return" failed'),
    (
        "worker-killed",
        "idempotency",
        KILLED.but(runs=(LATENCY_RUN, LATENCY_RUN)),
        '"it is one run, not two" failed',
    ),
    (
        "flapping-load",
        "damping",
        FLAPPING.but(desired=EACH_SWING),
        '"it is not scaled out with each swing" failed',
    ),
    (
        "queue-backlog",
        "the policy",
        BACKLOG.but(desired=1, runs=(), alerts=(Firing("QueueBacklog", "recommendation", 4, 83),)),
        '"consumers are added" failed',
    ),
    ("queue-backlog", "the rule", BACKLOG.but(alerts=(), desired=1, runs=()), '"the backlog alert fires" failed'),
    (
        "queue-backlog",
        "consumers that share the queue",
        BACKLOG.but({"the queue is worked off": ALONE}, alerts=(Firing("QueueBacklog", "recommendation", 4, 83),)),
        '"the queue is worked off" failed',
    ),
    (
        "queue-backlog",
        "consumers that handle what they take",
        BACKLOG.but({"nothing is dead-lettered": [(0, 3), (20, 400)]}),
        '"nothing is dead-lettered" failed',
    ),
    ("queue-backlog", "scale-in", BACKLOG.but(desired=[(0, 1), (4.5, 4)]), '"the replicas return" failed'),
    (
        "alert-storm",
        "intake that keeps up",
        STORM.but({"a thousand alerts have arrived": [(0, 20), (4, 400)]}),
        '"a thousand alerts have arrived" failed',
    ),
    (
        "alert-storm",
        "one run for each target",
        STORM.but(runs=(CATALOG_RUN, CATALOG_RUN, CHECKOUT_RUN)),
        '"catalog has one remediation" failed',
    ),
    ("alert-storm", "the policy", STORM.but(runs=(), desired=1), '"catalog has one remediation" failed'),
    (
        "alert-storm",
        "the guard on how often it acts",
        STORM.but(runs=(CATALOG_RUN._replace(actions=[(1, 1), (6, 3)]), CHECKOUT_RUN)),
        '"catalog is acted on once at most" failed',
    ),
    (
        "alert-storm",
        "bounded memory",
        STORM.but({"the worker does not grow": [(0, 150e6), (4, 400e6)]}),
        '"the worker does not grow" failed',
    ),
    (
        "alert-storm",
        "a worker that survives it",
        STORM.but({"it is the same worker": [(0, 1000), (6, 1900)]}),
        '"it is the same worker" failed',
    ),
    ("flapping-load", "the policy", FLAPPING.but(desired=1, runs=()), '"catalog is scaled out" failed'),
]


def play(name: str, script: Script) -> list[str]:
    return World(find(name, shipped("drills")), script).play()


@pytest.mark.parametrize("name", GOOD)
def test_a_good_system_passes(name):
    assert play(name, GOOD[name]) == []


@pytest.mark.parametrize(("name", "without", "script", "says"), BROKEN, ids=[f"{b[0]}, no {b[1]}" for b in BROKEN])
def test_without_a_capability_the_drill_for_it_fails(name, without, script, says):
    reasons = play(name, script)
    assert reasons
    assert says in reasons[0]


def test_every_drill_is_shown_to_be_none():
    names = {path.stem for path in shipped("drills").glob("*.yaml")}
    assert set(GOOD) == names
    assert {broken[0] for broken in BROKEN} == names
