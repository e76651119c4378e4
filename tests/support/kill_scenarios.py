"""
One service for each way through the workflow: its policy, the world that answers it, and what must have come of it.

What came of it is the same wherever the worker was killed: every effect once, in its order. Effects are told by the
neighbours, not by the worker.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from worker_neighbours import OrchestratorStandIn, PrometheusStandIn

IN_VAIN = {"within": "1200ms", "hold": "200ms", "every": "50ms"}
HELPS = IN_VAIN | {"within": "30s"}  # over as soon as it has helped, however busy the machine is
OF_TARGET = '{job="{{ target }}"}'
LATENCY, QUEUE = "HighRequestLatency", "QueueGrows"


@dataclass
class World:
    orchestrator: OrchestratorStandIn
    prometheus: PrometheusStandIn
    peer: list[tuple[str, str]]  # each request that came: its key, its body; in order
    commands: Callable[[str], list[str]]  # what a service's commands have written
    flags: Callable[[str], list[Any]]  # each value that a service's flag was set to
    told: list[str]  # each message that people got

    def desired(self, service: str) -> list[int]:
        """Each change of the number of replicas."""
        puts = self.orchestrator.changes(service)
        return [to for former, to in zip([None, *puts], puts, strict=False) if to != former]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    steps: list[dict[str, Any]]
    effects: Callable[[World, str], Any]
    expected: Any
    actions: list[tuple[str, str]]  # of all runs of the service, in order: action and status
    ends: str  # how its runs end
    cured: Callable[[World, str], bool] = lambda world, service: False
    wanted: Callable[[int], float] = lambda desired: 0.5  # replicas that the load wants, by those that there are
    policy: dict[str, Any] = field(default_factory=dict)
    alerts: tuple[str, ...] = (LATENCY,)
    answer: str = ""  # what a person says who is asked
    unknowable: bool = False  # a kill around its effect ends with people, as nobody can tell whether it was done


def unique(values: list[Any]) -> list[Any]:
    """What came again under the same key is the same effect: who takes it tells them apart by that."""
    return list(dict.fromkeys(values))


def of_service(entries: list[tuple[str, str]], service: str) -> list[tuple[str, str]]:
    return [one for one in entries if one[0].startswith(f"{service}-") or one[1] == service]


def lever(kind: str, **keys: Any) -> list[dict[str, Any]]:
    return [{"name": kind, kind: keys, "verify": IN_VAIN}]


def control(name: str) -> Callable[[World, str], Any]:
    return lambda world, service: world.orchestrator.settings_of(service, name)


def restarts(world: World, service: str) -> int:
    return len(unique(world.orchestrator.restarts(service)))


SCALE = {"replicas": f"wanted{OF_TARGET}", "maximum_step": 4, "raises": 1, "warm_up": "100ms"}
SCALES = [{"name": "more", "scale": SCALE, "verify": HELPS}]
SCALES_IN_VAIN = [{"name": "more", "scale": SCALE, "verify": IN_VAIN}]
HOME = {
    "scale_in": {
        "replicas": f"wanted{OF_TARGET}",
        "stabilisation": "200ms",
        "every": "50ms",
        "settle": "300ms",
        "to_minimum": True,
    }
}
RESTART = {"name": "restart", "restart": {}, "verify": HELPS}

SCENARIOS: dict[str, Scenario] = {
    "scales": Scenario(  # out, further out while it is verified, and home
        steps=SCALES,
        policy=HOME,
        wanted=lambda desired: {1: 1.5, 2: 3.6}.get(desired, 0.5),
        cured=lambda world, service: 4 in world.desired(service),
        effects=lambda world, service: world.desired(service),
        expected=[2, 4, 1],
        actions=[("scale_out", "done"), ("scale_out", "done"), ("scale_in", "done")],
        ends="resolved",
    ),
    "undoes": Scenario(
        steps=[
            *SCALES_IN_VAIN,
            {"name": "evidence", "snapshot": {}},
            {"name": "page", "notify": {"to": ["pager"], "body": "{{ target }} is slow"}},
        ],
        wanted=lambda desired: 2.4 if desired == 1 else 0.5,
        effects=lambda world, service: (world.desired(service), unique([x for x in world.told if f"{service}-" in x])),
        expected=([3, 1], ["SERVICE is slow\n\nsteersman remediation show RUN"]),
        actions=[("scale_out", "done"), ("undo", "done")],
        ends="escalated",
    ),
    "swings": Scenario(  # telemetry says that one replica is enough, and is wrong
        steps=SCALES,
        policy=HOME,
        wanted=lambda desired: 2.4 if desired == 1 else 0.5,
        cured=lambda world, service: world.orchestrator.desired(service) >= 3,
        effects=lambda world, service: world.desired(service),
        expected=[3, 1, 3, 1, 3, 1, 3],
        actions=[("scale_out", "done"), *[("scale_in", "done"), ("undo", "done")] * 3],
        ends="escalated",
    ),
    "restarts": Scenario(
        steps=[RESTART],
        cured=lambda world, service: bool(restarts(world, service)),
        effects=restarts,
        expected=1,
        actions=[("restart", "done")],
        ends="resolved",
    ),
    "replaces": Scenario(
        steps=lever("replace", worst=f"busy{OF_TARGET}"),
        effects=lambda world, service: [name for name, _ in unique(control("restart")(world, service))],
        expected=["SERVICE-2"],
        actions=[("replace", "done")],
        ends="escalated",
    ),
    "rolls": Scenario(
        steps=lever("rollback", served_well=f"fine{OF_TARGET}"),
        effects=control("version"),
        expected=["1", "2"],
        actions=[("rollback", "done"), ("undo", "done")],
        ends="escalated",
    ),
    "shifts": Scenario(
        steps=lever("shift_traffic", away_from="a"),
        effects=control("traffic"),
        expected=[{"a": 0, "b": 100}, {}],
        actions=[("shift_traffic", "done"), ("undo", "done")],
        ends="escalated",
    ),
    "sheds": Scenario(
        steps=lever("shed_load", requests_per_second=f"rate{OF_TARGET}"),
        effects=control("shedding"),
        expected=[12.0, None],
        actions=[("shed_load", "done"), ("undo", "done")],
        ends="escalated",
    ),
    "flags": Scenario(
        steps=lever("set_flag", flag="{{ target }}.new", value=False),
        effects=lambda world, service: world.flags(service),
        expected=[False, None],
        actions=[("set_flag", "done"), ("undo", "done")],
        ends="escalated",
    ),
    "runs": Scenario(
        steps=[{"name": "flush", "run": {"command": "flush", "arguments": {"what": "{{ target }}"}}, "verify": HELPS}],
        cured=lambda world, service: bool(world.commands(service)),
        effects=lambda world, service: len(unique(world.commands(service))),
        expected=1,
        actions=[("run", "done")],
        ends="resolved",
    ),
    "once": Scenario(
        steps=[
            {
                "name": "fail over",
                "run": {"command": "fail-over", "arguments": {"what": "{{ target }}"}},
                "verify": HELPS,
            }
        ],
        cured=lambda world, service: bool(world.commands(service)),
        effects=lambda world, service: len(world.commands(service)),
        expected=1,
        actions=[("run", "done")],
        ends="resolved",
        unknowable=True,
    ),
    "calls": Scenario(
        steps=[{"name": "call", "call": {"url": "PEER", "body": "{{ target }}"}, "verify": HELPS}],
        cured=lambda world, service: bool(of_service(world.peer, service)),
        effects=lambda world, service: len(unique(of_service(world.peer, service))),
        expected=1,
        actions=[("call", "done")],
        ends="resolved",
    ),
    "asks": Scenario(
        steps=[{"name": "ask", "approval": {"question": "restart {{ target }}?", "within": "2m"}}, RESTART],
        cured=lambda world, service: bool(restarts(world, service)),
        effects=restarts,
        expected=1,
        actions=[("restart", "done")],
        ends="resolved",
        answer="approve",
    ),
    "expires": Scenario(
        steps=[
            {"name": "ask", "approval": {"question": "restart?", "within": "300ms", "otherwise": "approve"}},
            RESTART,
        ],
        cured=lambda world, service: bool(restarts(world, service)),
        effects=restarts,
        expected=1,
        actions=[("restart", "done")],
        ends="resolved",
    ),
    "waits": Scenario(  # two alerts, the second of which another policy answers when the first run is over
        steps=[RESTART],
        alerts=(LATENCY, QUEUE),
        cured=lambda world, service: bool(restarts(world, service)),
        effects=restarts,
        expected=2,
        actions=[("restart", "done"), ("restart", "done")],
        ends="resolved",
    ),
}


def policies(folder: str, peer_url: str) -> dict[str, Any]:
    guards = {
        "cooldown": "0s",
        "patience": "20s",
        "escalation_hold_off": "0s",
        "max_actions_per_hour": 1000,
        "telemetry": f"telemetry{OF_TARGET}",
    }
    made = []
    for name, scenario in SCENARIOS.items():
        steps = json.loads(json.dumps(scenario.steps).replace("PEER", peer_url))
        for alert in scenario.alerts:
            match = [f'alertname="{alert}"', f'service=~"{name}-.*"']
            policy = {"name": f"{name}-{alert.lower()}", "match": match, "guards": guards, "steps": steps}
            made.append(policy | scenario.policy)
    argument = {"what": "[a-z0-9-]+"}
    command = {"argv": [f"{folder}/command", "{what}"], "arguments": argument, "timeout": "20s"}
    return {
        "limits": {"max_actions_per_hour": 100_000, "max_concurrent": 1000, "blast_radius": {"services": 1}},
        "commands": {"flush": command | {"repeatable": True}, "fail-over": command},
        "notifiers": {"pager": {"url_file": f"{folder}/pager.url"}},
        "policies": made,
    }


def prepare(world: World, scenario: Scenario, service: str) -> None:
    """The service as the alert finds it."""
    orchestrator, prometheus = world.orchestrator, world.prometheus
    now = time.time_ns() // 1_000_000
    old = {"by": "ci", "at_unix_ms": now - 900_000, "serving_unix_ms": now - 890_000, "left_unix_ms": now - 30_000}
    new = {"by": "ci", "at_unix_ms": now - 30_000, "serving_unix_ms": now - 20_000, "left_unix_ms": None}
    history = [{"version": "2", **new}, {"version": "1", **old}]
    orchestrator.add(service)
    orchestrator.controls[service, "version"] = {"version": "2", "history": history}
    orchestrator.controls[service, "traffic"] = {"weights": {}, "zones": {"a": 1, "b": 1}}
    orchestrator.controls[service, "shedding"] = {"requests_per_s": None, "until_unix_ms": None}
    prometheus.set("busy", service, {f"{service}-1": 0.2, f"{service}-2": 0.9})
    prometheus.set("wanted", service, lambda: scenario.wanted(orchestrator.desired(service)))
    for name, value in (("telemetry", 1.0), ("fine", 1.0), ("rate", 12.0)):
        prometheus.set(name, service, value)
    if QUEUE in scenario.alerts:
        prometheus.set("queue", service, lambda: 50.0 if restarts(world, service) < scenario.expected else 0.0)
